"""HEIC and AVIF: a picture as an item of a container, coded with HEVC or AV1.

What the picture needs is read here, the rest of the file is left behind: the decoders get a small file that
is written anew, of the primary picture, its tiles and its transparency alone. So thumbnails, metadata, videos
and other boxes cost nothing, and no decoder's parser meets a structure that was not looked at before.
"""

import io
import struct
from dataclasses import dataclass, field
from typing import Final, cast

from PIL import Image

from model.images.errors import ImageError
from model.images.formats import av1
from model.images.formats.heif_items import Item, Items, Property, Reference, read_items, write_items
from model.images.formats.isobmff import Walk
from model.images.header import NAMES, Format, Header, image_format
from model.images.limits import MAX_DECODING_MEMORY

_CODECS: Final[dict[Format, bytes]] = {"heic": b"hvc1", "avif": b"av01"}
_BRANDS: Final[dict[Format, bytes]] = {"heic": b"heicmif1", "avif": b"avifmif1miaf"}
_CODEC_NAMES: Final = {
    b"hvc1": "HEVC",
    b"av01": "AV1",
    b"avc1": "H.264",
    b"vvc1": "H.266",
    b"evc1": "MPEG-5",
    b"jpeg": "JPEG",
    b"j2k1": "JPEG 2000",
    b"unci": "uncompressed samples",
    b"iovl": "overlays",
    b"tmap": "tone maps",
}
_ALPHA: Final = {b"urn:mpeg:hevc:2015:auxid:1", b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha"}
_CARRIED: Final = {b"ispe", b"pixi", b"hvcC", b"av1C", b"auxC", b"colr", b"a1op", b"lsel", b"a1lx"}
_TURNING: Final = (b"clap", b"irot", b"imir")
# By quarter turns to the left, then: not mirrored, top and bottom exchanged, left and right exchanged.
_ORIENTATIONS: Final = ((1, 4, 2), (8, 5, 7), (3, 2, 4), (6, 7, 5))
_TILE_PIXELS: Final = 1 << 20
# Measured at the peak of 12 megapixels, with some room: 8 bits; more bits, by HEVC's number for the colours
# (0 grey, 1 at a quarter of the size, 2 at half, 3 at all of it); with transparency.
_BYTES_A_PIXEL: Final[dict[Format, tuple[int, tuple[int, int, int, int], int]]] = {
    "heic": (10, (10, 10, 14, 16), 21),
    "avif": (11, (14, 14, 14, 14), 18),
}


@dataclass(slots=True)
class HeifHeader(Header):
    """A header that knows the picture's items.

    Attributes:
        crop: Left, top, right, bottom of what is to be shown; None for the whole picture.
        items: What the picture is made of, the primary item first.
        references: Between them, by their places in `items`.
    """

    crop: tuple[int, int, int, int] | None = None
    items: list[Item] = field(default_factory=list)
    references: list[Reference] = field(default_factory=list)


def read_header(data: bytes) -> HeifHeader:
    """Reads what a HEIC or AVIF file says of its primary picture.

    Raises:
        ImageError: it is broken, or of a kind that is not taken.
    """
    form: Format = "avif" if image_format(data) == "avif" else "heic"
    walk = Walk(data, NAMES[form])
    try:
        meta = walk.child(b"meta", 0, len(data))
        if meta is None and walk.child(b"moov", 0, len(data)):
            raise ImageError(
                "unsupported_format", f"The {NAMES[form]} holds a film and no picture; send a picture."
            )
        if meta is None:
            raise ValueError("no pictures")
        return _header(form, read_items(walk, *meta))
    except ImageError:
        raise
    except (ValueError, struct.error, IndexError):
        raise ImageError(
            "broken_image", f"The {NAMES[form]} image is broken or cut short; send the whole file."
        ) from None


def open_heic(data: bytes, header: Header) -> Image.Image:
    """Decodes a HEIC's primary picture, neither turned nor mirrored."""
    try:
        import pillow_heif
    except ImportError:  # who does not want its licence leaves it out, see docs/security.md
        raise ImageError("unsupported_format", "HEIC is switched off here; send a JPEG.") from None
    known = cast(HeifHeader, header)
    pillow_heif.options.DECODE_THREADS = 1  # pictures are decoded side by side, not their tiles
    return _shown(pillow_heif.open_heif(_picture_alone(data, known)).to_pillow(), known)


def open_avif(data: bytes, header: Header) -> Image.Image:
    """Decodes an AVIF's primary picture, neither turned nor mirrored."""
    from PIL import AvifImagePlugin

    known = cast(HeifHeader, header)
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    image = AvifImagePlugin.AvifImageFile(io.BytesIO(_picture_alone(data, known)))
    image.load()
    return _shown(image, known)


def _shown(image: Image.Image, header: HeifHeader) -> Image.Image:
    if image.mode == "RGBa":
        image = image.convert("RGBA")
    return image.crop(header.crop) if header.crop else image


def _header(form: Format, file: Items) -> HeifHeader:
    primary = file[file.primary]
    width, height = primary.size()
    parts = _parts(form, file, file.primary, width * height)
    references: list[Reference] = [(b"dimg", 0, tuple(range(1, len(parts))))] if len(parts) > 1 else []
    profile = _profile(primary) or _profile(parts[-1])
    if (alpha := _alpha(file)) is not None:
        first = len(parts)
        parts += _parts(form, file, alpha, width * height)
        references.append((b"auxl", first, (0,)))
        if len(parts) > first + 1:
            references.append((b"dimg", first, tuple(range(first + 1, len(parts)))))
        if alpha in file.referred(b"prem", file.primary):
            references.append((b"prem", 0, (first,)))
    orientation, crop = _turning(form, primary, width, height)
    return HeifHeader(
        format=form,
        width=width,
        height=height,
        orientation=orientation,
        profile=profile,
        memory=_memory(form, parts, clear=alpha is not None),
        crop=crop,
        items=parts,
        references=references,
    )


def _memory(form: Format, parts: list[Item], *, clear: bool) -> int:
    """Bytes that decoding takes; they are more than most for more bits, and for transparency.

    Raises:
        ImageError: it is too much.
    """
    width, height = parts[0].size()
    coded = parts[1] if parts[0].kind == b"grid" else parts[0]
    plain, deep, with_alpha = _BYTES_A_PIXEL[form]
    if form == "heic":
        configuration = coded.find(b"hvcC") or b""
        by_depth = deep[configuration[16] & 3] if configuration[17] & 7 else plain
    else:
        by_depth = deep[0] if (coded.find(b"av1C") or b"")[2] & 0x40 else plain
    bytes_a_pixel = with_alpha if clear else by_depth
    if bytes_a_pixel > plain and width * height * bytes_a_pixel > MAX_DECODING_MEMORY:
        raise ImageError(
            "too_many_pixels",
            f"The {NAMES[form]} image has {width} x {height} pixels "
            f"{'with transparency' if clear else 'of 10 bits or more'}; "
            f"send one of at most {MAX_DECODING_MEMORY // bytes_a_pixel:,}.",
        )
    return width * height * bytes_a_pixel


def _parts(form: Format, file: Items, number: int, pixels: int) -> list[Item]:
    """An item and, of a grid, its tiles; none is larger than the picture needs."""
    item = file[number]
    width, height = item.size()
    if not 0 < width * height <= pixels:
        raise ValueError("a part is larger than the picture")
    tiles = [file[to] for to in file.referred(b"dimg", number)] if item.kind == b"grid" else []
    for part in tiles or [item]:
        _check_kind(form, part)
        if tiles and part.size() != tiles[0].size():
            raise ValueError("tiles of two sizes")
    return [item, *tiles]


def _check_kind(form: Format, item: Item) -> None:
    name = NAMES[form]
    if item.kind != _CODECS[form]:
        kind = _CODEC_NAMES.get(item.kind, "another kind")
        raise ImageError(
            "unsupported_format", f"{name} files of {kind} are not accepted; send a usual {name} or a JPEG."
        )
    for known, essential in item.properties:
        if essential and known.kind not in _CARRIED and known.kind not in _TURNING:
            raise ImageError(
                "unsupported_format",
                f"The {name} needs {known.kind.decode('ascii', 'replace')!r}, which is not known here; "
                "send a JPEG.",
            )


def _alpha(file: Items) -> int | None:
    for found, start, to in file.references:
        if found == b"auxl" and file.primary in to and start in file.items:
            content = file.items[start].find(b"auxC")
            if content and content[4:].split(b"\0")[0] in _ALPHA:
                return start
    return None


def _profile(item: Item) -> bytes | None:
    for known, _ in item.properties:
        if known.kind == b"colr" and known.content[:4] in {b"prof", b"rICC"}:
            return known.content[4:]
    return None


def _turning(
    form: Format, item: Item, width: int, height: int
) -> tuple[int, tuple[int, int, int, int] | None]:
    turning = [known for known, _ in item.properties if known.kind in _TURNING]
    kinds = [known.kind for known in turning]
    if kinds != sorted(set(kinds), key=_TURNING.index):
        raise ImageError(
            "unsupported_format", f"The {NAMES[form]} is turned in an unusual order; send a JPEG."
        )
    found = {known.kind: known.content for known in turning}
    left_turns = found[b"irot"][0] & 3 if b"irot" in found else 0
    mirrored = 1 + (found[b"imir"][0] & 1) if b"imir" in found else 0
    crop = _crop(found[b"clap"], width, height) if b"clap" in found else None
    return _ORIENTATIONS[left_turns][mirrored], crop


def _crop(content: bytes, width: int, height: int) -> tuple[int, int, int, int]:
    """The clean aperture: width, height and the way of its middle from the picture's, each a fraction."""
    numbers = struct.unpack_from(">IIIIiIiI", content)
    if 0 in numbers[1::2]:
        raise ValueError("a fraction of nothing")
    across, down, right, below = (
        above / under for above, under in zip(numbers[::2], numbers[1::2], strict=True)
    )
    left, top = round((width - across) / 2 + right), round((height - down) / 2 + below)
    crop = left, top, left + round(across), top + round(down)
    if not (0 <= left < crop[2] <= width and 0 <= top < crop[3] <= height):
        raise ValueError("shows what is not there")
    return crop


def _picture_alone(data: bytes, header: HeifHeader) -> bytes:
    """Writes a file of a header's items and nothing else, once their data were looked at.

    Raises:
        ValueError, struct.error: they are broken.
    """
    if sum(size for item in header.items for _, size in item.extents) > len(data):
        raise ValueError("items that lie over one another")
    tiles = {origin: to for kind, origin, to in header.references if kind == b"dimg"}
    walk = Walk(data, NAMES[header.format])
    items: list[tuple[bytes, list[Property], bytes]] = []
    for place, item in enumerate(header.items):
        content = item.data(data)
        if item.kind == b"grid":
            _check_grid(item, content, [header.items[tile] for tile in tiles.get(place, ())])
        elif header.format == "avif":
            _check_frames(item, content, walk)
        # The profile is applied elsewhere; of colours the decoder is told what leads from YCbCr to RGB.
        carried = [
            known
            for known, _ in item.properties
            if known.kind in _CARRIED and (known.kind != b"colr" or known.content[:4] == b"nclx")
        ]
        items.append((item.kind, carried, content))
    return write_items(_BRANDS[header.format], items, header.references)


def _check_grid(item: Item, content: bytes, tiles: list[Item]) -> None:
    width, height = item.size()
    rows, columns = content[2] + 1, content[3] + 1
    if struct.unpack_from(">II" if content[1] & 1 else ">HH", content, 4) != (width, height):
        raise ValueError("a grid of two sizes")
    if rows * columns != len(tiles):
        raise ValueError("a grid of more or fewer tiles")
    across, down = tiles[0].size()
    if (
        across * down > max(width * height, _TILE_PIXELS)
        or not across * (columns - 1) < width <= across * columns
        or not down * (rows - 1) < height <= down * rows
    ):
        raise ValueError("tiles that do not make up the picture")


def _check_frames(item: Item, content: bytes, walk: Walk) -> None:
    """An AV1 bitstream has a size of its own, and is decoded before anybody compares it with the item's."""
    width, height = item.size()
    across, down = av1.largest_frame(content, walk.count)
    if not 0 < across * down <= width * height:
        raise ValueError("a frame larger than the picture")
