"""What an encoded image says of itself in its first bytes: its format, and its size before any decoding."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

import simplejpeg

Format = Literal["jpeg", "png", "webp", "gif", "bmp", "tiff", "heic", "avif"]

_OTHER_IMAGES: Final = (
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"%PDF", "PDF"),
    (b"8BPS", "Photoshop"),
    (b"\x00\x00\x01\x00", "icon"),
    (b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
)
_BRANDS: Final = {b"avif": "AVIF", b"avis": "AVIF", b"heic": "HEIC", b"heix": "HEIC", b"mif1": "HEIC"}


@dataclass(frozen=True, slots=True)
class Header:
    """What an encoded image says of itself before any pixel is decoded.

    Attributes:
        format: Which of the accepted formats it is.
        width: Pixels across, as they are stored, before any turning.
        height: Pixels down, likewise.
        orientation: EXIF's 1 to 8, still to be applied to what the decoder gives; 1 where the decoder turns
            the picture itself.
        profile: The ICC profile as it stands in the file, not yet checked; None where there is none.
    """

    format: Format
    width: int
    height: int
    orientation: int = 1
    profile: bytes | None = None


def image_format(data: bytes) -> Format | None:
    """Tells which of the accepted formats the bytes begin like; None for any other."""
    if data.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "webp"
    # Two letters alone are weak evidence: a BMP also says how long its next header is.
    if data.startswith(b"BM") and (len(data) < 18 or data[14:18] in _BMP_HEADERS):
        return "bmp"
    return None


def other_image_format(data: bytes) -> str | None:
    """Names a kind of picture that is not accepted, so that the answer can say so; None for anything else."""
    for magic, name in _OTHER_IMAGES:
        if data.startswith(magic):
            return name
    if data[4:8] == b"ftyp":
        return _BRANDS.get(data[8:12])
    start = data[:1024].lower()
    return "SVG" if b"<svg" in start and start.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<") else None


def image_size(data: bytes) -> tuple[int, int] | None:
    """Reads width and height in pixels from the header; None when it is too short or broken to tell."""
    try:
        return _READERS[form](data) if (form := image_format(data)) else None
    except (struct.error, ValueError, KeyError):
        return None


def _jpeg(data: bytes) -> tuple[int, int]:
    height, width, _, _ = simplejpeg.decode_jpeg_header(data, strict=False)
    return int(width), int(height)


def _png(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def _gif(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from("<HH", data, 6)
    return width, height


_BMP_HEADERS: Final = {struct.pack("<I", length) for length in (12, 16, 40, 52, 56, 64, 108, 124)}


def _bmp(data: bytes) -> tuple[int, int]:
    if data[14:18] == struct.pack("<I", 12):
        width, height = struct.unpack_from("<HH", data, 18)
    else:
        width, height = struct.unpack_from("<ii", data, 18)
    return abs(width), abs(height)  # a negative height means rows from the top


def _webp(data: bytes) -> tuple[int, int]:
    kind = data[12:16]
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8X":
        low_width, high_width, low_height, high_height = struct.unpack_from("<HBHB", data, 24)
        return (high_width << 16 | low_width) + 1, (high_height << 16 | low_height) + 1
    raise ValueError("not one of WebP's three kinds")


_READERS: Final = {"jpeg": _jpeg, "png": _png, "webp": _webp, "gif": _gif, "bmp": _bmp}


def parts(data: bytes) -> Iterator[None]:
    """Yields once for each part of the file that Pillow's Python code would walk through before the pixels.

    PNG's chunks (all of them), JPEG's segments, GIF's blocks. A file of tiny parts alone costs a third of a
    second a megabyte, so their number is worth a look.
    """
    form = image_format(data)
    return _WALKERS[form](data) if form in _WALKERS else iter(())


def _png_chunks(data: bytes) -> Iterator[None]:
    position = 8
    while position + 8 <= len(data):
        position += 12 + int.from_bytes(data[position : position + 4])
        yield


def _jpeg_segments(data: bytes) -> Iterator[None]:
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF and data[position + 1] != 0xDA:
        # A segment may be preceded by any number of 0xFF.
        marker = data[position + 1]
        position += 1 if marker == 0xFF else 2 + int.from_bytes(data[position + 2 : position + 4])
        yield


def _gif_blocks(data: bytes) -> Iterator[None]:
    flags = data[10:11]
    position = 13 + (3 << ((flags[0] & 7) + 1) if flags and flags[0] & 0x80 else 0)
    while data[position : position + 1] == b"\x21":
        position += 2
        while position < len(data) and data[position]:
            position += 1 + data[position]
            yield
        position += 1
        yield


_WALKERS: Final = {"png": _png_chunks, "jpeg": _jpeg_segments, "gif": _gif_blocks}
