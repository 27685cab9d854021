"""How good a classifier is: figures from its probabilities and the right labels, in numpy alone."""

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.contract import CLASSES

CALIBRATION_BINS: Final = 15
_Z95: Final = 1.959963984540054


@dataclass(frozen=True)
class Evaluation:
    """What the figures say about one set of answers.

    Attributes:
        images: How many images were judged.
        accuracy: Share of right answers, 0..1.
        interval: Its 95 % interval (Wilson's score interval).
        per_class: Class name → accuracy on that class's images (its recall), of the classes that have any.
        confusion: int64 `[C, C]`; row: the right class, column: the answer.
        ece: Expected calibration error over `CALIBRATION_BINS` equal bins of confidence (Guo et al. 2017).
        nll: Mean negative log-likelihood, in nats.
        classes: Names by class id, those of classes without images too.
    """

    images: int
    accuracy: float
    interval: tuple[float, float]
    per_class: dict[str, float]
    confusion: NDArray[np.int64]
    ece: float
    nll: float
    classes: tuple[str, ...] = CLASSES


@dataclass(frozen=True)
class CalibrationBin:
    """The answers whose confidence lies between `low` and `high`."""

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


def evaluate(
    probs: NDArray[np.floating],
    labels: NDArray[np.integer],
    classes: tuple[str, ...] = CLASSES,
    unlearned: Collection[int] = (),
) -> Evaluation:
    """Judge probabilities `[N, C]` against labels `[N]`.

    Args:
        probs: One row an image.
        labels: The right class ids.
        classes: Names by class id.
        unlearned: Class ids that the classifier knows by name alone. It cannot give them, so their images
            are left out; it says nothing of how good it is at what it learned.

    Raises:
        ValueError: The shapes do not fit, or there is no image.
    """
    _check(probs, labels, len(classes))
    if unlearned:
        judged = is_learned(labels, unlearned)
        probs, labels = probs[judged], labels[judged]
        _check(probs, labels, len(classes))
    answers = probs.argmax(axis=1)
    number = len(classes)
    confusion = np.bincount(labels * number + answers, minlength=number**2).reshape(number, number)
    right = int(np.trace(confusion))
    of_class = confusion.sum(axis=1)
    likelihood = np.clip(probs[np.arange(len(labels)), labels].astype(np.float64), 1e-12, 1)
    bins = calibration_bins(probs, labels)
    return Evaluation(
        images=len(labels),
        accuracy=right / len(labels),
        interval=wilson_interval(right, len(labels)),
        per_class={
            classes[label]: float(confusion[label, label] / of_class[label])
            for label in np.flatnonzero(of_class)
        },
        confusion=confusion.astype(np.int64),
        ece=sum(b.count * abs(b.accuracy - b.confidence) for b in bins) / len(labels),
        nll=float(-np.log(likelihood).mean()),
        classes=classes,
    )


def is_learned(labels: NDArray[np.integer], unlearned: Collection[int]) -> NDArray[np.bool_]:
    """Which labels, `[N]`, are of classes that the classifier can give."""
    learned: NDArray[np.bool_] = ~np.isin(labels, list(unlearned))
    return learned


def calibration_bins(probs: NDArray[np.floating], labels: NDArray[np.integer]) -> list[CalibrationBin]:
    """Sort answers by confidence into `CALIBRATION_BINS` equal bins; empty ones are left out."""
    _check(probs, labels)
    confidence = probs.max(axis=1).astype(np.float64)
    right = probs.argmax(axis=1) == labels
    which = np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    return [
        CalibrationBin(
            low=number / CALIBRATION_BINS,
            high=(number + 1) / CALIBRATION_BINS,
            count=int(members.sum()),
            confidence=float(confidence[members].mean()),
            accuracy=float(right[members].mean()),
        )
        for number in range(CALIBRATION_BINS)
        if (members := which == number).any()
    ]


def wilson_interval(right: int, total: int) -> tuple[float, float]:
    """The 95 % score interval of a share (Wilson 1927); unlike the normal one it stays within 0..1."""
    if total < 1:
        raise ValueError("there is no image to judge.")
    share, z2 = right / total, _Z95**2
    middle = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = _Z95 / (1 + z2 / total) * math.sqrt(share * (1 - share) / total + z2 / (4 * total**2))
    return max(0.0, middle - half), min(1.0, middle + half)


def fit_temperature(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
    """Find the temperature that makes the labels likeliest under softmax(logits / temperature), without bias.

    Temperature scaling is by Guo et al. 2017. The likeliest temperature is too low where there are few
    mistakes to learn from, and the lowest that there is where there are none; half the logarithm of the
    information on 1/temperature, added to the likelihood, takes that off (D. Firth, Biometrika 80:27, 1993).
    Among thousands of images it adds nothing. Golden-section search over 1/temperature from 0.05 to 20.
    """
    _check(logits, labels)
    # Below each image's best, so that nothing overflows; a class that is masked has no part in anything.
    below = logits.astype(np.float64)
    below = below - below.max(axis=1, keepdims=True)

    def unlikely(log_inverse: float) -> float:
        scaled = below * math.exp(log_inverse)
        parts = np.exp(scaled)
        total = parts.sum(axis=1)
        parts /= total[:, None]
        information = ((parts * below**2).sum(axis=1) - (parts * below).sum(axis=1) ** 2).sum()
        penalty = math.log(max(float(information), 1e-300)) / 2
        return float((np.log(total) - scaled[rows, labels]).sum()) - penalty

    rows = np.arange(len(labels))
    golden = (math.sqrt(5) - 1) / 2
    low, high = math.log(0.05), math.log(20)
    while high - low > 1e-6:
        a, b = high - golden * (high - low), low + golden * (high - low)
        low, high = (low, b) if unlikely(a) < unlikely(b) else (a, high)
    return math.exp(-(low + high) / 2)


def softmax(logits: NDArray[np.floating], temperature: float = 1.0) -> NDArray[np.float32]:
    """Probabilities `[N, C]` of logits `[N, C]`."""
    scaled = logits.astype(np.float64) / temperature
    exponent = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    probs: NDArray[np.float32] = (exponent / exponent.sum(axis=1, keepdims=True)).astype(np.float32)
    return probs


def _check(scores: NDArray[np.floating], labels: NDArray[np.integer], classes: int | None = None) -> None:
    if scores.ndim != 2 or labels.shape != (len(scores),) or classes not in {None, scores.shape[1]}:
        raise ValueError(
            f"scores {scores.shape} and labels {labels.shape} do not fit; give [N, {classes or 'classes'}] "
            "and [N]."
        )
    if not len(labels):
        raise ValueError("there is no image to judge.")
