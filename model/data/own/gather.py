"""All pictures of a source, decoded: what is known of each, its pixels, and what was passed over."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import median_low
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.contract import IMAGE_SIZE, SIZES, Fit
from model.data.errors import DataError
from model.data.images import FileRows
from model.data.own.cache import find, head_of, natural_key, publish
from model.data.own.decoding import decode_all
from model.data.own.growing import Growing, growing, kept_in, locked
from model.data.own.kept import Entry, Kept, Key
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
    key = _key(place, wishes)
    head = head_of(key) if key else None
    return head is not None and bool(head["stamp"] == stamp)


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
    key = _key(place, wishes)
    if key is not None and is_kept(place, wishes) and (old := find(key)):
        return Gathered.of(old, place.source)
    listing = place.listing()
    if key is None:
        size = wishes.size or _likely_size(place, listing.files)
        key = Key(wishes.cache, identity(place.source), size, wishes.fit)
    with kept_in(wishes.cache):
        kept = _gather(place, listing, key, progress)
        if wishes.size is None and kept.natural != key.size:
            kept = _gather(place, listing, dataclasses.replace(key, size=kept.natural), progress)
    return Gathered.of(kept, place.source)


def _key(place: Place, wishes: Wishes) -> Key | None:
    """What a place's pictures are kept by; None where the size is not known yet."""
    source = identity(place.source)
    if wishes.size is None:
        return natural_key(wishes.cache, source, wishes.fit, SIZES)
    return Key(wishes.cache, source, wishes.size, wishes.fit)


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


def _gather(place: Place, listing: Listing, key: Key, progress: Progress) -> Kept:
    """Take over what was decoded before, decode the rest."""
    if (same := _unchanged(find(key), listing)) is not None and not same.anew:
        return same.kept
    with locked(key):
        old = find(key)  # another run may have decoded it meanwhile
        if (same := _unchanged(old, listing)) is not None:
            return publish(same.kept) if same.anew else same.kept
        wanted = len(_sort_out(listing.files, _known(old))[0]) if old else 0
        # Rows of pictures that are gone stay where they are, as long as they are the fewer ones.
        with growing(key, old if old and 2 * wanted >= len(old.images) else None) as cache:
            found = _grown(place, listing, cache, old, progress)
            return publish(_kept(key, listing, found, cache.images(), cache.pixels))


class _Found(NamedTuple):
    """A file that is decoded: where its pixels lie (-1 of no picture), and what it is."""

    row: int
    what: Picture | LeftOut
    file: File


class _Same(NamedTuple):
    """Pictures that are all decoded already; `anew` where their index has to be written again."""

    kept: Kept
    anew: bool


def _unchanged(old: Kept | None, listing: Listing) -> _Same | None:
    """What is kept, where nothing has to be decoded and no picture is gone."""
    if old is None:
        return None
    again, fresh = _sort_out(listing.files, _known(old))
    if fresh or sum(found.row >= 0 for found in again) != len(old.pictures):
        return None
    same = _kept(old.key, listing, again, old.images, old.file)
    # In which order files were passed over says nothing.
    alike = same == dataclasses.replace(old, left_out=same.left_out)
    return _Same(same, not alike or set(same.left_out) != set(old.left_out))


def _grown(
    place: Place, listing: Listing, cache: Growing, old: Kept | None, progress: Progress
) -> list[_Found]:
    """Bring all that is listed into the file that grows."""
    known = cache.known
    if old is not None and old.file == cache.pixels:
        known, old = _known(old) | known, None
    found, fresh = _sort_out(listing.files, known)
    if old is not None:  # in another file, most of which is of pictures that are gone
        moved, fresh = _sort_out(fresh, _known(old))
        for row, what, file in moved:
            found.append(
                _Found(cache.add(what, file.stamp, old.images[row] if row >= 0 else None), what, file)
            )
    for done, (file, result) in enumerate(decode_all(place, fresh, cache.key.size, cache.key.fit), 1):
        if isinstance(result, LeftOut):
            found.append(_Found(cache.add(result, file.stamp), result, file))
        else:
            row = cache.add(result.picture, file.stamp, result.pixels)
            found.append(_Found(row, result.picture, file))
        if done % _PROGRESS_EVERY == 0 or done == len(fresh):
            progress(done, len(fresh))
    return found


def _sort_out(files: Sequence[File], known: Mapping[str, Entry]) -> tuple[list[_Found], list[File]]:
    """Part the files that were decoded before, by the row of their pixels, from the others."""
    again: list[_Found] = []
    fresh: list[File] = []
    for file in files:
        entry = known.get(file.name)
        if entry is not None and entry.stamp == file.stamp:
            again.append(_Found(entry.row, entry.what, file))
        else:
            fresh.append(file)
    return sorted(again, key=lambda found: found.row), fresh


def _kept(key: Key, listing: Listing, found: Sequence[_Found], images: FileRows, file: Path) -> Kept:
    """What is known of all that is listed."""
    pictures: list[Picture] = []
    rows: list[int] = []
    left_out = list(listing.left_out)
    for row, what, listed in found:
        if isinstance(what, LeftOut):
            left_out.append(dataclasses.replace(what, label=listed.label))
        else:
            pictures.append(_told_anew(what, listed))
            rows.append(row)
    return Kept(
        key=key,
        stamp=listing.stamp,
        natural=natural_size([min(picture.width, picture.height) for picture in pictures]),
        pictures=pictures,
        rows=np.array(rows, np.int64),
        stamps={listed.name: listed.stamp for listed in listing.files},
        images=images,
        left_out=left_out,
        classes=listing.classes,
        notes=listing.notes,
        file=file,
    )


def _known(kept: Kept) -> dict[str, Entry]:
    """All files that were decoded, by name."""
    return {entry.what.name: entry for entry in kept.entries() if entry.stamp is not None}


def _told_anew(picture: Picture, file: File) -> Picture:
    """The same picture where its class, split or group may have changed."""
    told = (file.label, file.given, file.group)
    if (picture.label, picture.given, picture.group) == told:
        return picture
    return dataclasses.replace(picture, label=file.label, given=file.given, group=file.group)
