"""Parity tells the same answer from another one."""

import numpy as np
import pytest

from export.errors import ParityError
from export.graph.parity import TOLERANCE, TOLERANCE_LITE, compare, measure


def probs(*rows: list[float]) -> np.ndarray:
    return np.array(rows, dtype=np.float32)


def test_equal_answers_are_at_parity() -> None:
    answers = np.random.default_rng(0).dirichlet(np.ones(5), 100).astype(np.float32)
    parity = compare(answers, answers)
    assert (parity.images, parity.max_difference, parity.disagreements) == (100, 0.0, 0)


def test_the_largest_difference_counts_not_the_mean() -> None:
    reference = np.full((1000, 5), 0.2, dtype=np.float32)
    candidate = reference.copy()
    candidate[777, 3] += 3 * TOLERANCE
    with pytest.raises(
        ParityError, match="differs from the trained model by 3e-05 on 1000 images, more than 1e-05"
    ):
        compare(reference, candidate)


def test_a_deep_networks_sums_may_differ_by_more() -> None:
    reference = np.full((10, 4), 0.25, dtype=np.float32)
    candidate = reference.copy()
    candidate[3, 1] += 3 * TOLERANCE
    assert compare(reference, candidate, TOLERANCE_LITE).max_difference == pytest.approx(3e-5, rel=1e-2)
    candidate[3, 1] += TOLERANCE_LITE
    with pytest.raises(ParityError, match=r"differs from the trained model by 0\.00013 .* more than 0\.0001"):
        compare(reference, candidate, TOLERANCE_LITE)


def test_a_small_difference_that_turns_the_class_is_refused() -> None:
    # 1.6e-5 apart: each value moves by less than the tolerance, the class turns
    reference = probs([0.500008, 0.499992, 0, 0, 0])
    candidate = probs([0.499999, 0.500001, 0, 0, 0])
    with pytest.raises(ParityError, match="gives 1 of 1 images another class"):
        compare(reference, candidate)


def test_a_tie_may_turn() -> None:
    reference = probs([0.500001, 0.499999, 0, 0, 0])
    candidate = probs([0.499999, 0.500001, 0, 0, 0])
    assert compare(reference, candidate).disagreements == 1


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_is_no_parity(value: float) -> None:
    broken = probs([value, 0, 0, 0, 1])
    with pytest.raises(ParityError, match="no numbers"):
        compare(broken, broken)


def test_nothing_and_another_shape_are_no_parity() -> None:
    with pytest.raises(ParityError, match="shape"):
        compare(np.zeros((0, 5), np.float32), np.zeros((0, 5), np.float32))
    with pytest.raises(ParityError, match=r"shape \(1, 4\), the model with \(1, 5\)"):
        compare(np.zeros((1, 5), np.float32), np.zeros((1, 4), np.float32))


def test_measuring_judges_nothing() -> None:
    parity = measure(probs([1, 0, 0, 0, 0]), probs([0, 1, 0, 0, 0]))
    assert (parity.max_difference, parity.disagreements) == (1.0, 1)
