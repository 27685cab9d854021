"""Boxes of the ISO base media file format (ISO/IEC 14496-12), which HEIC and AVIF are made of."""

import struct
from collections.abc import Iterator
from typing import Final

from model.images.limits import too_many_parts

_MOST_PARTS: Final = 10_000


class Walk:
    """Counts what is looked at in one file, so that a flood of tiny parts costs milliseconds and no more."""

    def __init__(self, data: bytes, name: str) -> None:
        self.data, self._name = data, name
        self._left = _MOST_PARTS

    def count(self, parts: int = 1) -> None:
        """Takes note of parts.

        Raises:
            ImageError: there are too many by now.
        """
        self._left -= parts
        if self._left < 0:
            raise too_many_parts(self._name)

    def boxes(self, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
        """Yields each box's type and where its content starts and ends; stops at one that is cut short."""
        while start + 8 <= end:
            self.count()
            size, kind = struct.unpack_from(">I4s", self.data, start)
            content = start + 8
            if size == 1:
                (size,) = struct.unpack_from(">Q", self.data, content)
                content += 8
            after = start + size if size else end
            if after < content or after > end:
                return
            yield kind, content, after
            start = after

    def child(self, kind: bytes, start: int, end: int) -> tuple[int, int] | None:
        """Finds the first box of a type; None where there is none."""
        return next(((first, last) for found, first, last in self.boxes(start, end) if found == kind), None)


class Cursor:
    """Reads unsigned numbers one after the other.

    Raises:
        ValueError: from every read beyond the end.
    """

    def __init__(self, data: bytes, start: int, end: int) -> None:
        self._data, self.position, self._end = data, start, end

    def number(self, size: int) -> int:
        """Reads `size` bytes; none are 0."""
        return int.from_bytes(self.take(size))

    def take(self, size: int) -> bytes:
        """Reads bytes as they are."""
        after = self.position + size
        if after > self._end:
            raise ValueError("a box is shorter than it says")
        taken = self._data[self.position : after]
        self.position = after
        return taken

    def version_and_flags(self) -> tuple[int, int]:
        """Reads what a full box begins with."""
        return self.number(1), self.number(3)


def box(kind: bytes, *content: bytes) -> bytes:
    """Writes a box."""
    return struct.pack(">I4s", 8 + sum(map(len, content)), kind) + b"".join(content)


def full_box(kind: bytes, *content: bytes, version: int = 0, flags: int = 0) -> bytes:
    """Writes a box with version and flags."""
    return box(kind, struct.pack(">I", version << 24 | flags), *content)
