"""A picture of one's own data as it was found: where it lies, what it is called, and what tells it again."""

from dataclasses import dataclass
from typing import Final, Literal

from model.images.header import Format

SplitName = Literal["train", "validation", "test"]

THUMB_SIDE: Final = 16
"""Side in pixels of a picture's grey thumbnail."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture that could be decoded.

    Attributes:
        name: Its path below the source, or what the manifest calls it; unique in the source.
        label: Its class, by name.
        given: The split that the source puts it in; None where the source does not say.
        group: What it belongs to (a person, a scene); None where it stands for itself.
        digest: The sha256 of the file's bytes.
        phash: Perceptual hash, 64 bits, of the picture squeezed into 32 x 32: the same whatever size and fit
            a version has.
        thumb: The same picture in `THUMB_SIDE` x `THUMB_SIDE` grey bytes, row after row, to confirm what the
            hash says.
        width: In pixels, as it lies in the file.
        height: In pixels, as it lies in the file.
        format: What it is encoded as.
        length: Of the file, in bytes.
    """

    name: str
    label: str
    given: SplitName | None
    group: str | None
    digest: bytes
    phash: int
    thumb: bytes
    width: int
    height: int
    format: Format
    length: int


Reason = Literal[
    "broken",
    "not a picture",
    "no class",
    "too small",
    "too large",
    "duplicate",
    "two classes",
    "leak",
    "path only",
    "fixed",
]
"""Why a file of the source is not learned from."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file of the source that is not learned from.

    Attributes:
        name: As in `Picture`.
        label: Its class, where that is known.
        reason: In a word.
        detail: The sentence for people; names the other picture where there is one.
    """

    name: str
    label: str | None
    reason: Reason
    detail: str
