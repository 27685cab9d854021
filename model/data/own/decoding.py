"""One file's bytes become a picture, and many do side by side."""

import contextlib
import dataclasses
import hashlib
import os
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.contract import IMAGE_SIZE, Fit
from model.data.own.places.files import MOST_BYTES, UNREAD, File, Place, Read, UnreadableError
from model.data.own.places.listing import too_large
from model.data.pictures import LeftOut, Picture, Reason
from model.data.splits.duplicates import signature
from model.images.decode import decode_squares, read_header
from model.images.errors import ErrorCode, ImageError

SMALLEST_SIDE: Final = 8
"""Pixels; what is smaller shows nothing: it is a tracking pixel, or a spacer of a web page."""

_AHEAD: Final = 4
"""Files that wait for each worker: as many are in memory at most."""

_MEMORY: Final = 1_000_000_000
"""Bytes that decoding takes at most at a time; a single larger picture is decoded alone."""

_REASONS: Final[dict[ErrorCode, Reason]] = {
    "not_an_image": "not a picture",
    "unsupported_format": "not a picture",
    "broken_image": "broken",
    "too_many_pixels": "too large",
    "too_many_bytes": "too large",
}


@dataclass(frozen=True, slots=True)
class Decoded:
    """A picture, and its pixels.

    Attributes:
        picture: What is known of it.
        pixels: uint8 `[size, size, 3]`, RGB.
    """

    picture: Picture
    pixels: NDArray[np.uint8]


def workers() -> int:
    """How many threads decode: one for each core that this process may use."""
    return len(os.sched_getaffinity(0))


class _Memory:
    """Lets large pictures wait for one another."""

    def __init__(self, total: int) -> None:
        self._total = self._free = total
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def taken(self, wanted: int) -> Iterator[None]:
        """Wait until there is enough for one picture, and keep it so long."""
        wanted = min(wanted, self._total)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= wanted)
            self._free -= wanted
        try:
            yield
        finally:
            with self._changed:
                self._free += wanted
                self._changed.notify_all()


_memory = _Memory(_MEMORY)


def decode_all(
    place: Place, files: Sequence[File], size: int, fit: Fit
) -> Iterator[tuple[File, Decoded | LeftOut]]:
    """Read and decode files side by side; few are in memory at a time.

    Args:
        place: Where they lie.
        files: Which.
        size: Side of the squares in pixels.
        fit: How a picture becomes a square.

    Raises:
        DataError: The place as a whole cannot be read.
    """
    waiting: deque[Future[tuple[File, Decoded | LeftOut]]] = deque()
    pool = ThreadPoolExecutor(place.workers, thread_name_prefix="decode")
    try:
        for file, read in place.read(files):
            waiting.append(pool.submit(_decode, file, read, size, fit))
            if len(waiting) >= _AHEAD * place.workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _decode(file: File, read: Read, size: int, fit: Fit) -> tuple[File, Decoded | LeftOut]:
    try:
        data = read()
        if len(data) > MOST_BYTES:  # one that did not say so before
            return file, too_large(file.name, file.label, len(data))
        return file, decode_file(file, data, size, fit)
    except UnreadableError as error:
        return dataclasses.replace(file, stamp=UNREAD), LeftOut(file.name, file.label, "broken", str(error))
    except ImageError as error:
        return file, LeftOut(file.name, file.label, _REASONS[error.code], _about_file(error))


def decode_file(file: File, data: bytes, size: int, fit: Fit) -> Decoded | LeftOut:
    """Decode one file with the product's own decoder.

    Raises:
        ImageError: It is no whole picture of a format that is taken.
    """
    header = read_header(data, size=size)
    if min(header.width, header.height) < SMALLEST_SIDE:
        detail = f"It has {header.width} x {header.height} pixels; a side has at least {SMALLEST_SIDE}."
        return LeftOut(file.name, file.label, "too small", detail)
    with _memory.taken(header.decoding_bytes):
        squeezed, pixels = decode_squares(data, header, [(IMAGE_SIZE, "stretch"), (size, fit)])
    hashed, small = signature(squeezed)
    picture = Picture(
        name=file.name,
        label=file.label,
        given=file.given,
        group=file.group,
        digest=hashlib.sha256(data).digest(),
        phash=hashed,
        thumb=small,
        width=header.width,
        height=header.height,
        format=header.format,
        length=len(data),
    )
    return Decoded(picture, pixels)


def _about_file(error: ImageError) -> str:
    """What the decoder says to who sends a picture, without what to send instead."""
    return str(error).partition(";")[0] + "."
