"""PNG: the chunks that the picture is made of, and transparency at the depths that Pillow leaves out."""

import io
import zlib
from typing import Final

import numpy as np
from PIL import Image, PngImagePlugin

from model.images.errors import ImageError
from model.images.formats.exif import orientation
from model.images.header import Header
from model.images.limits import most_parts, too_many_parts

_PICTURE: Final = frozenset((b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"))
_TEXTS: Final = frozenset((b"tEXt", b"zTXt", b"iTXt"))
_NOTES: Final = _TEXTS | {b"eXIf", b"iCCP"}
_EXIF_AS_TEXT: Final = b"Raw profile type exif\0"
_XMP: Final = b"XML:com.adobe.xmp\0"

# Pillow's picture; of 16 bits also grey's samples, or a second reading, and what is transparent.
_BYTES_A_PIXEL: Final = 5
_BYTES_A_DEEP_PIXEL: Final = 15

_TEXT_BYTES: Final = 1_000_000
_PROFILE_BYTES: Final = 2_000_000

# What grey of two and four bits is multiplied by to become one of eight.
_GREY: Final = {"L;2": (3, 85), "L;4": (15, 17)}


def read_header(data: bytes) -> Header:
    """Walks over all chunks, and keeps those that the picture needs; no other is read later.

    Raises:
        ImageError: it is broken, or has too many parts.
    """
    if len(data) < 33 or data[12:16] != b"IHDR":
        raise ImageError("broken_image", "The PNG image is broken or cut short; send the whole file.")
    header = Header("png", int.from_bytes(data[16:20]), int.from_bytes(data[20:24]))
    header.memory = header.width * header.height * (_BYTES_A_PIXEL if data[24] <= 8 else _BYTES_A_DEEP_PIXEL)
    chunks: dict[bytes, slice] = {}
    header.kept = _walk(data, chunks)
    if header.kept is not None:
        header.memory += len(data)
    told: bytes | None = None
    if exif := chunks.get(b"eXIf"):
        told = data[exif]
    elif text := chunks.get(_EXIF_AS_TEXT):
        told = _hexadecimal(data[text])
    xmp = chunks.get(_XMP)
    if told is not None or xmp is not None:
        header.orientation = orientation(told, _international(data[xmp]) if xmp else None)
    if profile := chunks.get(b"iCCP"):
        header.profile = _unfolded(data[profile].partition(b"\0")[2][1:], _PROFILE_BYTES)
    return header


def _walk(data: bytes, chunks: dict[bytes, slice]) -> tuple[slice, ...] | None:
    """Walks over all chunks.

    Args:
        data: The file.
        chunks: Where to put what lies where of the chunks that say something of colour or orientation.

    Returns:
        The parts of the file that the picture needs; None where it needs all.
    """
    kept: list[slice] = []
    position, kept_from = 8, 0
    left = most_parts(data)
    while position + 8 <= len(data):
        left -= 1
        if not left:
            raise too_many_parts("PNG")
        kind = data[position + 4 : position + 8]
        after = position + 12 + int.from_bytes(data[position : position + 4])
        if kind not in _PICTURE:
            if not kind.isalnum():
                break  # broken from here on, as Pillow will say
            kept.append(slice(kept_from, position))
            kept_from = after
            if kind in _NOTES:
                content = slice(position + 8, after - 4)
                start = data[position + 8 : position + 8 + len(_EXIF_AS_TEXT)]
                chunks[kind if kind not in _TEXTS else _XMP if start.startswith(_XMP) else start] = content
        position = after
        if kind == b"IEND":
            break
    return (*kept, slice(kept_from, position)) if kept else None


def _unfolded(compressed: bytes, most: int) -> bytes | None:
    """Decompresses what becomes no longer than that; None for anything else."""
    unfold = zlib.decompressobj()
    try:
        plain = unfold.decompress(compressed, most)
    except zlib.error:
        return None
    return plain if unfold.eof else None


def _hexadecimal(content: bytes) -> bytes | None:
    """Reads EXIF out of tEXt or zTXt, as ImageMagick writes it: three lines, then hexadecimal digits."""
    text = content[len(_EXIF_AS_TEXT) :]
    if text[:1] == b"\0":  # zTXt's method of compression; a text begins with a line break
        text = _unfolded(text[1:], _TEXT_BYTES) or b""
    try:
        return bytes.fromhex(b"".join(text.split(b"\n")[3:]).decode("ascii"))
    except ValueError:
        return None


def _international(content: bytes) -> bytes | None:
    """Reads iTXt: two flags, a language and a translated keyword, which end with a zero each, and text."""
    rest = content[len(_XMP) :]
    text = rest[2:].split(b"\0", 2)[-1]
    return _unfolded(text, _TEXT_BYTES) if rest[:1] == b"\1" else text


def open_image(data: bytes, header: Header) -> Image.Image:
    """Opens the kept chunks; a transparent colour is one that Pillow finds in its picture."""
    picture = data if header.kept is None else b"".join([data[part] for part in header.kept])
    image = PngImagePlugin.PngImageFile(io.BytesIO(picture))
    clear = image.info.get("transparency")
    if clear is None or not image.tile:
        return image
    stored = image.tile[0].args
    if stored in _GREY:
        most, factor = _GREY[stored]
        image.info["transparency"] = (clear & most) * factor
    elif stored == "RGB;16B":
        return _with_alpha(image, PngImagePlugin.PngImageFile(io.BytesIO(picture)), clear)
    return image


def _with_alpha(
    high: PngImagePlugin.PngImageFile, low: PngImagePlugin.PngImageFile, clear: tuple[int, int, int]
) -> Image.Image:
    """Makes the one colour of 16 bits transparent: Pillow gives high bytes, and a second reading low ones."""
    low.tile = [low.tile[0]._replace(args="RGB;16L")]
    alpha = Image.new("L", high.size, 0)
    high.load()
    low.load()
    rows = max(1, 1_000_000 // high.width)
    for top in range(0, high.height, rows):
        box = (0, top, high.width, min(top + rows, high.height))
        samples = np.asarray(high.crop(box)).astype(np.uint16) << 8 | np.asarray(low.crop(box))
        opaque = (samples != np.array(clear, np.uint16)).any(axis=-1)
        alpha.paste(Image.fromarray(opaque.astype(np.uint8) * 255), (0, top))
    high.putalpha(alpha)
    return high
