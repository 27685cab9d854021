"""What a network learns from and is judged by: three splits of labelled images that share none."""

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from model.contract import CLASSES, Fit, Network
from model.data.images import FileRows, Images

Kind = Literal["cifar10", "sample", "images"]

_ROWS_AT_A_TIME: Final = 4096


@dataclass(frozen=True)
class Split:
    """Some of the images.

    Attributes:
        images: uint8 `[N, S, S, 3]`, RGB; of one's own pictures rows of a file, read when they are asked for.
        labels: int64 `[N]`, positions in `classes`.
        classes: Names by class id.
        groups: int64 `[N]`, which images belong together (one person's, one scene's); None where each stands
            for itself.
        names: What the user calls each image, `[N]`; None where they have no names.
    """

    images: Images
    labels: NDArray[np.int64]
    classes: tuple[str, ...] = CLASSES
    groups: NDArray[np.int64] | None = None
    names: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def digest(self) -> str:
        """The sha256 of classes, labels and pixels, in order."""
        head = repr((self.classes, self.images.shape)).encode() + self.labels.astype("<i8").tobytes()
        if isinstance(self.images, FileRows):
            return self.images.digest(head)
        digest = hashlib.sha256(head)
        for start in range(0, len(self.images), _ROWS_AT_A_TIME):
            digest.update(self.images[start : start + _ROWS_AT_A_TIME].tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class Dataset:
    """Three splits that share no image.

    Attributes:
        train: What the weights are fitted to.
        validation: What choices and the temperature are made on; held out of the training split.
        test: What no choice ever sees.
        source: Where it came from, for people.
        kind: `cifar10`, `sample` for the small one that ships with the repository, `images` for one's own.
        fit: How the pictures became squares.
        splits: Which picture is in which split, to be kept beside the version; see `model.data.splits`. None
            where the source itself says so for ever.
        network: What it is to be learned by: as the user wished, or by the size of the pictures.
        unlearned: Class ids, ascending, of which there is no picture: classes that the model knew before.
    """

    train: Split
    validation: Split
    test: Split
    source: str
    kind: Kind
    fit: Fit = "stretch"
    splits: bytes | None = None
    unlearned: tuple[int, ...] = ()
    network: Network = "cnn"

    @property
    def classes(self) -> tuple[str, ...]:
        """Names by class id."""
        return self.train.classes

    def called(self, classes: tuple[str, ...]) -> "Dataset":
        """The same by the names that a version has of these class ids.

        The list of classes grows and its classes are renamed, and no version made before follows.

        Args:
            classes: Names by class id; of fewer ids than here where none of the others has a picture. Where
                one has, nothing is changed.
        """
        parts = (self.train, self.validation, self.test)
        if classes == self.classes or any((part.labels >= len(classes)).any() for part in parts):
            return self
        train, validation, test = (replace(part, classes=classes) for part in parts)
        unlearned = tuple(number for number in self.unlearned if number < len(classes))
        return replace(self, train=train, validation=validation, test=test, unlearned=unlearned)

    @property
    def size(self) -> int:
        """Side of the images in pixels."""
        return int(self.train.images.shape[1])

    @cached_property
    def digest(self) -> str:
        """The sha256 over all images and labels that are used."""
        parts = (self.train.digest, self.validation.digest, self.test.digest)
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()
