"""What is kept of a source: its decoded pictures, and all that is known of them, as two lines of JSON."""

import base64
import dataclasses
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from model.contract import Fit
from model.data.pictures import LeftOut, Picture
from model.images.decode import DECODER_VERSION

_LAYOUT: Final = 1


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
    def index(self) -> Path:
        """The file that says what there is."""
        return self.folder / f"{_short(self.source)}-{self.size}-{self.fit}.json"


@dataclass(frozen=True)
class Kept:
    """Decoded pictures as they lie in the cache.

    Attributes:
        key: What they are kept by.
        stamp: Of the place when they were read; see `model.data.own.places.files.Place`.
        natural: The size that fits these pictures best.
        pictures: What is known of each.
        stamps: Of each picture's file, and, by name, of each file that was decoded and is none.
        images: uint8 `[N, size, size, 3]`, RGB, memory-mapped; in the order of `pictures`.
        left_out: What was passed over.
        classes: All classes that the place has.
        notes: What people should know of it, in sentences.
    """

    key: Key
    stamp: str | None
    natural: int
    pictures: list[Picture]
    stamps: dict[str, str]
    images: NDArray[np.uint8] = field(compare=False)
    left_out: list[LeftOut]
    classes: tuple[str, ...]
    notes: tuple[str, ...]
    file: Path = field(repr=False)

    def says(self, other: "Kept") -> bool:
        """Whether the index of another would be the same."""
        return self == dataclasses.replace(other, left_out=self.left_out) and set(self.left_out) == set(
            other.left_out
        )


def header(kept: Kept) -> dict[str, Any]:
    """The first line of an index, for JSON: whose it is, and which pixels."""
    return {
        "layout": _LAYOUT,
        "decoder": DECODER_VERSION,
        "source": kept.key.source,
        "size": kept.key.size,
        "fit": kept.key.fit,
        "stamp": kept.stamp,
        "natural": kept.natural,
        "pixels": kept.file.name,
        "rows": len(kept.pictures),
    }


def is_current(head: Mapping[str, Any]) -> bool:
    """Whether an index is of this layout, and its pixels of this decoder."""
    return (head["layout"], head["decoder"]) == (_LAYOUT, DECODER_VERSION)


def is_of(head: Mapping[str, Any], key: Key) -> bool:
    """Whether an index is the one that a key asks for."""
    return (head["source"], head["size"], head["fit"]) == (key.source, key.size, key.fit)


def body(kept: Kept) -> dict[str, Any]:
    """The second line of an index, for JSON: what is known of each picture."""
    return {
        "pictures": [
            [
                *(picture.name, picture.label, picture.given, picture.group),
                *(picture.digest.hex(), picture.phash, base64.b64encode(picture.thumb).decode()),
                *(picture.width, picture.height, picture.format, picture.length),
            ]
            for picture in kept.pictures
        ],
        "stamps": kept.stamps,
        "left_out": [dataclasses.astuple(left) for left in kept.left_out],
        "classes": kept.classes,
        "notes": kept.notes,
    }


def kept_of(
    key: Key, head: Mapping[str, Any], told: Mapping[str, Any], images: NDArray[np.uint8], file: Path
) -> Kept:
    """What `header` and `body` were made of.

    Raises:
        KeyError, TypeError, ValueError: They were not.
    """
    return Kept(
        key=key,
        stamp=head["stamp"],
        natural=head["natural"],
        pictures=[_picture(*row) for row in told["pictures"]],
        stamps=told["stamps"],
        images=images,
        left_out=[LeftOut(*row) for row in told["left_out"]],
        classes=tuple(told["classes"]),
        notes=tuple(told["notes"]),
        file=file,
    )


def _picture(
    name: str, label: str, given: Any, group: str | None, digest: str, phash: int, thumb: str, *rest: Any
) -> Picture:
    return Picture(name, label, given, group, bytes.fromhex(digest), phash, base64.b64decode(thumb), *rest)


def _short(source: str) -> str:
    return hashlib.sha256(os.fsencode(source)).hexdigest()[:16]
