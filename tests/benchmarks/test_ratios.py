import pytest

from benchmarks.serving.ratios import ratio, spread


def test_the_spread_is_the_median_and_both_ends() -> None:
    assert str(spread([3.0, 1.0, 2.0])) == "2.00 (1.00–3.00)"


def test_ratios_are_taken_round_by_round() -> None:
    """A round in which everything was slow says as much as a quick one; a ratio of medians would say 1.5."""
    assert ratio([100, 10, 60], [50, 5, 40]).median == 2


def test_rounds_that_do_not_match_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        ratio([1.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="no measurements"):
        spread([])
