"""Images that are more than memory holds: some rows of a file, in any order, read when they are asked for."""

import hashlib
import json
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, Final, SupportsIndex, TypeAlias

import numpy as np
from numpy.typing import NDArray

from model.data.errors import DataError

_BLOCK_BYTES: Final = 16 << 20
_READERS: Final = 4  # threads that wait for the disk


class FileRows:
    """Rows of a file of images, as an array that lies on the disk: what is asked of it is an array.

    It keeps the file open, so that it may be removed, and reads exactly the rows that are asked for. A mapped
    file would read the pages around each, too: ten times as much where rows lie anywhere in a file larger
    than memory.

    Attributes:
        rows: int64 `[N]`, where each image lies in the file.
        shape: `(N, S, S, 3)`.
    """

    def __init__(
        self, file: Path, rows: NDArray[np.int64], size: int, remembered: Path | None = None
    ) -> None:
        """Open a file of uint8 `[R, size, size, 3]`.

        Args:
            file: Its rows never change.
            rows: Which of them, in which order.
            size: Side of the images in pixels.
            remembered: Where digests of images of this file are written down.

        Raises:
            OSError: It cannot be opened.
        """
        self._descriptor = _Descriptor(file)
        self._remembered = remembered
        self.rows = rows
        self.shape = (len(rows), size, size, 3)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(
        self, rows: SupportsIndex | slice | NDArray[np.integer[Any]] | NDArray[np.bool_]
    ) -> NDArray[np.uint8]:
        """One image `[S, S, 3]`, or several `[n, S, S, 3]`, read now."""
        wanted = self.rows[rows]
        if isinstance(wanted, np.ndarray):
            return self._read(wanted)
        image: NDArray[np.uint8] = self._read(np.array([wanted]))[0]
        return image

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        return (image for block in self.blocks() for image in block)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """All of them, in memory."""
        return self._read(self.rows).astype(dtype or np.uint8, copy=False)

    def picked(self, rows: NDArray[np.integer[Any]]) -> "FileRows":
        """Some of them, not read yet."""
        some = FileRows.__new__(FileRows)
        some._descriptor, some._remembered = self._descriptor, self._remembered
        some.rows = self.rows[rows]
        some.shape = (len(some.rows), *self.shape[1:])
        return some

    def blocks(self) -> Iterator[NDArray[np.uint8]]:
        """All of them in turn, some at a time; the next ones are read meanwhile, by several threads."""
        rows = max(1, _BLOCK_BYTES // (3 * self.shape[1] * self.shape[2]))
        starts = iter(range(0, len(self), rows))
        pool = ThreadPoolExecutor(_READERS, thread_name_prefix="images")
        try:
            reading = deque(
                pool.submit(self._read, self.rows[start : start + rows]) for start in islice(starts, _READERS)
            )
            while reading:
                block = reading.popleft().result()
                for start in islice(starts, 1):
                    reading.append(pool.submit(self._read, self.rows[start : start + rows]))
                yield block
        finally:
            pool.shutdown(cancel_futures=True)

    def digest(self, head: bytes) -> str:
        """The sha256 of `head` and all pixels; computed once for these rows of this file."""
        about = hashlib.sha256(head + self.rows.astype("<i8").tobytes()).hexdigest()
        known = _remembered(self._remembered)
        if about in known:
            return known[about]
        digest = hashlib.sha256(head)
        for block in self.blocks():
            digest.update(block.data)
        if self._remembered is not None:
            _remember(self._remembered, known | {about: digest.hexdigest()})
        return digest.hexdigest()

    def _read(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        images = np.empty((len(rows), *self.shape[1:]), np.uint8)
        self._descriptor.read(images, rows)
        return images


Images: TypeAlias = NDArray[np.uint8] | FileRows
"""uint8 `[N, S, S, 3]`, RGB: in memory, or in a file and read by rows."""


class _Descriptor:
    """A file that stays open as long as somebody reads it."""

    def __init__(self, file: Path) -> None:
        self._file = file.open("rb", buffering=0)

    def read(self, images: NDArray[np.uint8], rows: NDArray[np.int64]) -> None:
        """Fill `images` with rows of the file, in the order in which they lie there."""
        descriptor, length = self._file.fileno(), images[:1].nbytes
        for place in np.argsort(rows, kind="stable").tolist():
            if os.preadv(descriptor, [images[place].data], int(rows[place]) * length) != length:
                raise DataError(f"{self._file.name} is shorter than it was; delete it, and start again.")


def _remembered(path: Path | None) -> dict[str, str]:
    try:
        known: dict[str, str] = json.loads(path.read_text()) if path else {}
    except (OSError, ValueError):
        return {}
    return known


def _remember(path: Path, digests: dict[str, str]) -> None:
    """Write digests down, where that can be done: they are only quicker to read than to compute."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        part.write_text(json.dumps(digests))
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
