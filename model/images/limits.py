"""How large an encoded image may be, by its format."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from model.images.errors import ImageError
from model.images.header import Format


@dataclass(frozen=True, slots=True)
class Limit:
    """The most that is taken of one format.

    Attributes:
        pixels: Width times height, read from the header.
        bytes: Length of the file.
    """

    pixels: int
    bytes: int


LIMITS: Final[Mapping[Format, Limit]] = {
    # A JPEG is decoded at an eighth of its size, row by row; all others in full.
    "jpeg": Limit(pixels=250_000_000, bytes=60_000_000),
    "png": Limit(pixels=25_000_000, bytes=20_000_000),
    "webp": Limit(pixels=25_000_000, bytes=20_000_000),
    "gif": Limit(pixels=25_000_000, bytes=20_000_000),
    "bmp": Limit(pixels=25_000_000, bytes=20_000_000),
    # What a telephone's largest picture has; a TIFF of it may be hardly compressed.
    "tiff": Limit(pixels=50_000_000, bytes=60_000_000),
    "heic": Limit(pixels=50_000_000, bytes=20_000_000),
    "avif": Limit(pixels=50_000_000, bytes=20_000_000),
}
"""Unless the caller sets others; a format that a caller leaves out is switched off."""

MAX_JPEG_COEFFICIENTS: Final = 200_000_000
"""Bytes of the coefficients that a JPEG of several scans keeps in memory until its last scan is read."""

MAX_DECODING_MEMORY: Final = 640_000_000
"""Bytes that decoding one TIFF, HEIC or AVIF may take, which is more for more bits and for transparency."""

_PARTS: Final = 1000
_BYTES_A_PART: Final = 512


def most_parts(data: bytes) -> int:
    """Returns how many parts (chunks, segments, blocks) a file of this length may have.

    A file of tiny parts alone costs a decoder far more than its size says.
    """
    return _PARTS + len(data) // _BYTES_A_PART


def too_many_parts(name: str) -> ImageError:
    """Returns the refusal of a file with more parts than `most_parts`, or with too many scans."""
    return ImageError(
        "unsupported_format", f"The {name} has too many parts; save it again with usual settings."
    )
