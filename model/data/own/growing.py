"""Decoding that is under way: pixels at the end of their file, and a journal of what they are.

The journal is a stream of Arrow: its schema names the file of pixels, each record batch says what was decoded
since the one before, and is written once the pixels are on the disk. So who was killed, or found the disk
full, is followed by one who goes on from the last whole batch.
"""

import contextlib
import fcntl
import json
import logging
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from model.data.errors import DataError
from model.data.images import FileRows
from model.data.own import table
from model.data.own.kept import Entry, Kept, Key, is_current, opened
from model.data.pictures import LeftOut, Picture

log = logging.getLogger(__name__)

_MOST_BYTES: Final = 32 << 20
_MOST_SECONDS: Final = 2.0
"""So much is lost at most where a process is killed: pixels, or time."""

_ROWS_AT_A_TIME: Final = 1024
_ABOUT: Final = b"cnn-image"


class Growing:
    """A file of pixels that grows, for whoever holds the lock of its key.

    Attributes:
        key: What it is kept by.
        pixels: The file of pixels.
        known: What stands in the journal already, by name.
        rows: Pictures in the file, those that are not written yet too.
    """

    def __init__(self, key: Key, old: Kept | None) -> None:
        """Go on with a journal, else behind the pixels that are kept, else begin anew.

        Args:
            key: What it is kept by.
            old: What the index names, where most of its rows are still wanted; None begins a file of its own.
        """
        self.key = key
        self.known, end, name = _read_journal(key)
        self._row_bytes = key.size * key.size * 3
        begun = name is not None
        if name is None:
            name = old.file.name if old else f"{key.stem}-{secrets.token_hex(6)}.u8"
        self.pixels = key.folder / name
        in_index = len(old.images) if old and old.file == self.pixels else 0
        self.rows = max(in_index, 1 + max((entry.row for entry in self.known.values()), default=-1))
        self._waiting: list[Entry] = []
        self._images: list[NDArray[np.uint8]] = []
        self._told = time.monotonic()
        self._file = self.pixels.open("r+b" if self.pixels.exists() else "w+b", buffering=0)
        self._journal = key.journal.open("r+b" if begun else "w+b", buffering=0)
        self._file.truncate(self.rows * self._row_bytes)
        self._file.seek(0, os.SEEK_END)
        self._journal.truncate(end)
        self._journal.seek(end)
        if not begun:
            about = json.dumps(key.about() | {"pixels": name}).encode()
            _write(self._journal, table.SCHEMA.with_metadata({_ABOUT: about}).serialize())

    def add(self, what: Picture | LeftOut, stamp: str, pixels: NDArray[np.uint8] | None = None) -> int:
        """Keep a picture with its pixels `[size, size, 3]`, or that a file is none.

        Returns:
            The row of its pixels; -1 of no picture.
        """
        row = -1
        if pixels is not None:
            row, self.rows = self.rows, self.rows + 1
            self._images.append(pixels)
        self._waiting.append(Entry(what, stamp, row))
        if (
            len(self._images) * self._row_bytes >= _MOST_BYTES
            or time.monotonic() - self._told > _MOST_SECONDS
        ):
            self.write()
        return row

    def write(self) -> None:
        """Bring to the disk what is waiting: first the pixels, then what they are."""
        if not self._waiting:
            return
        waiting, images = self._waiting, self._images
        self._waiting, self._images = [], []
        for start in range(0, len(images), _ROWS_AT_A_TIME):
            _write(self._file, np.stack(images[start : start + _ROWS_AT_A_TIME]).data)
        os.fdatasync(self._file.fileno())
        _write(self._journal, table.batch_of(waiting).serialize())
        self._told = time.monotonic()

    def images(self) -> FileRows:
        """All pixels of the file, which are on the disk then."""
        self.write()
        return opened(self.pixels, self.rows, self.key.size)

    def close(self) -> None:
        """End it; what was not written is lost."""
        self._file.close()
        self._journal.close()


@contextlib.contextmanager
def locked(key: Key) -> Iterator[None]:
    """Let one process at a time write what is kept by a key; the others wait.

    A process that ends, in whatever way, holds it no longer.

    Raises:
        OSError: The folder cannot be written.
    """
    key.folder.mkdir(parents=True, exist_ok=True)
    with key.lock.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.warning("Another run decodes %s; waiting for it.", key.source)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def growing(key: Key, old: Kept | None) -> Iterator[Growing]:
    """Begin, or go on, decoding; the lock is held.

    What was decoded is written also where decoding ends by an error or a signal.
    """
    cache = Growing(key, old)
    try:
        try:
            yield cache
        finally:
            cache.write()
    finally:
        cache.close()


@contextlib.contextmanager
def kept_in(folder: Path) -> Iterator[None]:
    """Say what to do where decoded pictures cannot be kept.

    Raises:
        DataError: The disk is full, or may not be written.
    """
    try:
        yield
    except OSError as error:
        raise DataError(
            f"The decoded pictures cannot be kept in {folder} ({error.strerror}); make room there, or "
            "name another folder. What is decoded by now is kept: the next start goes on from there."
        ) from error


def journal_names(journal: Path) -> str | None:
    """The file of pixels that a journal goes on with; None where it is none, or another decoder's."""
    try:
        with pa.memory_map(str(journal)) as file, pa.ipc.open_stream(file) as reader:
            about = json.loads(reader.schema.metadata[_ABOUT])
        return str(about["pixels"]) if is_current(about) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _read_journal(key: Key) -> tuple[dict[str, Entry], int, str | None]:
    """What stands in a key's journal, where its last whole record batch ends, and its file of pixels.

    A batch that is cut off, or whose pixels are not there, does not count.
    """
    nothing: tuple[dict[str, Entry], int, str | None] = {}, 0, None
    if not key.journal.exists():
        return nothing
    batches: list[Any] = []
    try:
        with pa.OSFile(str(key.journal)) as file, pa.ipc.open_stream(file) as reader:
            about = json.loads(reader.schema.metadata[_ABOUT])
            pixels = key.folder / about["pixels"]
            if not key.owns(about) or not pixels.exists() or reader.schema != table.SCHEMA:
                return nothing
            rows, end = pixels.stat().st_size // (key.size * key.size * 3), file.tell()
            with contextlib.suppress(OSError, pa.ArrowException, StopIteration):
                while True:
                    batch = reader.read_next_batch()
                    batch.validate(full=True)
                    if max(batch.column("row").to_pylist(), default=-1) >= rows:
                        break
                    batches.append(batch)
                    end = file.tell()
            # Of a file that changed while it was being decoded the last word counts.
            known = {entry.what.name: entry for entry in table.entries_of(batches)}
            return known, end, pixels.name
    except (OSError, ValueError, KeyError, TypeError):
        return nothing


def _write(file: BinaryIO, data: Any) -> None:
    """Write all of it to a file without a buffer."""
    view = memoryview(data).cast("B")
    while view:
        view = view[file.write(view) :]
