"""All pictures of a source, decoded: what is known of each, its pixels, and what was passed over."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.contract import Fit
from model.data.errors import DataError
from model.data.own.cache import find, head_of, natural_key
from model.data.own.growing import kept_in
from model.data.own.kept import Kept, Key
from model.data.own.places.files import File, Place, UnreadableError
from model.data.own.places.folder import Folder
from model.data.own.places.opening import identity, official, opened
from model.data.own.takeover import Progress, natural_size, silent, taken_over
from model.data.own.wishes import Wishes
from model.data.pictures import LeftOut, Picture
from model.images.decode import read_header
from model.images.errors import ImageError

_LOOKED_AT: Final = 64


@dataclass(frozen=True)
class Gathered:
    """The pictures of a source.

    Attributes:
        pictures: What could be decoded.
        rows: int64, where the pixels of each picture lie in the cache; see `pixels`.
        left_out: What is not learned from, and why.
        source: What the user calls it.
        size: Side of the squares in pixels.
        fit: How a picture became a square.
        classes: All classes there are, also those without a picture, sorted.
        notes: What people should know of it, in sentences.
        kept: Where it lies in the cache.
    """

    pictures: list[Picture]
    rows: NDArray[np.int64]
    left_out: list[LeftOut]
    source: str
    size: int
    fit: Fit
    classes: tuple[str, ...]
    notes: tuple[str, ...]
    kept: Kept

    @classmethod
    def of(cls, kept: Kept, source: str) -> "Gathered":
        """What lies in the cache of a source."""
        return cls(
            pictures=list(kept.pictures),
            rows=kept.rows,
            left_out=list(kept.left_out),
            source=source,
            size=kept.key.size,
            fit=kept.key.fit,
            classes=kept.classes,
            notes=kept.notes,
            kept=kept,
        )

    def pixels(self, positions: Sequence[int]) -> NDArray[np.uint8]:
        """Some of the pictures as the network sees them, uint8 `[n, size, size, 3]`, RGB."""
        return self.kept.images[self.rows[list(positions)]]


def gather(source: str, wishes: Wishes | None = None, progress: Progress = silent) -> Gathered:
    """Find and decode the pictures of a source of one's own.

    Args:
        source: A folder, an archive, a CSV or Parquet, or the `s3://` address of one of them.
        wishes: Size, fit, network and cache are used.
        progress: Is told how many files are done, from time to time.

    Raises:
        DataAwayError: A bucket cannot be reached at present.
        DataError: It cannot be read, has no class folders, is CIFAR-10's own files, or the disk is full.
    """
    wishes = wishes or Wishes()
    with opened(source) as place:
        if not is_kept(place, wishes) and official(place):
            raise DataError(f"{source} holds CIFAR-10's own files, which are used as they are.")
        return gather_from(place, wishes, progress)


def is_kept(place: Place, wishes: Wishes) -> bool:
    """Whether a place's pictures lie in the cache, so that it need not even be opened."""
    stamp = place.stamp()
    if stamp is None:
        return False
    key = _key(place, wishes)
    head = head_of(key) if key else None
    return head is not None and bool(head["stamp"] == stamp)


def gather_from(place: Place, wishes: Wishes, progress: Progress = silent) -> Gathered:
    """Decode what is not decoded yet of a place's pictures.

    Args:
        place: Where they lie.
        wishes: Size, fit, network and cache are used.
        progress: Is told how many files are done.

    Raises:
        DataError: It cannot be read, has no class folders, or its decoded pictures cannot be kept.
    """
    if isinstance(place, Folder) and wishes.cache.resolve().is_relative_to(place.path.resolve()):
        raise DataError(
            f"Decoded pictures would be kept in {wishes.cache}, inside the data {place.source}; start it in "
            "another folder, or set CNN_IMAGE_STATE to one."
        )
    key = _key(place, wishes)
    if key is not None and is_kept(place, wishes) and (old := find(key)):
        return Gathered.of(old, place.source)
    listing = place.listing()
    if key is None:
        size = wishes.size or wishes.chosen_size(_likely_size(place, listing.files))
        key = Key(wishes.cache, identity(place.source), size, wishes.fit)
    with kept_in(wishes.cache):
        kept = taken_over(place, listing, key, progress)
        if (size := wishes.chosen_size(kept.natural)) != key.size:
            kept = taken_over(place, listing, dataclasses.replace(key, size=size), progress)
    return Gathered.of(kept, place.source)


def _key(place: Place, wishes: Wishes) -> Key | None:
    """What a place's pictures are kept by; None where the size is not known yet."""
    source = identity(place.source)
    if wishes.size is None:
        return natural_key(wishes.cache, source, wishes.fit, wishes.chosen_size)
    return Key(wishes.cache, source, wishes.size, wishes.fit)


def _likely_size(place: Place, files: Sequence[File]) -> int:
    """The size of the first pictures: most often it is that of all, and nothing is decoded twice."""
    sides = []
    for _, read in islice(place.read(files), _LOOKED_AT):
        try:
            header = read_header(read())
        except (ImageError, UnreadableError):
            continue
        sides.append(min(header.width, header.height))
    return natural_size(sides)
