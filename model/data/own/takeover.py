"""What was decoded before is taken over, the rest is decoded."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median_low
from typing import Final, NamedTuple

import numpy as np

from model.contract import IMAGE_SIZE, SIZES
from model.data.images import FileRows
from model.data.own.cache import find, publish
from model.data.own.decoding import decode_all
from model.data.own.growing import Growing, growing, locked
from model.data.own.kept import Entry, Kept, Key
from model.data.own.places.files import File, Listing, Place
from model.data.pictures import LeftOut, Picture

LARGEST_CHOSEN: Final = 128
"""Side in pixels of the largest square that is chosen by itself, and not asked for."""

_PROGRESS_EVERY: Final = 16

Progress = Callable[[int, int], None]
"""Is told how many files are done, and of how many."""


def silent(done: int, total: int) -> None:
    """Tell nobody."""


def natural_size(shorter_sides: Sequence[int]) -> int:
    """The size that pictures have by themselves; what is chosen for a network is in `Wishes`.

    It is the largest of `SIZES` not above the median of their shorter sides, at least 32 and at most
    `LARGEST_CHOSEN`.
    """
    median = median_low(shorter_sides) if shorter_sides else IMAGE_SIZE
    return max(size for size in SIZES if size <= min(max(median, IMAGE_SIZE), LARGEST_CHOSEN))


def taken_over(place: Place, listing: Listing, key: Key, progress: Progress) -> Kept:
    """Take over what was decoded before, decode the rest.

    Raises:
        DataError: The place as a whole cannot be read.
        OSError: The decoded pictures cannot be kept.
    """
    if (same := _unchanged(find(key), listing)) is not None and not same.anew:
        return same.kept
    with locked(key):
        old = find(key)  # another run may have decoded it meanwhile
        if (same := _unchanged(old, listing)) is not None:
            return publish(same.kept) if same.anew else same.kept
        again = _sort_out(listing.files, _known(old))[0] if old else []
        wanted = sum(found.row >= 0 for found in again)
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
        stamps={read.name: read.stamp for _, _, read in found},  # which may be another than was listed
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
