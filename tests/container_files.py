"""Writes HEIC, AVIF and TIFF files that their usual encoders do not write."""

import io
import struct
from collections.abc import Sequence
from itertools import product

import numpy as np
import pillow_heif
import tifffile
from numpy.typing import NDArray
from PIL import Image

from model.images.decode import read_header
from model.images.formats.heif import HeifHeader
from model.images.formats.heif_items import Property, write_items

TURNS = {1: (0, None), 2: (0, 1), 3: (2, None), 4: (0, 0), 5: (1, 0), 6: (3, None), 7: (1, 1), 8: (1, None)}
"""Of each orientation: quarter turns to the left; top and bottom (0) or left and right (1) exchanged."""

Items = list[tuple[bytes, list[Property], bytes]]


def heic(image: Image.Image, **options: object) -> bytes:
    """Encodes a picture with x265."""
    buffer = io.BytesIO()
    pillow_heif.from_pillow(image).save(buffer, **{"quality": 95, "chroma": 444, **options})
    return buffer.getvalue()


def deep_heic(samples: NDArray[np.uint16]) -> bytes:
    """Encodes grey `[H, W]` or RGB `[H, W, 3]` of 16 bits with 10 bits a sample."""
    buffer = io.BytesIO()
    mode = "I;16" if samples.ndim == 2 else "RGB;16"
    size = samples.shape[1], samples.shape[0]
    pillow_heif.from_bytes(mode, size, samples.tobytes()).save(buffer, quality=95, chroma=444)
    return buffer.getvalue()


def avif(image: Image.Image, **options: object) -> bytes:
    """Encodes a picture with libaom."""
    buffer = io.BytesIO()
    image.save(buffer, "AVIF", **{"quality": 95, "subsampling": "4:4:4", **options})
    return buffer.getvalue()


def items_of(data: bytes) -> Items:
    """Takes a file apart."""
    header = read_header(data)
    assert isinstance(header, HeifHeader)
    return [(item.kind, [known for known, _ in item.properties], item.data(data)) for item in header.items]


def together(
    data: bytes, items: Items, references: Sequence[tuple[bytes, int, tuple[int, ...]]] = ()
) -> bytes:
    """Writes items as a file of the same brands as another."""
    end = int.from_bytes(data[:4])
    return write_items(data[8:12] + data[16:end], items, references)


def with_properties(data: bytes, *more: Property) -> bytes:
    """Says more of the one item of a file."""
    ((kind, properties, content),) = items_of(data)
    return together(data, [(kind, [*properties, *more], content)])


def turned_file(data: bytes, orientation: int) -> bytes:
    """Has whoever shows a file turn and mirror it, by the container's own properties."""
    left, exchanged = TURNS[orientation]
    turning = [Property(b"irot", bytes([left]))] if left else []
    if exchanged is not None:
        turning.append(Property(b"imir", bytes([exchanged])))
    return with_properties(data, *turning)


def cropped_file(data: bytes, width: int, height: int, right: int, below: int) -> bytes:
    """Has whoever shows a file cut it to a size, its middle moved by this many half pixels."""
    content = struct.pack(">IIIIiIiI", width, 1, height, 1, right, 2, below, 2)
    return with_properties(data, Property(b"clap", content))


def with_exif(data: bytes, exif: bytes) -> bytes:
    """Puts metadata beside the one item of a file."""
    metadata = (b"Exif", [], bytes(4) + exif.removeprefix(b"Exif\0\0"))
    return together(data, [*items_of(data), metadata], [(b"cdsc", 1, (0,))])


def size_property(width: int, height: int) -> Property:
    """Says how large an item is."""
    return Property(b"ispe", struct.pack(">III", 0, width, height))


def grid(tile: bytes, columns: int, rows: int, width: int, height: int) -> bytes:
    """Writes a picture of equal tiles, as telephones do, out of a file of one; all show the same bytes.

    The result is as long as its tiles' number and one tile's data say.
    """
    ((kind, properties, content),) = items_of(tile)
    whole = [one for one in properties if one.kind not in {b"ispe", b"hvcC", b"av1C"}]
    layout = struct.pack(">BBBBII", 0, 1, rows - 1, columns - 1, width, height)
    items = [(b"grid", [size_property(width, height), *whole], layout)]
    items += [(kind, properties, content)] * (rows * columns)
    return together(tile, items, [(b"dimg", 0, tuple(range(1, rows * columns + 1)))])


def tiff(
    samples: NDArray[np.generic], byteorder: str = "<", bigtiff: bool = False, **options: object
) -> bytes:
    """Writes a TIFF in pure Python."""
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer, byteorder=byteorder, bigtiff=bigtiff) as writer:  # type: ignore[arg-type]
        writer.write(samples, metadata=None, **options)
    return buffer.getvalue()


def libtiff(image: Image.Image, **options: object) -> bytes:
    """Writes a TIFF by libtiff where it is compressed."""
    buffer = io.BytesIO()
    image.save(buffer, "TIFF", **options)
    return buffer.getvalue()


def fine(samples: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """16 bits whose low ones are not the high ones: they run the other way."""
    high = samples.astype(np.uint16)
    return high << 8 | 255 - high


def tiffs(rgb: NDArray[np.uint8], clear: NDArray[np.uint8]) -> dict[str, bytes]:
    """The picture in every kind of TIFF that is taken, by a name."""
    grey = rgb[..., 0]
    rgba = np.dstack([rgb, clear])
    planes = np.moveaxis(rgb, -1, 0).copy()
    files = {
        f"rgb-{bits}-{order}-{big}-{layout}-{compression}": tiff(
            samples,
            "<" if order == "little" else ">",
            big == "big",
            compression=None if compression == "none" else compression,
            predictor=compression == "deflate" and layout == "strips",
            **({"tile": (16, 32)} if layout == "tiles" else {"rowsperstrip": 7}),
            photometric="rgb",
        )
        for (bits, samples), order, big, layout, compression in product(
            ((8, rgb), (16, fine(rgb))),
            ("little", "endian"),
            ("classic", "big"),
            ("strips", "tiles"),
            ("none", "deflate"),
        )
    }
    for order in "<>":
        name = "little" if order == "<" else "endian"
        files[f"planes-8-{name}"] = tiff(planes, order, photometric="rgb", planarconfig="separate")
        files[f"planes-16-{name}"] = tiff(
            fine(planes), order, photometric="rgb", planarconfig="separate", rowsperstrip=5
        )
        files[f"grey-16-{name}"] = tiff(fine(grey), order, photometric="minisblack")
        files[f"white-is-zero-16-{name}"] = tiff(65535 - fine(grey), order, photometric="miniswhite")
    files["grey-8"] = tiff(grey, photometric="minisblack")
    files["white-is-zero-8"] = tiff(255 - grey, photometric="miniswhite")
    files["clear-8"] = tiff(rgba, photometric="rgb", extrasamples=["unassalpha"])
    files["clear-16"] = tiff(fine(rgba), photometric="rgb", extrasamples=["unassalpha"])
    image = Image.fromarray(rgb)
    for compression in ("tiff_lzw", "packbits", "tiff_adobe_deflate", "jpeg"):
        files[f"libtiff-{compression}"] = libtiff(
            image, compression=compression, **({"quality": 95} if compression == "jpeg" else {})
        )
    files["libtiff-cmyk"] = libtiff(image.convert("CMYK"), compression="tiff_lzw")
    files["libtiff-palette"] = libtiff(image.quantize(64), compression="packbits")
    files["libtiff-1-bit"] = libtiff(image.convert("1"))
    return files
