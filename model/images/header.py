"""What an encoded image says of itself: its format by its first bytes, and every format's header."""

import struct
from dataclasses import dataclass
from typing import Final, Literal

Format = Literal["jpeg", "png", "webp", "gif", "bmp", "tiff", "heic", "avif"]

NAMES: Final[dict[Format, str]] = {
    "jpeg": "JPEG",
    "png": "PNG",
    "webp": "WebP",
    "gif": "GIF",
    "bmp": "BMP",
    "tiff": "TIFF",
    "heic": "HEIC",
    "avif": "AVIF",
}
"""What people call the formats, in the order in which a sentence lists them."""

BYTES_A_PIXEL: Final = 18
"""What decoding takes where a format does not say it: the most that any was measured to take."""

_OTHER_IMAGES: Final = (
    (b"%PDF", "PDF"),
    (b"8BPS", "Photoshop"),
    (b"\x00\x00\x01\x00", "icon"),
    (b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
)
_TIFFS: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# Of a file's first box; those of HEIF in general stand on files of either codec.
_AVIF_BRANDS: Final = {b"avif", b"avis"}
_HEIF_BRANDS: Final = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_MOST_BRAND_BYTES: Final = 256
_BMP_HEADERS: Final = {struct.pack("<I", length) for length in (12, 16, 40, 52, 56, 64, 108, 124)}


@dataclass(slots=True)  # not frozen: that costs a small JPEG a microsecond of the ten it takes
class Header:
    """What an encoded image says of itself before any pixel is decoded.

    Attributes:
        format: Which of the accepted formats it is.
        width: Pixels across, as they are stored, before any turning.
        height: Pixels down, likewise.
        orientation: EXIF's 1 to 8, still to be applied to what the decoder gives; 1 where the decoder turns
            the picture itself.
        profile: The ICC profile as it stands in the file, not yet checked; None where there is none.
        memory: Bytes that decoding takes at most, the file itself not counted; 0 where the format does not
            know better than `BYTES_A_PIXEL`.
        plain: Whether it is a JPEG of the common kind, for which the fast decoder gives Pillow's very pixels.
        scans_from: Where the first scan begins of a JPEG that has several, and keeps all its coefficients in
            memory for them; 0 for one of a single scan.
        kept: The parts of the file that the picture is made of, where others are dropped before anything
            reads them.
    """

    format: Format
    width: int
    height: int
    orientation: int = 1
    profile: bytes | None = None
    memory: int = 0
    plain: bool = False
    scans_from: int = 0
    kept: tuple[slice, ...] | None = None

    @property
    def decoding_bytes(self) -> int:
        """What decoding takes at most, in bytes, the file itself not counted."""
        return self.memory or self.width * self.height * BYTES_A_PIXEL


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
    return "tiff" if data.startswith(_TIFFS) else _by_brands(data)


def _by_brands(data: bytes) -> Format | None:
    if data[4:8] != b"ftyp":
        return None
    end = min(int.from_bytes(data[:4]), len(data), _MOST_BRAND_BYTES)
    brands = {data[8:12], *(data[place : place + 4] for place in range(16, end - 3, 4))}
    if brands & _AVIF_BRANDS:
        return "avif"
    return "heic" if brands & _HEIF_BRANDS else None


def other_image_format(data: bytes) -> str | None:
    """Names a kind of picture that is not accepted, so that the answer can say so; None for anything else."""
    for magic, name in _OTHER_IMAGES:
        if data.startswith(magic):
            return name
    if data[4:12] == b"ftypcrx ":
        return "Canon's raw"
    start = data[:1024].lower()
    return "SVG" if b"<svg" in start and start.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<") else None
