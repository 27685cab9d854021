import numpy as np
import pytest

from model.report.alarms import LEAST, threshold


@pytest.mark.parametrize("share", [0.05, 0.001])
def test_with_many_pictures_it_is_their_quantile(share: float) -> None:
    scores = np.random.default_rng(0).normal(size=50_000)
    found = threshold(scores, share)
    assert not found.fitted
    assert found.at == np.quantile(scores, 1 - share)
    assert found.low < found.at < found.high


@pytest.mark.parametrize(("count", "share"), [(999, 0.05), (1_000, 0.001)])
def test_with_few_a_tail_is_fitted(count: int, share: float) -> None:
    assert threshold(np.arange(float(count)), share).fitted
    assert not threshold(np.arange(1_000.0), 0.05).fitted


@pytest.mark.parametrize("heavy", [False, True])
def test_a_fitted_threshold_keeps_its_share_of_pictures_that_it_has_not_seen(heavy: bool) -> None:
    rng = np.random.default_rng(1)
    draw = (lambda count: rng.standard_t(4, count)) if heavy else rng.standard_normal
    usual = np.sort(draw(200_000))
    found = [threshold(draw(300), 0.05) for _ in range(20)]
    alarms = [1 - np.searchsorted(usual, one.at) / len(usual) for one in found]
    assert 0.04 < np.mean(alarms) < 0.06
    right = np.quantile(usual, 0.95)
    assert sum(one.low <= right <= one.high for one in found) >= 16


def test_pictures_that_are_all_alike() -> None:
    found = threshold(np.full(100, 2.5), 0.05)
    assert (found.at, found.low, found.high) == (2.5, 2.5, 2.5)


def test_too_few_tell_nothing() -> None:
    with pytest.raises(ValueError, match="19 pictures tell nothing"):
        threshold(np.arange(LEAST - 1.0), 0.05)
