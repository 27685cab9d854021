"""The items of a HEIF file (ISO/IEC 23008-12): what they are, what is said of them, where their data lie."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from model.images.formats.isobmff import Cursor, Walk, box, full_box

_ESSENTIAL: Final = {b"hvcC", b"av1C", b"lsel", b"a1op"}

Reference = tuple[bytes, int, tuple[int, ...]]
"""What kind of reference, from which item, to which."""


@dataclass(frozen=True, slots=True)
class Property:
    """What is said of items: a box of the file, its content as it stands there."""

    kind: bytes
    content: bytes


@dataclass(slots=True)
class Item:
    """A coded picture, a grid of them, or metadata.

    Attributes:
        kind: Its type, which names the codec.
        extents: Where its data lie in the file: starts and lengths.
        properties: What is said of it, and whether a reader has to know that to show it rightly.
    """

    kind: bytes
    extents: list[tuple[int, int]] = field(default_factory=list)
    properties: list[tuple[Property, bool]] = field(default_factory=list)

    def find(self, kind: bytes) -> bytes | None:
        """The content of the first property of a type."""
        return next((known.content for known, _ in self.properties if known.kind == kind), None)

    def size(self) -> tuple[int, int]:
        """Width and height in pixels.

        Raises:
            ValueError, struct.error: it has none.
        """
        content = self.find(b"ispe")
        if content is None:
            raise ValueError("an item without a size")
        width, height = struct.unpack_from(">II", content, 4)
        return width, height

    def data(self, file: bytes) -> bytes:
        """Its data, out of the file they lie in.

        Raises:
            ValueError: the file is cut short.
        """
        found = b"".join(file[start : start + size] for start, size in self.extents)
        if not found or len(found) != sum(size for _, size in self.extents):
            raise ValueError("the file is cut short")
        return found


@dataclass(slots=True)
class Items:
    """The items of one file.

    Attributes:
        primary: The number of the one to show.
        items: All, by their numbers.
        references: How they refer to one another.
    """

    primary: int
    items: dict[int, Item]
    references: list[Reference]

    def __getitem__(self, number: int) -> Item:
        if number not in self.items:
            raise ValueError("an item is missing")
        return self.items[number]

    def referred(self, kind: bytes, origin: int) -> list[int]:
        """The numbers that an item refers to in one way."""
        return [to for found, start, tos in self.references if (found, start) == (kind, origin) for to in tos]


def read_items(walk: Walk, start: int, end: int) -> Items:
    """Goes once through the content of a file's `meta` box.

    Raises:
        ImageError: there are too many parts.
        ValueError, struct.error: it is broken.
    """
    boxes = {found: (first, last) for found, first, last in walk.boxes(start + 4, end)}
    if not {b"pitm", b"iinf", b"iloc", b"iprp"} <= boxes.keys():
        raise ValueError("no picture is described")
    cursor = Cursor(walk.data, *boxes[b"pitm"])
    version, _ = cursor.version_and_flags()
    primary = cursor.number(4 if version else 2)
    items = _read_kinds(walk, *boxes[b"iinf"])
    _read_places(walk, items, boxes[b"iloc"], boxes.get(b"idat", (0, 0)))
    _read_properties(walk, items, *boxes[b"iprp"])
    return Items(primary, items, _read_references(walk, *boxes[b"iref"]) if b"iref" in boxes else [])


def _read_kinds(walk: Walk, start: int, end: int) -> dict[int, Item]:
    cursor = Cursor(walk.data, start, end)
    version, _ = cursor.version_and_flags()
    cursor.number(4 if version else 2)
    items: dict[int, Item] = {}
    for kind, first, last in walk.boxes(cursor.position, end):
        if kind == b"infe":
            entry = Cursor(walk.data, first, last)
            version, _ = entry.version_and_flags()
            if version < 2:
                raise ValueError("an item without a type")
            number = entry.number(4 if version > 2 else 2)
            entry.number(2)
            items[number] = Item(entry.take(4))
    return items


def _read_references(walk: Walk, start: int, end: int) -> list[Reference]:
    cursor = Cursor(walk.data, start, end)
    version, _ = cursor.version_and_flags()
    size = 4 if version else 2
    references = []
    for kind, first, last in walk.boxes(cursor.position, end):
        entry = Cursor(walk.data, first, last)
        origin, count = entry.number(size), entry.number(2)
        walk.count(count)
        references.append((kind, origin, tuple(entry.number(size) for _ in range(count))))
    return references


def _read_places(walk: Walk, items: dict[int, Item], place: tuple[int, int], inline: tuple[int, int]) -> None:
    """Where each item's data lie: in the file (method 0), or in the box `idat` (method 1)."""
    cursor = Cursor(walk.data, *place)
    version, _ = cursor.version_and_flags()
    sizes = cursor.number(2)
    offset_size, length_size, base_size, index_size = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
    for _ in range(cursor.number(4 if version > 1 else 2)):
        number = cursor.number(4 if version > 1 else 2)
        method = cursor.number(2) & 15 if version else 0
        outside = cursor.number(2)
        base = cursor.number(base_size)
        count = cursor.number(2)
        walk.count(count + 1)
        extents = []
        for _ in range(count):
            if version:
                cursor.number(index_size)
            extents.append((base + cursor.number(offset_size), cursor.number(length_size)))
        if number not in items or outside or method > 1:
            continue
        if method == 1:
            first, last = inline
            extents = [(first + start, min(size, last - first - start)) for start, size in extents]
        items[number].extents = [(start, size) for start, size in extents if size > 0]


def _read_properties(walk: Walk, items: dict[int, Item], start: int, end: int) -> None:
    boxes = list(walk.boxes(start, end))
    known = [
        Property(kind, walk.data[inner:after])
        for found, first, last in boxes
        if found == b"ipco"
        for kind, inner, after in walk.boxes(first, last)
    ]
    for found, first, last in boxes:
        if found != b"ipma":
            continue
        cursor = Cursor(walk.data, first, last)
        version, flags = cursor.version_and_flags()
        size = 2 if flags & 1 else 1
        for _ in range(cursor.number(4)):
            item = items.get(cursor.number(4 if version else 2))
            count = cursor.number(1)
            walk.count(count + 1)
            for _ in range(count):
                essential, index = divmod(cursor.number(size), 1 << 8 * size - 1)
                if item and 0 < index <= len(known):
                    item.properties.append((known[index - 1], bool(essential)))


def write_items(
    brands: bytes,
    items: Sequence[tuple[bytes, Sequence[Property], bytes]],
    references: Sequence[Reference],
) -> bytes:
    """Writes a file.

    Args:
        brands: The file's own brand and those of its readers, four letters each.
        items: Type, properties and data of each, the one to show first.
        references: Between them, by their places in `items`.
    """
    start = box(b"ftyp", brands[:4], bytes(4), brands)
    known = list(dict.fromkeys(one for _, properties, _ in items for one in properties))
    places = {one: place | (0x8000 if one.kind in _ESSENTIAL else 0) for place, one in enumerate(known, 1)}
    entries, associations = [], []
    for number, (kind, properties, _) in enumerate(items, 1):
        entries.append(full_box(b"infe", struct.pack(">HH4sB", number, 0, kind, 0), version=2))
        chosen = [places[one] for one in properties]
        associations.append(struct.pack(f">HB{len(chosen)}H", number, len(chosen), *chosen))
    links = [
        box(kind, struct.pack(f">HH{len(to)}H", origin + 1, len(to), *(one + 1 for one in to)))
        for kind, origin, to in references
    ]
    described = (
        full_box(b"hdlr", bytes(4), b"pict", bytes(13)),
        full_box(b"pitm", struct.pack(">H", 1)),
        full_box(b"iinf", struct.pack(">H", len(entries)), *entries),
        *([full_box(b"iref", *links)] if links else []),
        box(
            b"iprp",
            box(b"ipco", *(box(one.kind, one.content) for one in known)),
            full_box(b"ipma", struct.pack(">I", len(associations)), *associations, flags=1),
        ),
    )
    # Before the data: meta's head of 12 bytes, iloc's of 16 with 14 for each item, and mdat's of 8.
    position = len(start) + 12 + sum(map(len, described)) + 16 + 14 * len(items) + 8
    extents = []
    for number, (_, _, data) in enumerate(items, 1):
        extents.append(struct.pack(">HHHII", number, 0, 1, position, len(data)))
        position += len(data)
    placed = full_box(b"iloc", struct.pack(">HH", 0x4400, len(extents)), *extents)
    return start + full_box(b"meta", *described, placed) + box(b"mdat", *(data for _, _, data in items))
