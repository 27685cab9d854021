"""The first directory of a TIFF or BigTIFF file (TIFF 6.0, Adobe's notes): read, and written anew."""

import struct
from collections.abc import Mapping
from enum import IntEnum
from typing import Final

from model.images.limits import too_many_parts

_MOST_ENTRIES: Final = 1000
_MOST_NUMBERS: Final = 20_000
_NUMBERS: Final = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}


class Tag(IntEnum):
    """The tags that are read; their numbers are TIFF's."""

    SUBFILE = 254
    WIDTH = 256
    HEIGHT = 257
    BITS = 258
    COMPRESSION = 259
    PHOTOMETRIC = 262
    FILL_ORDER = 266
    STRIP_OFFSETS = 273
    ORIENTATION = 274
    SAMPLES = 277
    ROWS_PER_STRIP = 278
    STRIP_BYTES = 279
    PLANAR = 284
    PREDICTOR = 317
    COLOUR_MAP = 320
    TILE_WIDTH = 322
    TILE_HEIGHT = 323
    TILE_OFFSETS = 324
    TILE_BYTES = 325
    EXTRA_SAMPLES = 338
    SAMPLE_FORMAT = 339
    JPEG_TABLES = 347
    SUBSAMPLING = 530
    POSITIONING = 531
    PROFILE = 34675
    DNG = 50706


class Directory:
    """The entries of a file's first directory.

    Raises:
        ImageError: it has too many, or too many numbers.
        ValueError, struct.error: from any read, it is broken.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.order = "<" if data[:2] == b"II" else ">"
        (version,) = struct.unpack_from(self.order + "H", data, 2)
        big = version == 43
        (start,) = struct.unpack_from(self.order + ("Q" if big else "I"), data, 8 if big else 4)
        if not (16 if big else 8) <= start < len(data):
            raise ValueError("the directory lies outside")
        (count,) = struct.unpack_from(self.order + ("Q" if big else "H"), data, start)
        if count > _MOST_ENTRIES:
            raise too_many_parts("TIFF")
        start += 8 if big else 2
        self._inline = 8 if big else 4
        entry = struct.Struct(self.order + ("HHQ" if big else "HHI"))
        step = entry.size + self._inline
        self._entries: dict[int, tuple[int, int, int]] = {}
        for position in range(start, start + count * step, step):
            tag, kind, length = entry.unpack_from(data, position)
            self._entries.setdefault(tag, (kind, length, position + entry.size))

    def __contains__(self, tag: Tag) -> bool:
        return tag in self._entries

    def _place(self, tag: Tag, size: int, count: int) -> int:
        *_, position = self._entries[tag]
        if size * count > self._inline:
            (position,) = struct.unpack_from(
                self.order + ("Q" if self._inline == 8 else "I"), self._data, position
            )
        if position + size * count > len(self._data):
            raise ValueError("an entry is cut short")
        return position

    def numbers(self, tag: Tag, most: int = _MOST_NUMBERS) -> tuple[int, ...]:
        """All numbers of an entry; none where it is missing."""
        if tag not in self._entries:
            return ()
        kind, count, _ = self._entries[tag]
        if kind not in _NUMBERS:
            raise ValueError("an entry of another type")
        if count > most:
            raise too_many_parts("TIFF")
        letter = _NUMBERS[kind]
        place = self._place(tag, struct.calcsize("=" + letter), count)
        return struct.unpack_from(f"{self.order}{count}{letter}", self._data, place)

    def number(self, tag: Tag, otherwise: int | None = None) -> int:
        """The first number of an entry."""
        found = self.numbers(tag)
        if found:
            return found[0]
        if otherwise is None:
            raise ValueError("an entry is missing")
        return otherwise

    def content(self, tag: Tag) -> bytes | None:
        """An entry's bytes."""
        if tag not in self._entries:
            return None
        kind, count, _ = self._entries[tag]
        if kind not in {1, 7}:
            return None
        place = self._place(tag, 1, count)
        return self._data[place : place + count]


_LONG: Final = {
    Tag.WIDTH,
    Tag.HEIGHT,
    Tag.ROWS_PER_STRIP,
    Tag.STRIP_OFFSETS,
    Tag.STRIP_BYTES,
    Tag.TILE_WIDTH,
    Tag.TILE_HEIGHT,
    Tag.TILE_OFFSETS,
    Tag.TILE_BYTES,
}


def with_directory(data: bytes, order: str, tags: Mapping[Tag, tuple[int, ...]]) -> bytes:
    """Puts a directory of these tags, and of no others, before a file's bytes.

    Args:
        data: The file, in which the tags' places are.
        order: `<` or `>`, as it is in the file.
        tags: Numbers of each tag.
    """
    behind = 8 + 2 + 12 * len(tags) + 4
    length = behind + sum(size for size in (len(_packed(order, *tag)) for tag in tags.items()) if size > 4)
    entries, contents = b"", b""
    for tag, numbers in sorted(tags.items()):
        shift = length if tag in {Tag.STRIP_OFFSETS, Tag.TILE_OFFSETS} else 0
        content = _packed(order, tag, tuple(number + shift for number in numbers))
        kind = 7 if tag == Tag.JPEG_TABLES else 4 if tag in _LONG else 3
        entries += struct.pack(order + "HHI", tag, kind, len(numbers))
        if len(content) <= 4:
            entries += content.ljust(4, b"\0")
        else:
            entries += struct.pack(order + "I", behind + len(contents))
            contents += content
    start = struct.pack(order + "2sHI", b"II" if order == "<" else b"MM", 42, 8)
    return start + struct.pack(order + "H", len(tags)) + entries + bytes(4) + contents + data


def _packed(order: str, tag: Tag, numbers: tuple[int, ...]) -> bytes:
    letter = "B" if tag == Tag.JPEG_TABLES else "I" if tag in _LONG else "H"
    return struct.pack(f"{order}{len(numbers)}{letter}", *numbers)
