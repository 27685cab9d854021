"""What versions answered to the test images, brought to the same class ids, and the figures that come of it."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jobs.gate.evidence import calibration_error
from jobs.gate.verdict import Figures
from model.contract import CLASSES, Contract
from model.report.evaluate import wilson_interval


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
        """The class id that each answer is, `[N]`; −1 where one is no number, which is never right."""
        finite = np.isfinite(self.probs.sum(axis=1))
        return np.where(finite, self.probs.argmax(axis=1), -1)

    @functools.cached_property
    def confidence(self) -> NDArray[np.float64]:
        """The probability of each answer, `[N]`."""
        return self.probs.max(axis=1).astype(np.float64)

    @property
    def learned(self) -> frozenset[int]:
        """The class ids that it has learned."""
        return frozenset(range(self.probs.shape[1])) - set(self.unlearned)

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


def by_ids_of(classes: Sequence[str], version: int, probs: NDArray[np.float32], contract: Contract) -> Answers:
    """A version's probabilities in the order of other class ids, the test split's.

    Ids keep their meaning within a list of classes, so that nothing moves there, whatever a class is called
    by now. A version of another list is brought over by the names; classes that the test split lacks stay
    behind it, each answer with them wrong.

    Args:
        classes: Names by class id of the test split.
        version: Whose answers they are.
        probs: float32 `[N, C]`, in the order of the contract's classes.
        contract: The version's.
    """
    places = _places(classes, contract.classes)
    if places == list(range(len(contract.classes))):
        return Answers(version, probs, contract.unlearned)
    width = max(len(classes), max(places) + 1)
    moved = np.zeros((len(probs), width), np.float32)
    moved[:, places] = probs
    learned = {places[number] for number in contract.learned}
    return Answers(version, moved, tuple(number for number in range(width) if number not in learned))


def _places(ours: Sequence[str], theirs: Sequence[str]) -> list[int]:
    """Where each of a version's classes is among the test split's."""
    if all(name not in ours or ours.index(name) == number for number, name in enumerate(theirs)) and any(
        name in ours for name in theirs
    ):
        return list(range(len(theirs)))  # one list, some classes perhaps renamed
    ids = {name: number for number, name in enumerate(ours)}
    further = len(ours)
    places = []
    for name in theirs:
        if name not in ids:
            ids[name] = further
            further += 1
        places.append(ids[name])
    return places


def figures(
    answers: Answers, labels: NDArray[np.int64], classes: Sequence[str] = CLASSES
) -> Figures:
    """The figures of one version, on the images of the classes that it has learned.

    Args:
        answers: Of the version.
        labels: The right answers, `[N]`.
        classes: Names by class id.
    """
    rows = answers.knows(labels)
    if not rows.any() or (answers.answered < 0).any():
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
        per_class={classes[n]: float(hits[n] / of_class[n]) for n in np.flatnonzero(of_class)},
        ece=calibration_error(answers.confidence[rows], right),
        nll=float(-np.log(likelihood).mean()),
    )
