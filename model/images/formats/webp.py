"""WebP: a walk over its RIFF chunks."""

import io
import struct
from typing import Final

from PIL import Image, WebPImagePlugin

from model.images.errors import ImageError
from model.images.formats.exif import orientation
from model.images.header import Header

# libwebp's decoder of animations, Pillow's only one, has two canvases and a buffer; Pillow has two more.
_BYTES_A_PIXEL: Final = 18
_PARTS: Final = 1000


def read_header(data: bytes) -> Header:
    """Walks over the chunks: the size is in the first, a profile before the picture, EXIF and XMP behind it.

    Raises:
        ImageError: it is broken.
    """
    try:
        width, height = _size(data)
    except struct.error:
        width = height = 0
    if not width * height:
        raise ImageError("broken_image", "The WebP image is broken or cut short; send the whole file.")
    header = Header("webp", width, height, memory=width * height * _BYTES_A_PIXEL)
    if data[12:16] != b"VP8X":
        return header
    exif = xmp = None
    position = 12
    for _ in range(_PARTS):
        if position + 8 > len(data):
            break
        kind, length = (
            data[position : position + 4],
            int.from_bytes(data[position + 4 : position + 8], "little"),
        )
        content = slice(position + 8, position + 8 + length)
        if kind == b"ICCP":
            header.profile = header.profile or data[content]
        elif kind == b"EXIF":
            exif = exif or data[content]
        elif kind == b"XMP ":
            xmp = xmp or data[content]
        position = content.stop + (length & 1)
    if exif is not None or xmp is not None:
        header.orientation = orientation(exif, xmp)
    return header


def _size(data: bytes) -> tuple[int, int]:
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
    return 0, 0


def open_image(data: bytes, header: Header) -> Image.Image:
    """Opens it at its first frame."""
    return WebPImagePlugin.WebPImageFile(io.BytesIO(data))
