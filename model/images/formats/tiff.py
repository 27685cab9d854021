"""TIFF and BigTIFF (TIFF 6.0, Adobe's notes): the first picture of a file, of 8 or 16 bits a sample or less.

Its directory is read here, once, and every kind that is not known to be decoded rightly is refused by name. libtiff gets
a directory that is written anew, of what the picture needs alone: other pages, metadata and broken tags cost nothing.
"""

import io
import struct
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image, ImageCms

from model.images.errors import ImageError
from model.images.header import Header

_MOST_ENTRIES: Final = 1000
_MOST_PIECES: Final = 20_000
_SCANS_A_PIECE: Final = 10
_PIECE_PIXELS: Final = 1 << 20

_SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 254, 256, 257, 258, 259, 262
_FILL_ORDER, _STRIP_OFFSETS, _ORIENTATION, _SAMPLES, _ROWS_PER_STRIP, _STRIP_BYTES = 266, 273, 274, 277, 278, 279
_PLANAR, _PREDICTOR, _COLOUR_MAP, _TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_BYTES = 284, 317, 320, 322, 323, 324, 325
_EXTRA_SAMPLES, _SAMPLE_FORMAT, _JPEG_TABLES, _SUBSAMPLING, _POSITIONING, _REFERENCES = 338, 339, 347, 530, 531, 532
_PROFILE, _DNG = 34675, 50706

_NUMBERS: Final = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
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
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR, _LAB = 0, 1, 2, 3, 5, 6, 8
_KINDS: Final = {
    _WHITE_IS_ZERO: "grey",
    _BLACK_IS_ZERO: "grey",
    _RGB: "RGB",
    _PALETTE: "palette",
    _CMYK: "CMYK",
    _YCBCR: "YCbCr",
    _LAB: "L*a*b*",
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
    (_LAB, 8): {3},
}


@dataclass(slots=True)
class TiffHeader(Header):
    """A header that knows the file's first directory.

    Attributes:
        order: `<` or `>`.
        tags: Numbers of each tag that the picture needs.
    """

    order: str = "<"
    tags: tuple[tuple[int, tuple[int, ...]], ...] = ()


def read_header(data: bytes) -> TiffHeader:
    """Reads what a TIFF's first directory says.

    Raises:
        ImageError: it is of a kind that is not taken.
        ValueError, struct.error: it is broken.
    """
    directory = _Directory(data)
    get = directory.number
    if data[8:10] == b"CR" or _DNG in directory or (get(_SUBFILE, 0) & 1 and len(data) > 8):
        raise _refused("This is a camera's raw file; send the JPEG that the camera makes of it.")
    width, height = get(_WIDTH), get(_HEIGHT)
    if not (width and height):
        raise ValueError("no size")
    tags = _checked(directory, data)
    return TiffHeader(
        format="tiff",
        width=width,
        height=height,
        orientation=get(_ORIENTATION, 1),
        profile=directory.content(_PROFILE),
        order=directory.order,
        tags=tags,
    )


def open_tiff(data: bytes, header: Header) -> Image.Image:
    """Decodes a TIFF's first picture, neither turned nor mirrored; L*a*b* becomes sRGB."""
    from PIL import TiffImagePlugin

    assert isinstance(header, TiffHeader)
    TiffImagePlugin.READ_LIBTIFF = True  # Pillow's own reader garbles 16-bit planes
    image: Image.Image = TiffImagePlugin.TiffImageFile(io.BytesIO(_written(data, header)))
    image.load()
    tags = dict(header.tags)
    if tags[_PHOTOMETRIC] == (_WHITE_IS_ZERO,) and tags[_BITS][0] == 16:
        return Image.fromarray(np.invert(np.asarray(image)).astype(np.uint16))
    if image.mode == "LAB":
        return ImageCms.profileToProfile(image, ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), outputMode="RGB") or image
    return image


def _refused(sentence: str) -> ImageError:
    return ImageError("unsupported_format", sentence)


class _Directory:
    """The entries of a file's first directory."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.order = "<" if data[:2] == b"II" else ">"
        (version,) = struct.unpack_from(self.order + "H", data, 2)
        big = version == 43
        (start,) = struct.unpack_from(self.order + ("Q" if big else "I"), data, 8 if big else 4)
        (count,) = struct.unpack_from(self.order + ("Q" if big else "H"), data, start)
        if count > _MOST_ENTRIES:
            raise _refused("The TIFF has too many entries; save it again with usual settings.")
        start += 8 if big else 2
        self._inline = 8 if big else 4
        entry = struct.Struct(self.order + ("HHQ" if big else "HHI"))
        step = entry.size + self._inline
        self._entries: dict[int, tuple[int, int, int]] = {}
        for position in range(start, start + count * step, step):
            tag, kind, length = entry.unpack_from(data, position)
            self._entries.setdefault(tag, (kind, length, position + entry.size))

    def __contains__(self, tag: int) -> bool:
        return tag in self._entries

    def _place(self, tag: int, size: int, count: int) -> int:
        *_, position = self._entries[tag]
        if size * count > self._inline:
            (position,) = struct.unpack_from(self.order + ("Q" if self._inline == 8 else "I"), self._data, position)
        if position + size * count > len(self._data):
            raise ValueError("an entry is cut short")
        return position

    def numbers(self, tag: int, most: int = _MOST_PIECES) -> tuple[int, ...]:
        """All numbers of an entry; none where it is missing."""
        if tag not in self._entries:
            return ()
        kind, count, _ = self._entries[tag]
        if kind not in _NUMBERS:
            raise ValueError("an entry of another type")
        if count > most:
            raise _refused("The TIFF is cut into too many pieces; save it again with usual settings.")
        letter = _NUMBERS[kind]
        place = self._place(tag, struct.calcsize("=" + letter), count)
        return struct.unpack_from(f"{self.order}{count}{letter}", self._data, place)

    def number(self, tag: int, otherwise: int | None = None) -> int:
        """The first number of an entry."""
        found = self.numbers(tag)
        if found:
            return found[0]
        if otherwise is None:
            raise ValueError("an entry is missing")
        return otherwise

    def content(self, tag: int) -> bytes | None:
        """An entry's bytes."""
        if tag not in self._entries:
            return None
        kind, count, _ = self._entries[tag]
        if kind not in {1, 7}:
            return None
        place = self._place(tag, 1, count)
        return self._data[place : place + count]


def _checked(directory: _Directory, data: bytes) -> tuple[tuple[int, tuple[int, ...]], ...]:
    """Refuses what is not taken, and returns the tags that are written anew."""
    get = directory.number
    compression, photometric = get(_COMPRESSION, 1), get(_PHOTOMETRIC)
    samples, planar = get(_SAMPLES, 1), get(_PLANAR, 1)
    bits = directory.numbers(_BITS, 64) or (1,)
    if compression not in _COMPRESSIONS:
        name = _OTHER_COMPRESSIONS.get(compression, f"number {compression}")
        raise _refused(f"TIFFs compressed by {name} are not accepted; save it with LZW or Deflate, or send a PNG.")
    if any(kind not in {1, 4} for kind in directory.numbers(_SAMPLE_FORMAT, 64)):
        raise _refused("TIFFs of signed or fractional numbers are not accepted; send one of 8 or 16 bits a sample.")
    kind = _KINDS.get(photometric, f"colour number {photometric}")
    if len(set(bits)) > 1 or samples not in _TAKEN.get((photometric, bits[0]), ()):
        raise _refused(
            f"TIFFs of {kind} in {samples} x {bits[0]} bits are not accepted; send one of 8 or 16 bits in grey or RGB."
        )
    if get(_FILL_ORDER, 1) != 1:
        raise _refused("TIFFs whose bits stand in reverse are not accepted; save it again with usual settings.")
    if photometric == _YCBCR and compression != _JPEG:
        raise _refused("TIFFs of YCbCr are accepted with JPEG compression alone; send one in RGB.")
    tags = {
        _WIDTH: (get(_WIDTH),),
        _HEIGHT: (get(_HEIGHT),),
        _BITS: bits[:1] * samples,
        _COMPRESSION: (compression,),
        _PHOTOMETRIC: (photometric,),
        _SAMPLES: (samples,),
        _PLANAR: (planar,),
        **_pieces(directory, data, compression, bits[0] * (samples if planar == 1 else 1), samples if planar == 2 else 1),
    }
    for tag in (_PREDICTOR, _COLOUR_MAP, _EXTRA_SAMPLES, _SUBSAMPLING, _POSITIONING):
        if found := directory.numbers(tag, 768):
            tags[tag] = found
    if tables := directory.content(_JPEG_TABLES):
        tags[_JPEG_TABLES] = tuple(tables)
    return tuple(sorted(tags.items()))


def _pieces(directory: _Directory, data: bytes, compression: int, bits: int, planes: int) -> dict[int, tuple[int, ...]]:
    """Where the strips or tiles lie, checked against the file's length and the picture's size."""
    get = directory.number
    width, height = get(_WIDTH), get(_HEIGHT)
    tiled = _TILE_OFFSETS in directory
    if tiled:
        across, down = get(_TILE_WIDTH), get(_TILE_HEIGHT)
        if not 0 < across * down <= max(width * height, _PIECE_PIXELS):
            raise ValueError("tiles larger than the picture")
        due = -(-width // across) * -(-height // down)
        names, shape = (_TILE_OFFSETS, _TILE_BYTES), {_TILE_WIDTH: (across,), _TILE_HEIGHT: (down,)}
    else:
        down = min(get(_ROWS_PER_STRIP, height) or height, height)
        due = -(-height // down)
        names, shape = (_STRIP_OFFSETS, _STRIP_BYTES), {_ROWS_PER_STRIP: (down,)}
    offsets, lengths = (directory.numbers(name) for name in names)
    if compression == _NO_COMPRESSION and not lengths:  # some writers leave it out
        lengths = tuple(len(data) - offset for offset in offsets[:1])
    if len(offsets) != due * planes or len(lengths) != len(offsets):
        raise ValueError("pieces are missing")
    if any(offset + length > len(data) for offset, length in zip(offsets, lengths, strict=True)):
        raise ValueError("the file is cut short")
    if sum(lengths) > len(data):
        raise ValueError("pieces lie over one another")
    if compression == _NO_COMPRESSION and sum(lengths) * 8 < width * height * bits * planes:
        raise ValueError("the file is cut short")
    if compression == _JPEG and data.count(b"\xff\xda") > _SCANS_A_PIECE * len(offsets):
        raise _refused("The TIFF has too many parts; save it again with usual settings.")
    return {**shape, names[0]: offsets, names[1]: lengths}


def _written(data: bytes, header: TiffHeader) -> bytes:
    """Puts a directory of a header's tags, and of no others, before the file's bytes."""
    tags = dict(header.tags)
    if tags[_PHOTOMETRIC] == (_WHITE_IS_ZERO,) and tags[_BITS][0] == 16:
        tags[_PHOTOMETRIC] = (_BLACK_IS_ZERO,)  # Pillow does not invert 16 bits
    length = 8 + 2 + 12 * len(tags) + 4
    behind = length + sum(size for tag, numbers in tags.items() if (size := len(numbers) * _size(tag)) > 4)
    for tag in (_STRIP_OFFSETS, _TILE_OFFSETS):
        if tag in tags:
            tags[tag] = tuple(offset + behind for offset in tags[tag])
    entries, contents = b"", b""
    for tag, numbers in sorted(tags.items()):
        size = _size(tag)
        content = struct.pack(f"{header.order}{len(numbers)}{_LETTERS[size]}", *numbers)
        kind = 7 if tag == _JPEG_TABLES else {2: 3, 4: 4}[size]
        entries += struct.pack(header.order + "HHI", tag, kind, len(numbers))
        if len(content) <= 4:
            entries += content.ljust(4, b"\0")
        else:
            entries += struct.pack(header.order + "I", length + len(contents))
            contents += content
    start = struct.pack(header.order + "2sHI", b"II" if header.order == "<" else b"MM", 42, 8)
    directory = struct.pack(header.order + "H", len(tags)) + entries + bytes(4)
    return start + directory + contents + data


_LETTERS: Final = {1: "B", 2: "H", 4: "I"}
_LONG: Final = {_WIDTH, _HEIGHT, _ROWS_PER_STRIP, _TILE_WIDTH, _TILE_HEIGHT, _STRIP_OFFSETS, _STRIP_BYTES, _TILE_OFFSETS, _TILE_BYTES}


def _size(tag: int) -> int:
    return 1 if tag == _JPEG_TABLES else 4 if tag in _LONG else 2
