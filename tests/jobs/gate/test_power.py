"""The margin follows from what the test split can show, the floors from guessing."""

import numpy as np
import pytest
from scipy import stats

from jobs.gate.power import Expected, Floors, resolution


@pytest.mark.parametrize(
    ("images", "expected", "margin"),
    [
        (5_000, Expected(), 0.01),  # the default's, until its history says how many answers flip
        (5_000, Expected(0.055, verdicts=1), 0.01),
        (5_000, Expected(0.12, verdicts=1), 0.0143),
        (2_500, Expected(), 0.0185),
        (2_500, Expected(0.18, verdicts=2), 0.0248),
        (1_000, Expected(), 0.0293),
        (412, Expected(0.05, verdicts=1), 0.0323),
        (100, Expected(), 0.05),
        (40_000, Expected(0.12, verdicts=1), 0.01),
    ],
)
def test_the_margin_is_the_smallest_that_is_resolved_but_one_point_at_least_and_five_at_most(
    images: int, expected: Expected, margin: float
) -> None:
    """By hand: (1.645 + 1.282) · √(flips / images), with Student's quantiles."""
    assert resolution(images, None, expected).margin == pytest.approx(margin, abs=5e-5)


def test_where_five_points_are_not_resolved_the_evidence_is_weak() -> None:
    enough, few = resolution(400, None), resolution(300, None)
    assert not enough.weak
    assert few.weak
    assert few.margin == 0.05 < few.smallest


def test_groups_resolve_less_and_fewer_than_thirty_are_weak() -> None:
    alone = resolution(2_000, None)
    tens = resolution(2_000, np.arange(2_000) // 10)
    assert (tens.groups, alone.groups) == (200, None)
    assert tens.smallest / alone.smallest == pytest.approx(np.sqrt(1 + 9 * 0.25), rel=0.01)
    known = resolution(2_000, np.arange(2_000) // 10, Expected(0.10, 4.5, 1))
    assert known.smallest / alone.smallest == pytest.approx(np.sqrt(4.5), rel=0.01)
    lower = resolution(2_000, np.arange(2_000) // 10, Expected(0.10, 1.5, 1))
    assert lower.smallest == tens.smallest
    assert resolution(2_000, np.arange(2_000) % 29, Expected(0.001, 1.0, 1)).weak
    assert not resolution(2_000, np.arange(2_000) % 30, Expected(0.001, 1.0, 1)).weak
    assert resolution(5_000, np.arange(5_000) // 10).margin > 0.02  # one point is for images on their own


def test_by_groups_a_margin_takes_as_many_flips_as_it_is_wide() -> None:
    """As the bound does: with one answer in a hundred flipping the error is not that of one in a hundred."""
    groups = np.arange(420) // 10
    few = resolution(420, groups, Expected(0.01, verdicts=1)).margin
    sure, often = stats.t.ppf([0.95, 0.90], 41)
    error, spread = (np.sqrt(share * (1 + 9 * 0.25) / 420) for share in (few * (1 - few), 0.01))
    assert few == pytest.approx(sure * error + often * spread)
    assert few > 1.4 * (sure + often) * spread
    assert resolution(420, None, Expected(0.01, verdicts=1)).margin == pytest.approx(0.0143, abs=5e-5)


@pytest.mark.parametrize("images", [0, 1])
def test_next_to_no_image_resolves_nothing(images: int) -> None:
    assert resolution(images, None).weak
    assert resolution(images, None).margin == 0.05


def test_floors_lie_a_quarter_of_the_way_from_guessing_to_right() -> None:
    even = Floors.of(np.repeat(np.arange(10), 20), range(10), 10)
    assert even.accuracy == pytest.approx(0.1 + 0.25 * 0.9)
    assert even.classes == pytest.approx(0.1 + 0.25 * 0.9)
    lopsided = Floors.of(np.array([0] * 90 + [1] * 10), range(2), 2)
    assert lopsided.accuracy == pytest.approx(0.925)  # who always answers the large class reaches 0.9
    assert lopsided.classes == pytest.approx([0.625, 0.325])


def test_a_class_that_was_not_learned_lifts_no_floor() -> None:
    labels = np.array([0] * 80 + [1] * 10 + [2] * 10)
    assert Floors.of(labels, (1, 2), 3).accuracy == pytest.approx(0.625)
