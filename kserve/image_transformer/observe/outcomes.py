"""What the classifier answers, for Prometheus: which classes, how sure, and how unlike anything learned.

A class' answers are counted by its name, for all versions together: a promotion to other classes mixes up no
ids, and makes no second set of series where the names stay. The first 100 classes of a version have series
of their own.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import compress
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray
from prometheus_client.core import CounterMetricFamily, Metric

from image_transformer.codecs.tensors import Probabilities
from image_transformer.observe.histogram import Histogram
from model.contract import Contract

OTHER: Final = "other"
"""What the classes behind the first 100 are counted as."""

_NAMED: Final = 100
_REMEMBERED: Final = 500  # names, of versions that are served no more too
_TOGETHER: Final = 256
# Most answers of a good network are above 0.9, which is why it is cut finely there; the least that the
# highest of K probabilities can be is 1 / K.
_CONFIDENCES: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999)
# In standard deviations of the validation pictures, and -2 at least (`model.network.unlike`): usual pictures
# are around 0, a mark stands at about 2, a refusal further out, noise and text are far beyond both.
_SCORES: Final = (-1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0, 8.0, 16.0, 32.0)


class Version(Protocol):
    """What has answered."""

    @property
    def contract(self) -> Contract:
        """What its probabilities are of."""

    @property
    def mark_at(self) -> float:
        """Above this score an image is marked."""


class Outcomes:
    """Counts answers, many together: for each alone numpy takes longer to begin than to do it.

    Attributes:
        contracts: Gives those of the versions that are served: their classes are there from the start, at 0.
    """

    def __init__(self) -> None:
        self.contracts: Callable[[], Sequence[Contract]] = list
        self._versions: list[Version] = []
        self._probs: list[NDArray[np.float32]] = []
        self._scores: list[NDArray[np.float32] | None] = []
        self._images = 0
        self._classes: Counter[str] = Counter()
        self._confidence = Histogram(_CONFIDENCES)
        self._score = Histogram(_SCORES)
        self._marked = 0

    def add(self, version: Version, answer: Probabilities) -> None:
        """Counts the images of a request that is answered; at the latest when somebody looks.

        Args:
            version: The same object for all of a version's answers.
            answer: The request's.
        """
        probs = answer.probs
        self._versions.append(version)
        self._probs.append(probs)
        self._scores.append(answer.scores)
        self._images += len(probs)
        if self._images >= _TOGETHER:
            self._count()

    def collect(self) -> Iterator[Metric]:
        """Gives Prometheus the numbers as they are now."""
        self._count()
        labels = dict.fromkeys((*_labels(self.contracts()), *self._classes))
        name = "cnn_image_"
        classes = CounterMetricFamily(name + "answers", "Images answered, by class", labels=("class",))
        for label in labels:
            classes.add_metric((label,), self._classes[label])
        yield classes
        yield self._confidence.family(name + "confidence", "The highest probability of an image answered")
        yield self._score.family(
            name + "ood_score", "How unlike anything learned an image is, of versions that can tell"
        )
        yield CounterMetricFamily(
            name + "marked_images", "Images answered and marked as unlike anything learned", self._marked
        )

    def _count(self) -> None:
        versions, probs, scores = self._versions, self._probs, self._scores
        self._versions, self._probs, self._scores, self._images = [], [], [], 0
        for version in set(versions):
            its = [one is version for one in versions]
            self._count_classes(version.contract, np.concatenate(list(compress(probs, its))))
            if known := [one for one in compress(scores, its) if one is not None]:
                together = np.concatenate(known)
                self._score.add_all(together)
                self._marked += int((together > version.mark_at).sum())

    def _count_classes(self, contract: Contract, probs: NDArray[np.float32]) -> None:
        best = probs.argmax(axis=1)
        self._confidence.add_all(probs[np.arange(len(best)), best])
        counts = np.bincount(best)
        for class_id in np.flatnonzero(counts).tolist():
            label = contract.classes[class_id] if class_id < _NAMED else OTHER
            self._classes[label] += int(counts[class_id])
        if len(self._classes) > _REMEMBERED:
            served = {OTHER, *_labels(self.contracts())}
            self._classes = Counter({label: n for label, n in self._classes.items() if label in served})


def _labels(contracts: Sequence[Contract]) -> Iterator[str]:
    """What the classes of versions are counted as."""
    for contract in contracts:
        yield from contract.classes[:_NAMED]
        if len(contract.classes) > _NAMED:
            yield OTHER
