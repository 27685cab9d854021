"""All pictures of a source, decoded: what is known of each, its pixels, and what was passed over."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import median_low
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.contract import IMAGE_SIZE, SIZES, Fit
from model.data.errors import DataError
from model.data.own.cache import find, find_natural, keep, writing
from model.data.own.decoding import decode_all
from model.data.own.kept import Kept, Key
from model.data.own.places.files import File, Listing, Place, UnreadableError
from model.data.own.places.folder import Folder
from model.data.own.places.opening import identity, official, opened
from model.data.own.wishes import Wishes
from model.data.pictures import LeftOut, Picture
from model.images.decode import read_header
from model.images.errors import ImageError

LARGEST_CHOSEN: Final = 64
"""Side in pixels of the largest square that is chosen by itself: larger ones train for long on a CPU."""

_LOOKED_AT: Final = 64
_PROGRESS_EVERY: Final = 16

Progress = Callable[[int, int], None]
"""Is told how many files are done, and of how many."""


def silent(done: int, total: int) -> None:
    """Tell nobody."""


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
            rows=np.arange(len(kept.pictures)),
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
        wishes: Size, fit and cache are used.
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
    old = _old(place, wishes)
    return old is not None and old.stamp == stamp


def gather_from(place: Place, wishes: Wishes, progress: Progress = silent) -> Gathered:
    """Decode what is not decoded yet of a place's pictures.

    Args:
        place: Where they lie.
        wishes: Size, fit and cache are used.
        progress: Is told how many files are done.

    Raises:
        DataError: It cannot be read, has no class folders, or its decoded pictures cannot be kept.
    """
    if isinstance(place, Folder) and wishes.cache.resolve().is_relative_to(place.path.resolve()):
        raise DataError(
            f"Decoded pictures would be kept in {wishes.cache}, inside the data {place.source}; start it in "
            "another folder, or set CNN_IMAGE_STATE to one."
        )
    stamp, old = place.stamp(), _old(place, wishes)
    if old is not None and stamp is not None and old.stamp == stamp:
        return Gathered.of(old, place.source)
    listing = place.listing()
    size = wishes.size or (old.key.size if old else _likely_size(place, listing.files))
    kept = _gather(place, listing, Key(wishes.cache, identity(place.source), size, wishes.fit), old, progress)
    if wishes.size is None and kept.natural != size:
        key = dataclasses.replace(kept.key, size=kept.natural)
        kept = _gather(place, listing, key, find(key), progress)
    return Gathered.of(kept, place.source)


def _old(place: Place, wishes: Wishes) -> Kept | None:
    if wishes.size is None:
        return find_natural(wishes.cache, identity(place.source), wishes.fit, SIZES)
    return find(Key(wishes.cache, identity(place.source), wishes.size, wishes.fit))


def natural_size(shorter_sides: Sequence[int]) -> int:
    """The size that is chosen for pictures.

    It is the largest of `SIZES` not above the median of their shorter sides, at least 32 and at most
    `LARGEST_CHOSEN`.
    """
    median = median_low(shorter_sides) if shorter_sides else IMAGE_SIZE
    return max(size for size in SIZES if size <= min(max(median, IMAGE_SIZE), LARGEST_CHOSEN))


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


def _gather(place: Place, listing: Listing, key: Key, old: Kept | None, progress: Progress) -> Kept:
    """Take over what was decoded before, decode the rest."""
    again, fresh = _sort_out(listing.files, old)
    rows = [row for row, _ in again if row is not None]
    pictures = [_told_anew(old.pictures[row], file) for row, file in again if old and row is not None]
    passed = {left.name: left for left in old.left_out} if old else {}
    left_out = listing.left_out + [
        dataclasses.replace(passed[file.name], label=file.label) for row, file in again if row is None
    ]
    stamps = {file.name: file.stamp for file in listing.files}

    def kept(images: NDArray[np.uint8], file: Path) -> Kept:
        natural = natural_size([min(picture.width, picture.height) for picture in pictures])
        return Kept(
            key,
            listing.stamp,
            natural,
            pictures,
            stamps,
            images,
            left_out,
            listing.classes,
            listing.notes,
            file,
        )

    if old is not None and not fresh and len(rows) == len(old.pictures):
        same = kept(old.images, old.file)
        return old if old.says(same) else keep(same)
    with writing(key) as pixels:
        if old is not None:
            pixels.copy(old.images, rows)
        for done, (file, result) in enumerate(decode_all(place, fresh, key.size, key.fit), 1):
            stamps[file.name] = file.stamp  # of what was read, which may be another than was listed
            if isinstance(result, LeftOut):
                left_out.append(result)
            else:
                pictures.append(result.picture)
                pixels.append(result.pixels)
            if done % _PROGRESS_EVERY == 0 or done == len(fresh):
                progress(done, len(fresh))
        return pixels.publish(kept)


def _sort_out(files: Sequence[File], old: Kept | None) -> tuple[list[tuple[int | None, File]], list[File]]:
    """Part the files that were decoded before, by the row of their pixels, from the others.

    The row is None of a file that was found to be no picture.
    """
    if old is None:
        return [], list(files)
    rows: dict[str, int | None] = {left.name: None for left in old.left_out}
    rows |= {picture.name: row for row, picture in enumerate(old.pictures)}
    again: list[tuple[int | None, File]] = []
    fresh: list[File] = []
    for file in files:
        if file.name in rows and old.stamps.get(file.name) == file.stamp:
            again.append((rows[file.name], file))
        else:
            fresh.append(file)
    return sorted(again, key=lambda one: -1 if one[0] is None else one[0]), fresh


def _told_anew(picture: Picture, file: File) -> Picture:
    """The same picture where its class, split or group may have changed."""
    told = (file.label, file.given, file.group)
    if (picture.label, picture.given, picture.group) == told:
        return picture
    return dataclasses.replace(picture, label=file.label, given=file.given, group=file.group)
