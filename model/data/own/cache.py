"""Decoded pictures in a file that is mapped into memory, and beside it an index of what they are.

`<source>-<size>-<fit>.json` names the file of pixels that belongs to it and appears last, whole or not at
all, so what was written halfway is never used. One that is replaced is removed; who still reads it keeps it
open.
"""

import base64
import contextlib
import dataclasses
import hashlib
import json
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from model.contract import Fit
from model.data.errors import DataError
from model.data.pictures import LeftOut, Picture
from model.images.decode import DECODER_VERSION

_LAYOUT: Final = 1
_ROWS_AT_A_TIME: Final = 1024
_ABANDONED_SECONDS: Final = 24 * 3600
"""Nobody writes one file for so long."""


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

    def in_order(self, order: Sequence[int]) -> "Kept":
        """The same pictures in another order, so that splits are slices; written anew where it is another.

        Raises:
            DataError: It cannot be written.
        """
        if list(order) == list(range(len(self.pictures))):
            return self
        with writing(self.key) as pixels:
            pixels.copy(self.images, order)
            pictures = [self.pictures[row] for row in order]
            return pixels.publish(
                lambda images, file: dataclasses.replace(self, pictures=pictures, images=images, file=file)
            )

    def says(self, other: "Kept") -> bool:
        """Whether the index of another would be the same."""
        return self == dataclasses.replace(other, left_out=self.left_out) and set(self.left_out) == set(
            other.left_out
        )


class Pixels:
    """A file of pixels that is being written, row after row."""

    def __init__(self, key: Key, path: Path, file: BinaryIO) -> None:
        self._key, self._path, self._file = key, path, file
        self.rows = 0

    def append(self, pixels: NDArray[np.uint8]) -> None:
        """Write one picture, `[size, size, 3]`."""
        self._file.write(np.ascontiguousarray(pixels).data)
        self.rows += 1

    def copy(self, images: NDArray[np.uint8], rows: Sequence[int]) -> None:
        """Write some of the pictures of another file, a few of them in memory at a time."""
        for start in range(0, len(rows), _ROWS_AT_A_TIME):
            self._file.write(images[rows[start : start + _ROWS_AT_A_TIME]].data)
        self.rows += len(rows)

    def publish(self, kept: Callable[[NDArray[np.uint8], Path], Kept]) -> Kept:
        """Let what was written take the place of what was kept before.

        Args:
            kept: Makes what is kept out of the mapped pixels and their file.
        """
        self._file.close()
        images = _map(self._path, self.rows, self._key.size)
        file = self._path.with_suffix("")
        self._path.replace(file)
        return keep(kept(images, file))


@contextlib.contextmanager
def writing(key: Key) -> Iterator[Pixels]:
    """Begin a file of pixels; it is removed where it is not published.

    Raises:
        DataError: The disk is full, or may not be written.
    """
    path = key.folder / f"{key.index.stem}-{secrets.token_hex(6)}.u8.part"
    try:
        key.folder.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            yield Pixels(key, path, file)
    except OSError as error:
        raise DataError(
            f"The decoded pictures cannot be kept in {key.folder} ({error.strerror}); make room there, or "
            "name another folder."
        ) from error
    finally:
        with contextlib.suppress(OSError):  # it is not there, being published, or could not be made
            path.unlink()


def keep(kept: Kept) -> Kept:
    """Write the index, which makes its pixels those that are used from now on; removes the ones before."""
    part = kept.file.with_suffix(".json.part")
    try:
        with part.open("w", encoding="utf-8") as file:
            for line in (_header(kept), _body(kept)):
                file.write(json.dumps(line) + "\n")
        part.replace(kept.key.index)
    finally:
        part.unlink(missing_ok=True)
    _tidy(kept.key.folder)
    return kept


def find(key: Key) -> Kept | None:
    """What is kept of a source; None where nothing is, or nothing that can still be used."""
    try:
        with key.index.open(encoding="utf-8") as file:
            header, body = json.loads(file.readline()), file.readline()
            if not _is_ours(header, key):
                return None
            return _kept(key, header, json.loads(body))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def find_natural(folder: Path, source: str, fit: Fit, sizes: Sequence[int]) -> Kept | None:
    """What is kept of a source at the size that fits its pictures best."""
    for size in sizes:
        key = Key(folder, source, size, fit)
        if (kept := find(key)) and kept.natural == size:
            return kept
    return None


def _header(kept: Kept) -> dict[str, Any]:
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


def _is_ours(header: Mapping[str, Any], key: Key) -> bool:
    wanted = {
        "layout": _LAYOUT,
        "decoder": DECODER_VERSION,
        "source": key.source,
        "size": key.size,
        "fit": key.fit,
    }
    return all(header.get(name) == value for name, value in wanted.items())


def _body(kept: Kept) -> dict[str, Any]:
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


def _kept(key: Key, header: Mapping[str, Any], body: Mapping[str, Any]) -> Kept:
    file = key.folder / str(header["pixels"])
    return Kept(
        key=key,
        stamp=header["stamp"],
        natural=header["natural"],
        pictures=[_picture(*row) for row in body["pictures"]],
        stamps=body["stamps"],
        images=_map(file, header["rows"], key.size),
        left_out=[LeftOut(*row) for row in body["left_out"]],
        classes=tuple(body["classes"]),
        notes=tuple(body["notes"]),
        file=file,
    )


def _picture(
    name: str, label: str, given: Any, group: str | None, digest: str, phash: int, thumb: str, *rest: Any
) -> Picture:
    return Picture(name, label, given, group, bytes.fromhex(digest), phash, base64.b64decode(thumb), *rest)


def _map(file: Path, rows: int, size: int) -> NDArray[np.uint8]:
    """The pixels of a file, as they are needed.

    Raises:
        ValueError: It is shorter than that.
    """
    shape = (rows, size, size, 3)
    # An empty file cannot be mapped.
    return np.memmap(file, np.uint8, "r", shape=shape) if rows else np.empty(shape, np.uint8)


def _tidy(folder: Path) -> None:
    """Remove pixels that no index names, and indexes that another decoder made."""
    named = set()
    for index in folder.glob("*.json"):
        try:
            with index.open(encoding="utf-8") as file:
                header = json.loads(file.readline())
            if (header["layout"], header["decoder"]) != (_LAYOUT, DECODER_VERSION):
                raise ValueError
            named.add(header["pixels"])
        except (OSError, ValueError, KeyError, TypeError):
            index.unlink(missing_ok=True)
    for pixels in folder.glob("*.u8"):
        if pixels.name not in named:
            pixels.unlink(missing_ok=True)
    for part in folder.glob("*.part"):
        with contextlib.suppress(FileNotFoundError):  # it was being written, and now is
            if time.time() - part.stat().st_mtime > _ABANDONED_SECONDS:
                part.unlink()


def _short(source: str) -> str:
    return hashlib.sha256(os.fsencode(source)).hexdigest()[:16]
