"""Bounds by image and by group, against scipy, by hand, and by how often they are right."""

import numpy as np
import pytest
from scipy import stats

from jobs.gate.evidence import calibration_bound, calibration_error, difference_bound, means, share_bound


def students(values: np.ndarray) -> tuple[float, float]:
    """Scipy's lower and upper one-sided 95 % bounds of a mean."""
    return (
        stats.ttest_1samp(values, 0, alternative="greater").confidence_interval(0.95).low,
        stats.ttest_1samp(values, 0, alternative="less").confidence_interval(0.95).high,
    )


def test_without_groups_the_bounds_are_students_but_for_a_skew_that_would_flatter() -> None:
    even, down = np.repeat([-1.0, 0.0, 1.0], (20, 360, 20)), np.repeat([-1.0, 0.0, 1.0], (30, 360, 10))
    for values in (even, down, -down):
        lower, upper = students(values)
        found = means(values)
        lean = stats.moment(values, 3) / (6 * values.var(ddof=1) * 400) * (1 + 2 * 1.6487**2)
        assert found.lower()[0] == pytest.approx(lower + min(lean, 0), abs=1e-5)
        assert found.upper()[0] == pytest.approx(upper + max(lean, 0), abs=1e-5)
    assert means(down).lower()[0] < students(down)[0] - 1e-4


def test_where_few_answers_flip_a_version_worse_by_the_margin_passes_no_more_often() -> None:
    """3 % of 412 images: by Student's bound alone 8 in 100 would pass."""
    rng, margin = np.random.default_rng(0), 0.025
    differences = rng.choice([-1.0, 0.0, 1.0], (3_000, 412), p=[0.0275, 0.97, 0.0025])
    passed = sum(means(row).lower()[0] > -margin for row in differences) / 3_000
    alone = np.mean(
        differences.mean(axis=1) - 1.6486 * differences.std(axis=1, ddof=1) / np.sqrt(412) > -margin
    )
    assert passed < 0.07 < 0.075 < alone


def test_an_image_that_is_there_ten_times_counts_once() -> None:
    values = np.random.default_rng(0).choice([-1.0, 0.0, 1.0], 300, p=[0.06, 0.9, 0.04])
    once, tenfold = means(values), means(np.repeat(values, 10), np.repeat(np.arange(300), 10))
    assert tenfold.lower() == pytest.approx(once.lower())
    assert tenfold.chance() == pytest.approx(once.chance())
    assert means(np.repeat(values, 10)).lower()[0] > once.lower()[0] + 0.01


def test_groups_of_unlike_sizes_are_left_out_one_at_a_time() -> None:
    values = np.array([1.0, 1, 0, -1, 0, 0, 1, 0, 0, 0])
    groups = np.array([7, 7, 7, 7, 7, 3, 3, 9, 9, 1])
    left_out = [values[groups != group].mean() for group in (7, 3, 9, 1)]
    found = means(values, groups)
    expected = np.sqrt(3 / 4 * ((np.array(left_out) - values.mean()) ** 2).sum())
    assert found.error[0] == pytest.approx(expected)
    assert found.freedom[0] == pytest.approx(100 / (25 + 4 + 4 + 1) - 1)


def test_parts_are_as_if_each_were_alone() -> None:
    rng = np.random.default_rng(0)
    values, groups, parts = (
        rng.integers(-1, 2, 200).astype(float),
        rng.integers(0, 30, 200),
        rng.integers(0, 4, 200),
    )
    parts[parts == 2] = 3
    together = means(values, groups, parts, 4)
    for part in (0, 1, 3):
        alone = means(values[parts == part], groups[parts == part])
        for name in ("value", "error", "freedom", "lean", "images", "down", "up"):
            assert getattr(together, name)[part] == pytest.approx(getattr(alone, name)[0])
    assert (together.images[2], together.lower()[2], together.upper()[2]) == (0, -1, 1)


def test_one_group_alone_proves_nothing() -> None:
    found = means(np.array([1.0, 1, 1, 0]), np.zeros(4, np.int64))
    assert (found.lower()[0], found.upper()[0]) == (-1, 1)


def test_the_bound_by_group_is_wrong_once_in_twenty_and_the_one_by_image_far_more_often() -> None:
    """The true mean is 0; images of a group of ten agree with 0.5 on a normal scale."""
    rng, groups = np.random.default_rng(0), np.repeat(np.arange(100), 10)
    wrong = {"group": 0, "image": 0}
    for _ in range(600):
        score = np.sqrt(0.5) * (rng.standard_normal(100)[groups] + rng.standard_normal(1_000))
        values = (score > stats.norm.ppf(0.95)).astype(float) - (score < stats.norm.ppf(0.05))
        wrong["group"] += means(values, groups).lower()[0] > 0
        wrong["image"] += means(values).lower()[0] > 0
    assert wrong["group"] / 600 == pytest.approx(0.05, abs=0.025)
    assert wrong["image"] / 600 > 0.12


def test_where_few_of_few_groups_move_a_version_worse_by_the_margin_passes_no_more_often() -> None:
    """412 images in 42 groups, 5 % of them turned wrong: by the groups' spread alone 8 in 100 would pass."""
    rng, groups, draws = np.random.default_rng(0), np.arange(412) // 10, 1_000
    passed = {"score": 0, "spread": 0}
    for _ in range(draws):
        score = np.sqrt(0.5) * (rng.standard_normal(42)[groups] + rng.standard_normal(412))
        differences = -(score < stats.norm.ppf(0.05)).astype(float)
        passed["score"] += difference_bound(differences, groups) > -0.05
        passed["spread"] += means(differences, groups).lower()[0] > -0.05
    assert passed["score"] / draws < 0.06 < 0.075 < passed["spread"] / draws


def test_where_groups_are_of_unlike_sizes_the_correlation_within_all_of_them_has_a_say() -> None:
    """600 images in 60 groups of ten on average, 6 % turned wrong and 1 % right: worse by five points."""
    rng, draws = np.random.default_rng(0), 500
    groups = np.repeat(np.arange(600), np.random.default_rng(0).geometric(0.1, 600))[:600]
    passed = {"correlation": 0, "spread": 0}
    for _ in range(draws):
        score = np.sqrt(0.5) * (rng.standard_normal(600)[groups] + rng.standard_normal(600))
        differences = (score > stats.norm.ppf(0.99)).astype(float) - (score < stats.norm.ppf(0.06))
        passed["correlation"] += difference_bound(differences, groups) > -0.05
        passed["spread"] += means(differences, groups).lower()[0] > -0.05
    assert passed["correlation"] / draws < 0.08 < 0.1 < passed["spread"] / draws


def test_where_more_flips_than_is_lost_the_bound_of_a_difference_is_that_of_a_mean() -> None:
    rng, groups = np.random.default_rng(0), np.arange(1_000) // 10
    differences = rng.choice([-1.0, 0.0, 1.0], 1_000, p=[0.06, 0.9, 0.04])
    assert difference_bound(differences, groups) == means(differences, groups).lower()[0]
    lost = np.where(np.arange(1_000) < 40, -1.0, 0.0)
    assert difference_bound(lost) == means(lost).lower()[0]  # each image stands for itself
    assert difference_bound(np.zeros(1_000), groups) == 0
    assert difference_bound(lost[:10], np.zeros(10, np.int64)) == -1


def test_a_loss_has_the_error_of_as_many_flips_as_it_takes() -> None:
    """Of 400 images, each a group, 8 turned wrong: the bound is where the test of that loss just refuses."""
    differences, groups = np.where(np.arange(400) < 8, -1.0, 0.0), np.arange(400)
    found, loss = means(differences, groups), -difference_bound(differences, groups)
    times = stats.t.ppf(0.95, 399)
    error = np.sqrt(400 / 399 * loss * (1 - loss) / 400)
    assert 0.02 + times * error - found.lean[0] * (1 + 2 * times**2) == pytest.approx(loss, abs=1e-6)
    assert -loss < found.lower()[0] - 0.002


@pytest.mark.parametrize(("count", "images"), [(1, 50), (8, 400), (30, 40)])
def test_a_shares_bound_is_wilsons(count: int, images: int) -> None:
    high = stats.binomtest(count, images).proportion_ci(0.9, method="wilson").high
    assert share_bound(count / images, stats.norm.ppf(0.95) ** 2 / images) == pytest.approx(high)


def calibrated(rng: np.random.Generator, images: int, accuracy: float) -> tuple[np.ndarray, np.ndarray]:
    confidence = rng.beta(2 * accuracy, 2 - 2 * accuracy, images)
    return confidence, rng.random(images) < confidence


@pytest.mark.parametrize(("images", "accuracy"), [(412, 0.85), (412, 0.70), (200, 0.70)])
def test_chance_alone_does_not_make_a_model_badly_calibrated(images: int, accuracy: float) -> None:
    rng = np.random.default_rng(0)
    over, errors = 0, []
    for _ in range(300):
        confidence, right = calibrated(rng, images, accuracy)
        errors.append(calibration_error(confidence, right))
        over += calibration_bound(confidence, right, 0.05) > 0.05
    assert over / 300 <= 0.01
    assert np.mean(errors) > 0.03  # of models that are calibrated perfectly
    assert images > 200 or np.mean(np.array(errors) > 0.05) > 0.5


def test_a_model_at_the_limit_is_refused_once_in_twenty_at_most_and_one_far_off_always() -> None:
    rng = np.random.default_rng(1)
    refused = {0.05: 0, 0.15: 0}
    for gap in refused:
        for _ in range(200):
            confidence = rng.uniform(0.5, 0.8, 1_000)
            right = rng.random(1_000) < confidence - gap
            refused[gap] += calibration_bound(confidence, right, 0.05) > 0.05
    assert refused[0.05] / 200 < 0.09
    assert refused[0.15] == 200


def test_by_group_more_of_a_calibration_error_is_chance() -> None:
    rng = np.random.default_rng(3)
    groups = np.repeat(np.arange(40), 10)
    luck = np.repeat(rng.random(40), 10)  # one stroke of luck for a whole group
    confidence = np.full(400, 0.8)
    right = luck < 0.68
    alone, together = (calibration_bound(confidence, right, 0.05, ids) for ids in (None, groups))
    assert calibration_error(confidence, right) > alone > together
    assert together <= 0.05 < alone
