"""What versions answered to the test images, brought to the same class ids, and the figures of that."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from jobs.gate.evidence import calibration_error
from jobs.gate.verdict import Figures
from model.contract import CLASSES
from model.report.evaluate import wilson_interval

_ROUNDED: Final = 1e-5
"""So much above 1 may a float32 softmax come."""


@dataclass(frozen=True)
class Answers:
    """What a version answers to the test images.

    Attributes:
        version: Its number.
        probs: float32 `[N, C]`, by class id; a version with fewer classes than others is narrower.
        unlearned: Class ids below C that it knows by name alone.
    """

    version: int
    probs: NDArray[np.float32]
    unlearned: tuple[int, ...] = ()

    @functools.cached_property
    def answered(self) -> NDArray[np.int64]:
        """The class id that each answer is, `[N]`; −1, never right, where they are no probabilities."""
        # Not-a-number is on no side of either limit.
        sound = (self.probs.min(axis=1) >= 0) & (self.probs.max(axis=1) <= 1 + _ROUNDED)
        return np.where(sound, self.probs.argmax(axis=1), -1)

    @functools.cached_property
    def confidence(self) -> NDArray[np.float64]:
        """The probability of each answer, `[N]`."""
        confidence: NDArray[np.float64] = self.probs.max(axis=1).astype(np.float64)
        return confidence

    @property
    def learned(self) -> frozenset[int]:
        """The class ids that it has learned."""
        return frozenset(range(self.probs.shape[1])) - set(self.unlearned)

    @property
    def sound(self) -> bool:
        """Whether all answers are probabilities."""
        return bool((self.answered >= 0).all())

    def right(self, labels: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of the answers are right, `[N]`."""
        right: NDArray[np.bool_] = self.answered == labels
        return right

    def knows(self, labels: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which images are of a class that it has learned, `[N]`."""
        learned = np.zeros(max(int(labels.max(initial=0)) + 1, self.probs.shape[1]), bool)
        learned[list(self.learned)] = True
        known: NDArray[np.bool_] = learned[labels]
        return known


def by_names(classes: Sequence[str], answers: Answers, theirs: Sequence[str]) -> Answers:
    """The answers of a version of another list of classes, brought over to these class ids by the names.

    Classes that are not among them stay behind them, so that an answer with one of those is wrong.

    Args:
        classes: Names by class id, as they are wanted.
        answers: Of a version, by its own class ids.
        theirs: The names by those.
    """
    ids = {name: number for number, name in enumerate(classes)}
    for name in theirs:
        ids.setdefault(name, len(ids))
    places = [ids[name] for name in theirs]
    probs = np.zeros((len(answers.probs), len(ids)), np.float32)
    probs[:, places] = answers.probs
    learned = {places[number] for number in answers.learned}
    return Answers(
        answers.version, probs, tuple(number for number in range(len(ids)) if number not in learned)
    )


def figures(answers: Answers, labels: NDArray[np.int64], classes: Sequence[str] = CLASSES) -> Figures:
    """The figures of one version, on the images of the classes that it has learned.

    Args:
        answers: Of the version.
        labels: The right answers, `[N]`.
        classes: Names by class id.
    """
    rows = answers.knows(labels)
    if not rows.any() or not answers.sound:
        # Not-a-number loses every comparison silently; such a version must lose it loudly.
        nothing = {classes[number]: 0.0 for number in sorted(answers.learned) if number < len(classes)}
        return Figures(
            version=answers.version, accuracy=0.0, interval=(0.0, 0.0), per_class=nothing, ece=1.0, nll=1e9
        )
    asked, right = labels[rows], answers.right(labels)[rows]
    of_class = np.bincount(asked, minlength=len(classes))
    hits = np.bincount(asked[right], minlength=len(classes))
    likelihood = np.clip(answers.probs[np.flatnonzero(rows), asked].astype(np.float64), 1e-12, 1)
    return Figures(
        version=answers.version,
        accuracy=int(right.sum()) / len(asked),
        interval=wilson_interval(int(right.sum()), len(asked)),
        per_class={classes[n]: float(hits[n] / of_class[n]) for n in np.flatnonzero(of_class).tolist()},
        ece=calibration_error(answers.confidence[rows], right),
        nll=float(-np.log(likelihood).mean()),
    )
