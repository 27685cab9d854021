"""The gate: is a candidate good enough to take the champion's place? Arithmetic alone; no file, no network.

A later version must not be worse than the one it replaces (non-inferiority). The burden of proof is on the
candidate: it is not enough that no difference was found. Both answer the same images, so the comparison is
paired, image by image, which cancels how hard an image is. By how much it may be worse at most, the margin,
is what the test split can show; see `jobs.gate.power`.

That holds for the accuracy. All else speaks against a candidate on evidence alone: of a hundred classes one
stands low by chance, and on few images the calibration error is high by chance. So classes, drift and
calibration refuse where a one-sided bound says that they are worse, the classes' corrected for their number
(Bonferroni).

The lower bound is the one-sided 95 % confidence bound of the mean of the paired differences by Student's t,
less what a skew would flatter; with thousands of images it is the Wald bound for matched pairs (A. Agresti,
Categorical Data Analysis, 3rd ed., 11.1.1), with groups it is cluster-robust and takes a loss for no fewer
flips than it needs; see `jobs.gate.evidence`. The exact two-sided McNemar test on the images whose answer
flips is reported beside it, over groups where there are some.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from jobs.gate import class_checks
from jobs.gate.answers import Answers, figures
from jobs.gate.evidence import calibration_bound, calibration_error, difference_bound, means
from jobs.gate.power import Expected, Floors, resolution
from jobs.gate.verdict import Check, Flips
from model.contract import CLASSES

CALIBRATION_LIMIT: Final = 0.05
"""Expected calibration error; chance alone gives a calibrated model about 0.015 on 2,500 images."""

TWIN: Final = Expected(flips=0.02, design_effect=1.0, verdicts=1)
"""What is expected of an int8 twin: on 5,000 images 0.5 to 0.9 % of its answers flip."""


def first_checks(
    candidate: Answers,
    labels: NDArray[np.int64],
    floors: Floors,
    *,
    classes: Sequence[str] = CLASSES,
    groups: NDArray[np.int64] | None = None,
) -> list[Check]:
    """What the first version of all must reach.

    Args:
        candidate: Its answers.
        labels: The right answers, `[N]`.
        floors: Of its accuracy, on all images and on each class.
        classes: Names by class id.
        groups: Which images belong together, `[N]`; None where each stands for itself.
    """
    found = figures(candidate, labels, classes)
    return [
        Check(
            name="accuracy",
            value=found.accuracy,
            limit=floors.accuracy,
            passed=found.accuracy >= floors.accuracy,
            meaning="a first version must reach this",
        ),
        *class_checks.above_floor(
            candidate, labels, classes, groups, floors, among=candidate.learned, title="weakest class"
        ),
        _calibration(candidate, labels, groups, CALIBRATION_LIMIT),
    ]


def successor_checks(
    candidate: Answers,
    champion: Answers,
    best: Answers,
    labels: NDArray[np.int64],
    *,
    classes: Sequence[str] = CLASSES,
    champions: Sequence[str] | None = None,
    groups: NDArray[np.int64] | None = None,
    margin: float | None = None,
) -> list[Check]:
    """What a candidate must reach to take the champion's place.

    Both are compared on the images of classes that both have learned; classes that are new must meet the
    floor of a first version; one that the candidate has lost refuses it.

    Args:
        candidate: Answers of the version that is judged.
        champion: Answers of the version that is served.
        best: Answers of the most accurate version that was ever promoted.
        labels: The right answers, `[N]`.
        classes: Names by class id.
        champions: The same of the champion, which may know further ones; None where it does not.
        groups: Which images belong together, `[N]`; None where each stands for itself.
        margin: How much worse it may be at most; what the images resolve, as far as is known without a
            history, unless given.
    """
    shared = compared(candidate, champion, labels)
    if not shared.any():
        return [_nothing_in_common(champion), _calibration(candidate, labels, groups, CALIBRATION_LIMIT)]
    mine, theirs = candidate.right(labels)[shared], champion.right(labels)[shared]
    together = _some(groups, shared)
    if margin is None:
        margin = resolution(len(mine), together).margin
    bound = lower_bound(mine, theirs, together)
    return [
        Check(
            name="accuracy, lower bound",
            value=bound,
            limit=-margin,
            passed=bound > -margin,
            meaning=f"against version {champion.version}, 95 % sure it is no lower than this",
        ),
        *class_checks.against_champion(mine, theirs, labels[shared], classes, together, champion.version),
        *class_checks.kept(candidate, champion, champions or classes),
        *class_checks.above_floor(
            candidate,
            labels,
            classes,
            groups,
            Floors.of(labels, candidate.learned, len(classes)),
            among=candidate.learned - champion.learned,
            title="weakest new class",
        ),
        _drift(candidate, best, labels, groups, margin),
        # A champion that is worse calibrated than the limit, as a small data set makes it, can be succeeded
        # by one that is no worse; one whose answers are no probabilities says nothing of it.
        _calibration(
            candidate,
            labels,
            groups,
            max(CALIBRATION_LIMIT, figures(champion, labels, classes).ece)
            if champion.sound
            else CALIBRATION_LIMIT,
        ),
    ]


def twin_checks(
    twin: Answers,
    original: Answers,
    labels: NDArray[np.int64],
    *,
    classes: Sequence[str] = CLASSES,
    groups: NDArray[np.int64] | None = None,
) -> list[Check]:
    """What an int8 twin must reach to take the place of the version that it was made from.

    So few answers flip between the two that the test split resolves less than between two trainings, and the
    margin is that.

    Args:
        twin: Answers of the int8 version.
        original: Answers of the version it was made from.
        labels: The right answers, `[N]`.
        classes: Names by class id.
        groups: Which images belong together, `[N]`; None where each stands for itself.
    """
    shared = compared(twin, original, labels)
    margin = resolution(int(shared.sum()), _some(groups, shared), TWIN).margin
    return successor_checks(twin, original, original, labels, classes=classes, groups=groups, margin=margin)


def compared(candidate: Answers, champion: Answers, labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which images two versions are compared on, `[N]`: those of classes that both have learned."""
    return candidate.knows(labels) & champion.knows(labels)


def lower_bound(
    candidate: NDArray[np.bool_], champion: NDArray[np.bool_], groups: NDArray[np.int64] | None = None
) -> float:
    """The one-sided 95 % lower confidence bound of the difference in accuracy, candidate − champion.

    Args:
        candidate: Which of its answers are right, `[N]`.
        champion: The same of the champion, on the same images.
        groups: Which images belong together, `[N]`; None where each stands for itself.
    """
    return difference_bound(candidate.astype(np.float64) - champion, groups)


def flips(
    candidate: Answers,
    champion: Answers,
    labels: NDArray[np.int64],
    groups: NDArray[np.int64] | None = None,
) -> Flips:
    """How many answers turn right or wrong, and how likely that is by chance alone.

    Args:
        candidate: Answers of the version that is judged.
        champion: Answers of the version that is served.
        labels: The right answers, `[N]`.
        groups: Which images belong together, `[N]`; None where each stands for itself.
    """
    from scipy import stats

    shared = compared(candidate, champion, labels)
    mine, theirs = candidate.right(labels)[shared], champion.right(labels)[shared]
    mended, broken = int((mine & ~theirs).sum()), int((theirs & ~mine).sum())
    found = means(mine.astype(np.float64) - theirs, _some(groups, shared))
    up, down = int(found.up[0]), int(found.down[0])
    p_value = float(stats.binomtest(up, up + down).pvalue) if up + down else 1.0
    effect = 1.0
    if groups is not None and mended + broken and np.isfinite(found.error[0]):
        effect = max(1.0, float(found.error[0] ** 2 * shared.sum() ** 2 / (mended + broken)))
    return Flips(
        mended=mended, broken=broken, p_value=p_value, images=int(shared.sum()), design_effect=effect
    )


def _drift(
    candidate: Answers,
    best: Answers,
    labels: NDArray[np.int64],
    groups: NDArray[np.int64] | None,
    margin: float,
) -> Check:
    shared = compared(candidate, best, labels)
    difference = candidate.right(labels).astype(np.float64) - best.right(labels)
    found = means(difference[shared], _some(groups, shared))
    value, bound = float(found.value[0]), float(found.upper()[0])
    perhaps = f"; by chance perhaps, it may be {bound:+.4f}" if value < -margin <= bound else ""
    return Check(
        name="accuracy, drift",
        value=value,
        limit=-margin,
        bound=bound,
        passed=bound >= -margin,
        meaning=f"against version {best.version}, the best that was ever promoted{perhaps}",
    )


def _calibration(
    candidate: Answers, labels: NDArray[np.int64], groups: NDArray[np.int64] | None, limit: float
) -> Check:
    known = candidate.knows(labels)
    error = bound = 1.0
    if known.any() and candidate.sound:
        confidence, right = candidate.confidence[known], candidate.right(labels)[known]
        error = calibration_error(confidence, right)
        bound = calibration_bound(confidence, right, limit, _some(groups, known))
    perhaps = f"; by chance perhaps, 95 % sure it is {bound:.4f}" if bound <= limit < error else ""
    return Check(
        name="calibration error",
        value=error,
        limit=limit,
        bound=bound,
        passed=bound <= limit,
        meaning=f"how far confidence and accuracy are apart, at most{perhaps}",
    )


def _nothing_in_common(champion: Answers) -> Check:
    return Check(
        name="classes in common",
        value=0,
        limit=1,
        passed=False,
        meaning=f"version {champion.version} was made for other classes, so nothing can be compared",
    )


def _some(groups: NDArray[np.int64] | None, rows: NDArray[np.bool_]) -> NDArray[np.int64] | None:
    return None if groups is None else groups[rows]
