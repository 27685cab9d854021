"""What must never pass the gate does not, on synthetic answers; what is as good as the champion does."""

import numpy as np
import pytest
from numpy.typing import NDArray

from jobs.gate import rules
from jobs.gate.answers import Answers
from jobs.gate.power import MARGIN, Floors
from jobs.gate.verdict import Check
from model.contract import CLASSES

PER_CLASS = 1_000
LABELS = np.repeat(np.arange(len(CLASSES)), PER_CLASS)


def answers(accuracy: float, seed: int, version: int = 1, *, agree: Answers | None = None) -> Answers:
    """Calibrated answers of a given accuracy, equal in every class.

    With `agree`, nine in ten images are right or wrong as there, as with two trainings of one recipe.
    """
    rng = np.random.default_rng(seed)
    right = np.zeros(len(LABELS), bool)
    for label in range(len(CLASSES)):
        members = np.flatnonzero(label == LABELS)
        wanted = round(accuracy * len(members))
        if agree is None:
            right[rng.permutation(members)[:wanted]] = True
            continue
        known = agree.right(LABELS)[members]
        kept = rng.random(len(members)) < 0.9
        right[members] = np.where(kept, known, rng.random(len(members)) < accuracy)
        surplus = int(right[members].sum()) - wanted
        turned = rng.permutation(members[right[members] == (surplus > 0)])[: abs(surplus)]
        right[turned] = surplus <= 0
    return Answers(version, _probs(right, accuracy, rng))


def _probs(right: NDArray[np.bool_], confidence: float, rng: np.random.Generator) -> NDArray[np.float32]:
    answer = np.where(right, LABELS, (LABELS + rng.integers(1, len(CLASSES), len(LABELS))) % len(CLASSES))
    probs = np.full((len(LABELS), len(CLASSES)), (1 - confidence) / (len(CLASSES) - 1), np.float32)
    probs[np.arange(len(LABELS)), answer] = confidence
    return probs


def refused(checks: list[Check]) -> set[str]:
    return {check.name for check in checks if not check.passed}


CHAMPION = answers(0.85, seed=0, version=1)
FLOORS = Floors(0.70, np.full(len(CLASSES), 0.45))


def against_champion(candidate: Answers) -> set[str]:
    return refused(rules.successor_checks(candidate, CHAMPION, CHAMPION, LABELS))


def first(candidate: Answers) -> set[str]:
    return refused(rules.first_checks(candidate, LABELS, FLOORS))


def test_an_equal_and_a_better_version_pass() -> None:
    assert against_champion(Answers(2, CHAMPION.probs)) == set()
    assert against_champion(answers(0.86, 1, 2, agree=CHAMPION)) == set()
    assert first(CHAMPION) == set()


def test_one_epoch_of_training_never_passes() -> None:
    weak = answers(0.62, seed=1, version=2)  # what one epoch on all images reaches at best
    assert "accuracy, lower bound" in against_champion(weak)
    assert "accuracy" in first(weak)


def test_shuffled_labels_never_pass() -> None:
    guesses = answers(0.2, seed=1, version=2)
    assert "accuracy, lower bound" in against_champion(guesses)
    assert "accuracy" in first(guesses)


def test_swapped_classes_never_pass() -> None:
    swapped = Answers(2, CHAMPION.probs[:, [0, 1, 2, 4, 3]])
    assert {"accuracy, lower bound", "cat", "dog"} <= against_champion(swapped)
    assert "accuracy" in first(swapped)


def test_one_class_unlearnt_never_passes_even_if_the_others_make_up_for_it() -> None:
    probs = answers(1.0, seed=1).probs.copy()
    birds = CLASSES.index("bird") == LABELS
    probs[birds] = np.roll(probs[birds], 1, axis=1)
    assert "bird" in against_champion(Answers(2, probs))
    assert "weakest class (bird)" in first(Answers(2, probs))


def test_an_export_with_another_scaling_never_passes() -> None:
    saturated = np.zeros_like(CHAMPION.probs)  # pixels of 0..255 where 0..1 is due: sure of one class always
    saturated[:, 2] = 1
    assert {"accuracy, lower bound", "calibration error"} <= against_champion(Answers(2, saturated))
    assert "accuracy" in first(Answers(2, saturated))


def test_probabilities_that_are_no_numbers_never_pass() -> None:
    broken = np.full_like(CHAMPION.probs, np.nan)
    assert "accuracy, lower bound" in against_champion(Answers(2, broken))
    assert "accuracy" in first(Answers(2, broken))


@pytest.mark.parametrize("nonsense", [np.nan, np.inf, -0.5, 1e30])
def test_one_answer_that_is_no_probability_is_one_too_many(nonsense: float) -> None:
    broken = CHAMPION.probs.copy()
    broken[0, 0] = nonsense
    assert against_champion(Answers(2, broken)) == {"calibration error"}
    # The same of the champion is no excuse.
    found = rules.successor_checks(Answers(2, broken), Answers(1, broken), CHAMPION, LABELS)
    assert refused(found) == {"calibration error"}


def test_a_slow_drift_down_over_five_promotions_is_stopped() -> None:
    best = champion = CHAMPION
    fell = []
    for step in range(1, 6):
        candidate = answers(0.85 - 0.004 * step, seed=step, version=step + 1, agree=champion)
        # Each step alone is so small that a more certain comparison with its predecessor would let it pass.
        # One point below the best is no evidence on 5,000 images of which a tenth flips; two points are.
        checks = rules.successor_checks(candidate, champion, best, LABELS)
        fell.append("accuracy, drift" in refused(checks))
        champion = candidate
    assert fell == [False, False, False, False, True]


def test_an_overconfident_version_never_passes() -> None:
    sure = np.where(CHAMPION.probs == CHAMPION.probs.max(axis=1, keepdims=True), 0.999, 0.00025)
    assert against_champion(Answers(2, sure.astype(np.float32))) == {"calibration error"}


def test_a_champion_that_is_badly_calibrated_can_be_succeeded_by_one_no_worse() -> None:
    sure = np.where(CHAMPION.probs == CHAMPION.probs.max(axis=1, keepdims=True), 0.92, 0.02)
    surer = np.where(CHAMPION.probs == CHAMPION.probs.max(axis=1, keepdims=True), 0.96, 0.01)
    champion = Answers(1, sure.astype(np.float32))
    for probs, expected in ((sure, set()), (surer, {"calibration error"})):
        candidate = Answers(2, probs.astype(np.float32))
        assert refused(rules.successor_checks(candidate, champion, champion, LABELS)) == expected


def test_the_lower_bound_is_students_for_paired_differences() -> None:
    """By hand: 60 mended, 40 broken of 1,000: mean 0.02, s = 0.31456, t(0.95, 999) = 1.64638."""
    champion = np.zeros(1_000, bool)
    champion[:500] = True
    candidate = champion.copy()
    candidate[:40] = False
    candidate[500:560] = True
    expected = 0.02 - 1.646380 * np.sqrt((0.1 - 0.02**2) / 999)
    assert rules.lower_bound(candidate, champion) == pytest.approx(expected, abs=1e-6)


def test_a_worse_version_passes_in_five_of_a_hundred_at_most() -> None:
    """At a true difference of exactly the margin, the gate must refuse 95 % of all candidates."""
    rng = np.random.default_rng(0)
    passed = 0
    for _ in range(400):
        both = rng.choice([1, 0, -1], size=2_500, p=[0.05, 0.89, 0.06])  # mended, same, broken: -1 point
        champion = rng.random(2_500) < 0.8
        champion[both == 1], champion[both == -1] = False, True
        candidate = champion ^ (both != 0)
        passed += rules.lower_bound(candidate, champion) > -MARGIN
    assert passed / 400 < 0.08


def test_flips_are_counted_and_tested_exactly() -> None:
    probs = CHAMPION.probs.copy()
    right = np.flatnonzero(CHAMPION.right(LABELS))[:8]
    probs[right] = np.roll(probs[right], 1, axis=1)
    flips = rules.flips(Answers(2, probs), CHAMPION, LABELS)
    assert (flips.mended, flips.broken) == (0, 8)
    assert flips.p_value == pytest.approx(2 / 2**8)
