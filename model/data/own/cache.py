"""Decoded pictures in a file that is mapped into memory, and beside it an index of what they are.

`<source>-<size>-<fit>.json` names the file of pixels that belongs to it and appears last, whole or not at
all, so what was written halfway is never used. One that is replaced is removed; who still reads it keeps it
open.
"""

import contextlib
import dataclasses
import json
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from model.contract import Fit
from model.data.errors import DataError
from model.data.own.kept import Kept, Key, body, header, is_current, is_of, kept_of

_ROWS_AT_A_TIME: Final = 1024
_ABANDONED_SECONDS: Final = 24 * 3600
"""Nobody writes one file for so long."""


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


def in_order(kept: Kept, order: Sequence[int]) -> Kept:
    """The same pictures in another order, so that splits are slices; written anew where it is another.

    Raises:
        DataError: It cannot be written.
    """
    if list(order) == list(range(len(kept.pictures))):
        return kept
    with writing(kept.key) as pixels:
        pixels.copy(kept.images, order)
        pictures = [kept.pictures[row] for row in order]
        return pixels.publish(
            lambda images, file: dataclasses.replace(kept, pictures=pictures, images=images, file=file)
        )


def keep(kept: Kept) -> Kept:
    """Write the index, which makes its pixels those that are used from now on; removes the ones before."""
    part = kept.file.with_suffix(".json.part")
    try:
        with part.open("w", encoding="utf-8") as file:
            for line in (header(kept), body(kept)):
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
            head = json.loads(file.readline())
            if not is_current(head) or not is_of(head, key):
                return None
            pixels = key.folder / str(head["pixels"])
            return kept_of(
                key, head, json.loads(file.readline()), _map(pixels, head["rows"], key.size), pixels
            )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def find_natural(folder: Path, source: str, fit: Fit, sizes: Sequence[int]) -> Kept | None:
    """What is kept of a source at the size that fits its pictures best."""
    for size in sizes:
        key = Key(folder, source, size, fit)
        if (kept := find(key)) and kept.natural == size:
            return kept
    return None


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
                head = json.loads(file.readline())
            if not is_current(head):
                raise ValueError
            named.add(head["pixels"])
        except (OSError, ValueError, KeyError, TypeError):
            index.unlink(missing_ok=True)
    for pixels in folder.glob("*.u8"):
        if pixels.name not in named:
            pixels.unlink(missing_ok=True)
    for part in folder.glob("*.part"):
        with contextlib.suppress(FileNotFoundError):  # it was being written, and now is
            if time.time() - part.stat().st_mtime > _ABANDONED_SECONDS:
                part.unlink()
