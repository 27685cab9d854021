"""HEIC and AVIF: pictures as items of a container (ISO/IEC 23008-12), coded with HEVC or AV1.

What the picture needs is read here, the rest of the file is left behind: the decoders get a small file that is written
anew, of the primary picture, its tiles and its transparency alone. So thumbnails, metadata, videos and boxes of other
kinds cost nothing, and no decoder's parser meets a structure that was not looked at before.
"""

import io
import struct
from dataclasses import dataclass, field
from typing import Final, Literal

from PIL import Image

from model.images.formats import av1
from model.images.errors import ImageError
from model.images.header import Header
from model.images.formats.isobmff import Cursor, Walk, box, full_box

Kind = Literal["heic", "avif"]

_CODECS: Final[dict[Kind, bytes]] = {"heic": b"hvc1", "avif": b"av01"}
_OTHER_CODECS: Final = {
    b"avc1": "H.264",
    b"jpeg": "JPEG",
    b"j2k1": "JPEG 2000",
    b"vvc1": "H.266",
    b"evc1": "MPEG-5",
    b"unci": "no compression",
    b"iovl": "overlays",
    b"iden": "references",
    b"tmap": "tone mapping",
}
_ALPHA: Final = {
    b"urn:mpeg:hevc:2015:auxid:1",
    b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha",
    b"urn:mpeg:avc:2015:auxid:1",
}
_CARRIED: Final = {b"ispe", b"pixi", b"hvcC", b"av1C", b"auxC", b"colr", b"a1op", b"lsel", b"a1lx"}
_TURNING: Final = (b"clap", b"irot", b"imir")
# By turns of 90 degrees to the left, then: not mirrored, top and bottom exchanged, left and right exchanged.
_ORIENTATIONS: Final = ((1, 4, 2), (8, 5, 7), (3, 2, 4), (6, 7, 5))
_TILE_PIXELS: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class _Property:
    kind: bytes
    content: bytes


@dataclass(slots=True)
class _Item:
    kind: bytes
    extents: list[tuple[int, int]] = field(default_factory=list)
    properties: list[tuple[_Property, bool]] = field(default_factory=list)

    def find(self, kind: bytes) -> bytes | None:
        """The content of the first property of a type."""
        return next((known.content for known, _ in self.properties if known.kind == kind), None)

    def size(self) -> tuple[int, int]:
        """Width and height, by its `ispe` property."""
        content = self.find(b"ispe")
        if content is None:
            raise ValueError("an item without a size")
        width, height = struct.unpack_from(">II", content, 4)
        return width, height


@dataclass(slots=True)
class HeifHeader(Header):
    """A header that knows the file's items.

    Attributes:
        crop: Left, top, right, bottom of what is to be shown; None for the whole picture.
        items: What the picture is made of, the primary item first: type, properties and coded data of each.
        references: Type, from which item, to which, by their place in `items`.
    """

    crop: tuple[int, int, int, int] | None = None
    items: tuple[tuple[bytes, tuple[_Property, ...], bytes], ...] = ()
    references: tuple[tuple[bytes, int, tuple[int, ...]], ...] = ()


def read_header(data: bytes) -> HeifHeader:
    """Reads what a HEIC or AVIF file says of its primary picture.

    Raises:
        ImageError: it is of a kind that is not taken.
        ValueError, struct.error: it is broken.
    """
    kind = kind_of(data)
    if kind is None:
        raise ValueError("neither HEIC nor AVIF")
    walk = Walk(data)
    meta = walk.child(b"meta", 0, len(data))
    if meta is None:
        moving = walk.child(b"moov", 0, len(data))
        if moving is None:
            raise ValueError("no pictures")
        raise ImageError("unsupported_format", f"The {kind.upper()} holds a film and no picture; send a picture.")
    return _Reader(kind, walk, *meta).header()


def open_heic(data: bytes, header: Header) -> Image.Image:
    """Decodes a HEIC's primary picture, neither turned nor mirrored."""
    import pillow_heif

    assert isinstance(header, HeifHeader)
    pillow_heif.options.DECODE_THREADS = 1  # as many pictures as there are threads are decoded side by side
    return _cropped(pillow_heif.open_heif(_written(header)).to_pillow(), header)


def open_avif(data: bytes, header: Header) -> Image.Image:
    """Decodes an AVIF's primary picture, neither turned nor mirrored."""
    from PIL import AvifImagePlugin

    assert isinstance(header, HeifHeader)
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    image = AvifImagePlugin.AvifImageFile(io.BytesIO(_written(header)))
    image.load()
    return _cropped(image, header)


def _cropped(image: Image.Image, header: HeifHeader) -> Image.Image:
    if image.mode == "RGBa":
        image = image.convert("RGBA")
    return image.crop(header.crop) if header.crop else image


class _Reader:
    """Goes once through the boxes of one file."""

    def __init__(self, kind: Kind, walk: Walk, start: int, end: int) -> None:
        self._kind, self._walk = kind, walk
        boxes = {found: (first, last) for found, first, last in walk.boxes(start + 4, end)}
        self._inline = boxes.get(b"idat", (0, 0))
        self._items = self._read_items(*boxes[b"iinf"]) if b"iinf" in boxes else {}
        self._references = self._read_references(*boxes[b"iref"]) if b"iref" in boxes else []
        if not {b"pitm", b"iloc", b"iprp"} <= boxes.keys():
            raise ValueError("no picture is described")
        cursor = Cursor(walk.data, *boxes[b"pitm"])
        version, _ = cursor.version_and_flags()
        self._primary = cursor.number(4 if version else 2)
        self._read_places(*boxes[b"iloc"])
        self._read_properties(*boxes[b"iprp"])

    def header(self) -> HeifHeader:
        """Puts together what was read."""
        primary = self._item(self._primary)
        width, height = primary.size()
        parts = self._parts(self._primary, width * height)
        references = [(b"dimg", 0, tuple(range(1, len(parts))))] if len(parts) > 1 else []
        if alpha := self._alpha():
            first = len(parts)
            parts += self._parts(alpha, width * height)
            references.append((b"auxl", first, (0,)))
            if len(parts) > first + 1:
                references.append((b"dimg", first, tuple(range(first + 1, len(parts)))))
            if any(found == b"prem" and alpha in to for found, _, to in self._references):
                references.append((b"prem", 0, (first,)))
        if sum(size for part in parts for _, size in part.extents) > len(self._walk.data):
            raise ValueError("more data than the file has")
        items = tuple((part.kind, self._kept(part), self._data(part)) for part in parts)
        if self._kind == "avif":
            self._check_frames(parts, items)
        orientation, crop = self._turning(primary, width, height)
        return HeifHeader(
            format=self._kind,
            width=width,
            height=height,
            orientation=orientation,
            profile=self._profile(primary) or self._profile(parts[-1 if alpha is None else 0]),
            crop=crop,
            items=items,
            references=tuple(references),
        )

    def _item(self, number: int) -> _Item:
        if number not in self._items:
            raise ValueError("an item is missing")
        return self._items[number]

    def _parts(self, number: int, pixels: int) -> list[_Item]:
        """An item and, of a grid, its tiles; all checked to be no larger than the picture needs."""
        item = self._item(number)
        width, height = item.size()
        if not 0 < width * height <= pixels:
            raise ValueError("a part is larger than the picture")
        if item.kind != b"grid":
            self._check_codec(item)
            return [item]
        tiles = [self._item(to) for found, start, tos in self._references if found == b"dimg" and start == number for to in tos]
        rows, columns = self._grid(item, len(tiles))
        across, down = tiles[0].size()
        for tile in tiles:
            self._check_codec(tile)
            if tile.size() != (across, down):
                raise ValueError("tiles of two sizes")
        if (
            across * down > max(width * height, _TILE_PIXELS)
            or not across * (columns - 1) < width <= across * columns
            or not down * (rows - 1) < height <= down * rows
        ):
            raise ValueError("tiles that do not make up the picture")
        return [item, *tiles]

    def _grid(self, item: _Item, tiles: int) -> tuple[int, int]:
        data = self._data(item)
        if len(data) < 8:
            raise ValueError("a grid is cut short")
        rows, columns = data[2] + 1, data[3] + 1
        if struct.unpack_from(">II" if data[1] & 1 else ">HH", data, 4) != item.size() or rows * columns != tiles:
            raise ValueError("a grid that does not fit its tiles")
        return rows, columns

    def _check_codec(self, item: _Item) -> None:
        if item.kind == _CODECS[self._kind]:
            return
        name = _OTHER_CODECS.get(item.kind) or ("AV1" if item.kind == b"av01" else "HEVC" if item.kind == b"hvc1" else "another codec")
        raise ImageError(
            "unsupported_format", f"{self._kind.upper()} files of {name} are not accepted; send a usual {self._kind.upper()} or a JPEG."
        )

    def _alpha(self) -> int | None:
        for found, start, to in self._references:
            if found == b"auxl" and self._primary in to and start in self._items:
                content = self._items[start].find(b"auxC")
                if content and content[4:].split(b"\0")[0] in _ALPHA:
                    return start
        return None

    def _kept(self, item: _Item) -> tuple[_Property, ...]:
        for known, essential in item.properties:
            if essential and known.kind not in _CARRIED and known.kind not in _TURNING:
                name = known.kind.decode("ascii", "replace")
                raise ImageError(
                    "unsupported_format", f"The {self._kind.upper()} needs {name!r}, which is not known here; send a JPEG."
                )
        # The profile is applied here, later; the decoders are told of the other colour information alone.
        return tuple(
            known
            for known, _ in item.properties
            if known.kind in _CARRIED and (known.kind != b"colr" or known.content[:4] == b"nclx")
        )

    def _check_frames(self, parts: list[_Item], items: tuple[tuple[bytes, tuple[_Property, ...], bytes], ...]) -> None:
        """An AV1 bitstream has a size of its own, and is decoded before anybody compares it with the item's."""
        for part, (kind, _, data) in zip(parts, items, strict=True):
            if kind == b"av01":
                width, height = part.size()
                across, down = av1.largest_frame(data, self._walk.count)
                if not 0 < across * down <= width * height:
                    raise ValueError("a frame larger than the picture")

    def _turning(self, item: _Item, width: int, height: int) -> tuple[int, tuple[int, int, int, int] | None]:
        turning = [known for known, _ in item.properties if known.kind in _TURNING]
        kinds = [known.kind for known in turning]
        if kinds != sorted(set(kinds), key=_TURNING.index):
            raise ImageError(
                "unsupported_format", f"The {self._kind.upper()} is turned in an unusual order; send a JPEG."
            )
        found = {known.kind: known.content for known in turning}
        left_turns = found[b"irot"][0] & 3 if b"irot" in found else 0
        mirrored = 1 + (found[b"imir"][0] & 1) if b"imir" in found else 0
        crop = self._crop(found[b"clap"], width, height) if b"clap" in found else None
        return _ORIENTATIONS[left_turns][mirrored], crop

    def _crop(self, content: bytes, width: int, height: int) -> tuple[int, int, int, int]:
        """The clean aperture: width, height and the way of its middle from the picture's, each a fraction."""
        numbers = struct.unpack(">IIIIiIiI", content[:32])
        if 0 in numbers[1::2]:
            raise ValueError("a fraction of nothing")
        across, down, right, below = (above / under for above, under in zip(numbers[::2], numbers[1::2], strict=True))
        left, top = round((width - across) / 2 + right), round((height - down) / 2 + below)
        crop = left, top, left + round(across), top + round(down)
        if not (0 <= left < crop[2] <= width and 0 <= top < crop[3] <= height):
            raise ValueError("shows what is not there")
        return crop

    def _profile(self, item: _Item) -> bytes | None:
        for known, _ in item.properties:
            if known.kind == b"colr" and known.content[:4] in {b"prof", b"rICC"}:
                return known.content[4:]
        return None

    def _data(self, item: _Item) -> bytes:
        found = b"".join(self._walk.data[start : start + size] for start, size in item.extents)
        if not found or len(found) != sum(size for _, size in item.extents):
            raise ValueError("the file is cut short")
        return found

    def _read_items(self, start: int, end: int) -> dict[int, _Item]:
        cursor = Cursor(self._walk.data, start, end)
        version, _ = cursor.version_and_flags()
        cursor.number(4 if version else 2)
        items: dict[int, _Item] = {}
        for kind, first, last in self._walk.boxes(cursor.position, end):
            if kind == b"infe":
                entry = Cursor(self._walk.data, first, last)
                version, _ = entry.version_and_flags()
                if version < 2:
                    raise ValueError("an item without a type")
                number = entry.number(4 if version > 2 else 2)
                entry.number(2)
                items[number] = _Item(entry.take(4))
        return items

    def _read_references(self, start: int, end: int) -> list[tuple[bytes, int, tuple[int, ...]]]:
        cursor = Cursor(self._walk.data, start, end)
        version, _ = cursor.version_and_flags()
        size = 4 if version else 2
        references = []
        for kind, first, last in self._walk.boxes(cursor.position, end):
            entry = Cursor(self._walk.data, first, last)
            origin, count = entry.number(size), entry.number(2)
            self._walk.count(count)
            references.append((kind, origin, tuple(entry.number(size) for _ in range(count))))
        return references

    def _read_places(self, start: int, end: int) -> None:
        """Where each item's data lie: in the file (method 0), or in the box `idat` (method 1)."""
        cursor = Cursor(self._walk.data, start, end)
        version, _ = cursor.version_and_flags()
        sizes = cursor.number(2)
        offset_size, length_size, base_size, index_size = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
        for _ in range(cursor.number(4 if version > 1 else 2)):
            number = cursor.number(4 if version > 1 else 2)
            method = cursor.number(2) & 15 if version else 0
            outside = cursor.number(2)
            base = cursor.number(base_size)
            count = cursor.number(2)
            self._walk.count(count + 1)
            extents = []
            for _ in range(count):
                if version:
                    cursor.number(index_size)
                extents.append((base + cursor.number(offset_size), cursor.number(length_size)))
            if number not in self._items or outside or method > 1:
                continue
            if method == 1:
                first, last = self._inline
                if any(place + size > last - first for place, size in extents):
                    raise ValueError("an item's data are cut short")
                extents = [(first + place, size) for place, size in extents]
            self._items[number].extents = extents

    def _read_properties(self, start: int, end: int) -> None:
        found = self._walk.child(b"ipco", start, end)
        if found is None:
            raise ValueError("no properties")
        known = [_Property(kind, self._walk.data[first:last]) for kind, first, last in self._walk.boxes(*found)]
        for kind, first, last in self._walk.boxes(start, end):
            if kind != b"ipma":
                continue
            cursor = Cursor(self._walk.data, first, last)
            version, flags = cursor.version_and_flags()
            for _ in range(cursor.number(4)):
                item = self._items.get(cursor.number(4 if version else 2))
                count = cursor.number(1)
                self._walk.count(count + 1)
                for _ in range(count):
                    entry = cursor.number(2 if flags & 1 else 1)
                    essential, index = divmod(entry, 1 << (15 if flags & 1 else 7))
                    if item and 0 < index <= len(known):
                        item.properties.append((known[index - 1], bool(essential)))


def _written(header: HeifHeader) -> bytes:
    """Writes a file of a header's items and nothing else."""
    kind = header.format.encode()
    brands = {"heic": b"mif1heic", "avif": b"avifmif1miaf"}[header.format]
    start = box(b"ftyp", kind, bytes(4), brands)
    known = list(dict.fromkeys(one for _, properties, _ in header.items for one in properties))
    places = {one: place for place, one in enumerate(known, 1)}
    entries, associations = [], []
    for number, (item, properties, _) in enumerate(header.items, 1):
        entries.append(full_box(b"infe", struct.pack(">HH4sB", number, 0, item, 0), version=2))
        chosen = [places[one] | (0x8000 if one.kind in {b"hvcC", b"av1C", b"lsel", b"a1op"} else 0) for one in properties]
        associations.append(struct.pack(f">HB{len(chosen)}H", number, len(chosen), *chosen))
    references = [
        box(name, struct.pack(f">HH{len(to)}H", origin + 1, len(to), *(one + 1 for one in to)))
        for name, origin, to in header.references
    ]
    described = (
        full_box(b"hdlr", bytes(4), b"pict", bytes(13)),
        full_box(b"pitm", struct.pack(">H", 1)),
        full_box(b"iinf", struct.pack(">H", len(entries)), *entries),
        *([full_box(b"iref", *references)] if references else []),
        box(
            b"iprp",
            box(b"ipco", *(box(one.kind, one.content) for one in known)),
            full_box(b"ipma", struct.pack(">I", len(associations)), *associations, flags=1),
        ),
    )
    # Each place takes 14 bytes; meta and iloc have 12 before theirs, iloc another 4, and mdat 8 before the data.
    position = len(start) + 12 + sum(map(len, described)) + 16 + 14 * len(header.items) + 8
    extents = []
    for number, (_, _, data) in enumerate(header.items, 1):
        extents.append(struct.pack(">HHHII", number, 0, 1, position, len(data)))
        position += len(data)
    placed = full_box(b"iloc", struct.pack(">HH", 0x4400, len(extents)), *extents)
    return start + full_box(b"meta", *described, placed) + box(b"mdat", *(data for _, _, data in header.items))
