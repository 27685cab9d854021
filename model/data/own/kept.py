"""What is kept of a source: its decoded pictures, and all that is known of them."""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.contract import Fit
from model.data.images import FileRows
from model.data.pictures import LeftOut, Picture
from model.images.decode import DECODER_VERSION

_LAYOUT: Final = 2


@dataclass(frozen=True)
class Key:
    """What decoded pictures are kept by.

    Attributes:
        folder: Of all that is kept.
        source: Which place, whatever folder one stands in.
        size: Side of the squares in pixels.
        fit: How a picture became a square.
    """

    folder: Path
    source: str
    size: int
    fit: Fit

    @property
    def stem(self) -> str:
        """What the names of all its files begin with."""
        short = hashlib.sha256(os.fsencode(self.source)).hexdigest()[:16]
        return f"{short}-{self.size}-{self.fit}"

    @property
    def index(self) -> Path:
        """The file that says what there is."""
        return self.folder / f"{self.stem}.json"

    @property
    def journal(self) -> Path:
        """What was decoded since, and is not in the index yet; see `model.data.own.growing`."""
        return self.folder / f"{self.stem}.journal"

    @property
    def lock(self) -> Path:
        """Who holds it may write."""
        return self.folder / f"{self.stem}.lock"

    def about(self) -> dict[str, Any]:
        """Whose a file is, for JSON: this key's, of this layout and this decoder."""
        return {
            "layout": _LAYOUT,
            "decoder": DECODER_VERSION,
            "source": self.source,
            "size": self.size,
            "fit": self.fit,
        }

    def owns(self, head: Mapping[str, Any]) -> bool:
        """Whether `about` of this key stands in a file."""
        return head.items() >= self.about().items()


def is_current(head: Mapping[str, Any]) -> bool:
    """Whether an index is of this layout, and its pixels of this decoder."""
    return (head["layout"], head["decoder"]) == (_LAYOUT, DECODER_VERSION)


class Entry(NamedTuple):
    """A file that was looked at.

    Attributes:
        what: The picture, or why it is none.
        stamp: Of the file; None where it was passed over unread.
        row: Where its pixels lie in the file of pixels; -1 of no picture.
    """

    what: Picture | LeftOut
    stamp: str | None
    row: int


@dataclass(frozen=True)
class Kept:
    """Decoded pictures as they lie in the cache.

    Attributes:
        key: What they are kept by.
        stamp: Of the place when they were read; see `model.data.own.places.files.Place`.
        natural: The size that these pictures have by themselves; see `takeover.natural_size`.
        pictures: What is known of each.
        rows: int64 `[N]`, where each of them lies in `images`.
        stamps: By name, of each picture's file, and of each file that was decoded and is none.
        images: All rows of the file of pixels; one that no picture has is of one that is gone.
        left_out: What was passed over.
        classes: All classes that the place has.
        notes: What people should know of it, in sentences.
        file: The file of pixels.
    """

    key: Key
    stamp: str | None
    natural: int
    pictures: Sequence[Picture]
    rows: NDArray[np.int64] = field(compare=False)
    stamps: Mapping[str, str]
    images: FileRows = field(compare=False)
    left_out: Sequence[LeftOut]
    classes: tuple[str, ...]
    notes: tuple[str, ...]
    file: Path = field(repr=False)

    def entries(self) -> Iterator[Entry]:
        """All of it, one after the other."""
        pictures = zip(self.pictures, self.rows.tolist(), strict=True)
        return chain(
            (Entry(picture, self.stamps[picture.name], row) for picture, row in pictures),
            (Entry(left, self.stamps.get(left.name), -1) for left in self.left_out),
        )


def opened(file: Path, rows: int, size: int) -> FileRows:
    """The first rows of a file of pixels, which stays open.

    Raises:
        ValueError: It is shorter than that.
    """
    images = FileRows(file, np.arange(rows), size, file.with_suffix(".digests"))
    if file.stat().st_size < rows * size * size * 3:
        raise ValueError
    return images
