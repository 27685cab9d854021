"""TIFF and BigTIFF (TIFF 6.0, Adobe's notes): the first picture of a file, of 8 or 16 bits a sample or less.

Its directory is read here, once, and every kind that is not known to be decoded rightly is refused by name.
libtiff gets a directory that is written anew, of what the picture needs alone: other pages, metadata and
broken tags cost nothing.
"""

import ctypes
import functools
import io
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, cast

import numpy as np
from PIL import Image

from model.images.errors import ImageError
from model.images.formats.tiff_directory import Directory, Tag, with_directory
from model.images.header import Header
from model.images.limits import MAX_DECODING_MEMORY, too_many_parts

_SCANS_A_PIECE: Final = 10
_PIECE_PIXELS: Final = 1 << 20
# Beside the decoded samples of one piece, which may be the whole picture, and libtiff's copy of the file.
_BYTES_A_PIXEL: Final = 6
_USUAL_BITS: Final = 32

_NO_COMPRESSION, _JPEG = 1, 7
_COMPRESSIONS: Final = {1: "none", 5: "LZW", 7: "JPEG", 8: "Deflate", 32773: "PackBits", 32946: "Deflate"}
_OTHER_COMPRESSIONS: Final = {
    2: "CCITT",
    3: "CCITT",
    4: "CCITT",
    6: "old-style JPEG",
    33003: "JPEG 2000",
    33005: "JPEG 2000",
    34712: "JPEG 2000",
    34887: "LERC",
    34892: "lossy DNG",
    34925: "LZMA",
    50000: "Zstandard",
    50001: "WebP",
    50002: "JPEG XL",
}
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR = 0, 1, 2, 3, 5, 6
_KINDS: Final = {
    _WHITE_IS_ZERO: "grey",
    _BLACK_IS_ZERO: "grey",
    _RGB: "RGB",
    _PALETTE: "palette",
    _CMYK: "CMYK",
    _YCBCR: "YCbCr",
    8: "L*a*b*",
    9: "L*a*b*",
    10: "L*a*b*",
}
# Bits a sample and the numbers of samples, for each kind: what was compared with another decoder.
_TAKEN: Final = {
    (_WHITE_IS_ZERO, 1): {1},
    (_WHITE_IS_ZERO, 8): {1},
    (_WHITE_IS_ZERO, 16): {1},
    (_BLACK_IS_ZERO, 1): {1},
    (_BLACK_IS_ZERO, 2): {1},
    (_BLACK_IS_ZERO, 4): {1},
    (_BLACK_IS_ZERO, 8): {1, 2},
    (_BLACK_IS_ZERO, 16): {1},
    (_RGB, 8): {3, 4},
    (_RGB, 16): {3, 4},
    (_PALETTE, 1): {1},
    (_PALETTE, 2): {1},
    (_PALETTE, 4): {1},
    (_PALETTE, 8): {1},
    (_CMYK, 8): {4},
    (_CMYK, 16): {4},
    (_YCBCR, 8): {3},
}


@dataclass(slots=True)
class TiffHeader(Header):
    """A header that knows the file's first directory.

    Attributes:
        order: `<` or `>`.
        tags: Numbers of each tag that the picture needs.
    """

    order: str = "<"
    tags: dict[Tag, tuple[int, ...]] = field(default_factory=dict)


def read_header(data: bytes) -> TiffHeader:
    """Reads what a TIFF's first directory says.

    Raises:
        ImageError: it is broken, or of a kind that is not taken.
    """
    try:
        return _header(data, Directory(data))
    except ImageError:
        raise
    except (ValueError, struct.error):
        raise ImageError(
            "broken_image", "The TIFF image is broken or cut short; send the whole file."
        ) from None


def _header(data: bytes, directory: "Directory") -> TiffHeader:
    get = directory.number
    if data[8:10] == b"CR" or Tag.DNG in directory or get(Tag.SUBFILE, 0) & 1:
        raise _refused("This is a camera's raw file; send the JPEG that the camera makes of it.")
    width, height = get(Tag.WIDTH), get(Tag.HEIGHT)
    if not (width and height):
        raise ValueError("no size")
    tags = _checked(directory, data)
    bits = sum(tags[Tag.BITS])
    memory = width * height * (_BYTES_A_PIXEL + bits // 8) + len(data)
    if bits > _USUAL_BITS and memory > MAX_DECODING_MEMORY:
        most = (MAX_DECODING_MEMORY - len(data)) // (_BYTES_A_PIXEL + bits // 8)
        raise ImageError(
            "too_many_pixels",
            f"The TIFF image has {width} x {height} pixels of {bits} bits; send one of at most {most:,}.",
        )
    return TiffHeader(
        format="tiff",
        width=width,
        height=height,
        orientation=get(Tag.ORIENTATION, 1),
        profile=directory.content(Tag.PROFILE),
        memory=memory,
        order=directory.order,
        tags=tags,
    )


def open_image(data: bytes, header: Header) -> Image.Image:
    """Decodes a TIFF's first picture, neither turned nor mirrored."""
    from PIL import TiffImagePlugin

    tags = dict(cast(TiffHeader, header).tags)
    _check_places(data, tags)
    # Pillow does not invert 16 bits.
    inverted = tags[Tag.PHOTOMETRIC] == (_WHITE_IS_ZERO,) and tags[Tag.BITS] == (16,)
    if inverted:
        tags[Tag.PHOTOMETRIC] = (_BLACK_IS_ZERO,)
    _silence_libtiff()
    TiffImagePlugin.READ_LIBTIFF = True  # Pillow's own reader garbles 16-bit planes
    file = io.BytesIO(with_directory(data, cast(TiffHeader, header).order, tags))
    image = TiffImagePlugin.TiffImageFile(file)
    image.load()
    return Image.fromarray(np.invert(np.asarray(image)).astype(np.uint16)) if inverted else image


@functools.cache
def _silence_libtiff() -> None:
    """Keeps its words on broken files out of stderr, where the log's lines go; errors are raised anyway."""
    for region in Path("/proc/self/maps").read_text().splitlines():
        if "/libtiff" in region:
            set_handler = ctypes.CDLL(region.split(maxsplit=5)[5]).TIFFSetErrorHandler
            set_handler.restype, set_handler.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
            set_handler(None)
            return


def _check_places(data: bytes, tags: Mapping[Tag, tuple[int, ...]]) -> None:
    """Each piece is read whole: many of the same bytes would be a file many times as long as it is."""
    if sum(tags.get(Tag.STRIP_BYTES) or tags[Tag.TILE_BYTES]) > len(data):
        raise ValueError("pieces that lie over one another")


def _refused(sentence: str) -> ImageError:
    return ImageError("unsupported_format", sentence)


def _checked(directory: Directory, data: bytes) -> dict[Tag, tuple[int, ...]]:
    """Refuses what is not taken, and returns the tags that are written anew."""
    get = directory.number
    compression, photometric = get(Tag.COMPRESSION, 1), get(Tag.PHOTOMETRIC)
    samples, planar = get(Tag.SAMPLES, 1), get(Tag.PLANAR, 1)
    bits = directory.numbers(Tag.BITS, 64) or (1,)
    if compression not in _COMPRESSIONS:
        name = _OTHER_COMPRESSIONS.get(compression, f"number {compression}")
        raise _refused(
            f"TIFFs compressed by {name} are not accepted; save it with LZW or Deflate, or send a PNG."
        )
    if any(kind not in {1, 4} for kind in directory.numbers(Tag.SAMPLE_FORMAT, 64)):
        raise _refused(
            "TIFFs of signed or fractional numbers are not accepted; send one of 8 or 16 bits a sample."
        )
    kind = _KINDS.get(photometric, f"colour number {photometric}")
    if len(set(bits)) > 1 or samples not in _TAKEN.get((photometric, bits[0]), ()):
        raise _refused(
            f"TIFFs of {kind} in {samples} x {bits[0]} bits are not accepted; "
            "send one of 8 or 16 bits in grey or RGB."
        )
    if get(Tag.FILL_ORDER, 1) != 1:
        raise _refused(
            "TIFFs whose bits stand in reverse are not accepted; save it again with usual settings."
        )
    if photometric == _YCBCR and compression != _JPEG:
        raise _refused("TIFFs of YCbCr are accepted with JPEG compression alone; send one in RGB.")
    tags: dict[Tag, tuple[int, ...]] = {
        Tag.WIDTH: (get(Tag.WIDTH),),
        Tag.HEIGHT: (get(Tag.HEIGHT),),
        Tag.BITS: bits[:1] * samples,
        Tag.COMPRESSION: (compression,),
        Tag.PHOTOMETRIC: (photometric,),
        Tag.SAMPLES: (samples,),
        Tag.PLANAR: (planar,),
        **_pieces(
            directory,
            data,
            compression,
            bits[0] * (samples if planar == 1 else 1),
            samples if planar == 2 else 1,
        ),
    }
    for tag in (Tag.PREDICTOR, Tag.COLOUR_MAP, Tag.EXTRA_SAMPLES, Tag.SUBSAMPLING, Tag.POSITIONING):
        if found := directory.numbers(tag, 768):
            tags[tag] = found
    if tables := directory.content(Tag.JPEG_TABLES):
        tags[Tag.JPEG_TABLES] = tuple(tables)
    return tags


def _pieces(
    directory: Directory, data: bytes, compression: int, bits: int, planes: int
) -> dict[Tag, tuple[int, ...]]:
    """Where the strips or tiles lie, checked against the file's length and the picture's size."""
    get = directory.number
    width, height = get(Tag.WIDTH), get(Tag.HEIGHT)
    tiled = Tag.TILE_OFFSETS in directory
    if tiled:
        across, down = get(Tag.TILE_WIDTH), get(Tag.TILE_HEIGHT)
        if not 0 < across * down <= max(width * height, _PIECE_PIXELS):
            raise ValueError("tiles larger than the picture")
        due = -(-width // across) * -(-height // down)
        names, shape = (
            (Tag.TILE_OFFSETS, Tag.TILE_BYTES),
            {Tag.TILE_WIDTH: (across,), Tag.TILE_HEIGHT: (down,)},
        )
    else:
        down = min(get(Tag.ROWS_PER_STRIP, height) or height, height)
        due = -(-height // down)
        names, shape = (Tag.STRIP_OFFSETS, Tag.STRIP_BYTES), {Tag.ROWS_PER_STRIP: (down,)}
    offsets, lengths = (directory.numbers(name) for name in names)
    if compression == _NO_COMPRESSION and not lengths:  # some writers leave it out
        lengths = tuple(len(data) - offset for offset in offsets[:1])
    if len(offsets) != due * planes or len(lengths) != len(offsets):
        raise ValueError("pieces are missing")
    if compression == _NO_COMPRESSION and sum(lengths) * 8 < width * height * bits * planes:
        raise ValueError("pieces are too short")
    if compression == _JPEG and data.count(b"\xff\xda") > _SCANS_A_PIECE * len(offsets):
        raise too_many_parts("TIFF")
    return {**shape, names[0]: offsets, names[1]: lengths}
