"""The gate: is a candidate good enough to take the champion's place? Arithmetic alone; no file, no network.

A later version must not be worse than the one it replaces (non-inferiority). The burden of proof is on the
candidate: it is not enough that no difference was found. Both answer the same images, so the comparison is
paired, image by image, which cancels how hard an image is.

The lower bound is the one-sided 95 % confidence bound of the mean of the paired differences by Student's t,
scipy.stats.ttest_1samp(…, alternative="greater").confidence_interval(0.95). With thousands of images it is
the Wald bound for matched pairs (A. Agresti, Categorical Data Analysis, 3rd ed., 11.1.1). The exact
two-sided McNemar test, scipy.stats.binomtest on the images whose answer flips, is reported beside it.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from jobs.gate.verdict import Check, Figures, Flips
from model.contract import CLASSES
from model.report.evaluate import evaluate

MARGIN: Final = 0.01
"""The candidate's accuracy may be this much lower, at worst: one point."""

CLASS_MARGIN: Final = 0.03
"""So may its accuracy on each class: three points of the class's own images."""

DRIFT_MARGIN: Final = 0.01
"""So far may a champion be below the best one there ever was, so that small steps down cannot add up."""

CALIBRATION_LIMIT: Final = 0.05
"""Expected calibration error; chance alone gives a calibrated model about 0.015 on 2,500 images."""

FLOOR: Final = 0.70
CLASS_FLOOR: Final = 0.45
"""What a first version, with no champion to compare with, must reach; one epoch of training does not."""

ENOUGH_IMAGES: Final = 2_000
"""With fewer test images the evidence is weak, and promoting takes an explicit flag."""


@dataclass(frozen=True)
class Answers:
    """What a version answers to the test images.

    Attributes:
        version: Its number.
        probs: float32 `[N, 5]`.
    """

    version: int
    probs: NDArray[np.float32]

    def right(self, labels: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of the answers are right, `[N]`."""
        right: NDArray[np.bool_] = self.probs.argmax(axis=1) == labels
        return right


def figures(answers: Answers, labels: NDArray[np.int64]) -> Figures:
    """The figures of one version."""
    if not np.isfinite(answers.probs).all():
        # Not-a-number loses every comparison silently; such a version must lose it loudly.
        nothing = dict.fromkeys(CLASSES, 0.0)
        return Figures(
            version=answers.version, accuracy=0.0, interval=(0.0, 0.0), per_class=nothing, ece=1.0, nll=1e9
        )
    judged = evaluate(answers.probs, labels)
    return Figures(
        version=answers.version,
        accuracy=judged.accuracy,
        interval=judged.interval,
        per_class=judged.per_class,
        ece=judged.ece,
        nll=judged.nll,
    )


def first_checks(candidate: Figures, floor: float = FLOOR, class_floor: float = CLASS_FLOOR) -> list[Check]:
    """What the first version of all must reach.

    Args:
        candidate: Its figures.
        floor: Of its accuracy.
        class_floor: Of its accuracy on each class.
    """
    weakest = min(candidate.per_class, key=lambda name: candidate.per_class[name])
    return [
        Check(
            name="accuracy",
            value=candidate.accuracy,
            limit=floor,
            passed=candidate.accuracy >= floor,
            meaning="a first version must reach this",
        ),
        Check(
            name=f"weakest class ({weakest})",
            value=candidate.per_class[weakest],
            limit=class_floor,
            passed=candidate.per_class[weakest] >= class_floor,
            meaning="no class may be left unlearnt",
        ),
        _calibration(candidate, CALIBRATION_LIMIT),
    ]


def successor_checks(
    candidate: Answers, champion: Answers, best: Answers, labels: NDArray[np.int64]
) -> list[Check]:
    """What a candidate must reach to take the champion's place.

    Args:
        candidate: Answers of the version that is judged.
        champion: Answers of the version that is served.
        best: Answers of the most accurate version that was ever promoted.
        labels: The right answers `[N]`.
    """
    mine, theirs = candidate.right(labels), champion.right(labels)
    bound = lower_bound(mine, theirs)
    checks = [
        Check(
            name="accuracy, lower bound",
            value=bound,
            limit=-MARGIN,
            passed=bound > -MARGIN,
            meaning=f"against version {champion.version}, 95 % sure it is no lower than this",
        )
    ]
    for label, name in enumerate(CLASSES):
        members = labels == label
        difference = float(mine[members].mean() - theirs[members].mean())
        checks.append(
            Check(
                name=name,
                value=difference,
                limit=-CLASS_MARGIN,
                passed=difference > -CLASS_MARGIN,
                meaning=f"against version {champion.version} on the images of this class",
            )
        )
    drift = float(mine.mean() - best.right(labels).mean())
    checks.append(
        Check(
            name="accuracy, drift",
            value=drift,
            limit=-DRIFT_MARGIN,
            passed=drift >= -DRIFT_MARGIN,
            meaning=f"against version {best.version}, the best that was ever promoted",
        )
    )
    # A champion that is worse calibrated than the limit, as a small data set makes it, can be succeeded by
    # one that is no worse.
    limit = max(CALIBRATION_LIMIT, figures(champion, labels).ece)
    checks.append(_calibration(figures(candidate, labels), limit))
    return checks


def lower_bound(candidate: NDArray[np.bool_], champion: NDArray[np.bool_]) -> float:
    """The one-sided 95 % lower confidence bound of the difference in accuracy, candidate − champion.

    Args:
        candidate: Which of its answers are right, `[N]`.
        champion: The same of the champion, on the same images.
    """
    from scipy import stats

    difference = candidate.astype(np.float64) - champion
    if np.ptp(difference) == 0:  # no spread, no test: the same on every image
        return float(difference[0])
    result = stats.ttest_1samp(difference, 0.0, alternative="greater")
    return float(result.confidence_interval(0.95).low)


def flips(candidate: Answers, champion: Answers, labels: NDArray[np.int64]) -> Flips:
    """How many answers turn right or wrong, and how likely that is by chance alone."""
    from scipy import stats

    mine, theirs = candidate.right(labels), champion.right(labels)
    mended, broken = int((mine & ~theirs).sum()), int((theirs & ~mine).sum())
    p_value = float(stats.binomtest(mended, mended + broken).pvalue) if mended + broken else 1.0
    return Flips(mended=mended, broken=broken, p_value=p_value)


def _calibration(candidate: Figures, limit: float) -> Check:
    return Check(
        name="calibration error",
        value=candidate.ece,
        limit=limit,
        passed=candidate.ece <= limit,
        meaning="how far confidence and accuracy are apart, at most",
    )
