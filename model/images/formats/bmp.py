"""BMP: its header's few fields, and pixels whose channels lie wherever masks say."""

import io
import struct
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import BmpImagePlugin, Image

from model.images.errors import ImageError
from model.images.header import Header

# Pillow's picture, or channels that are taken out of all pixels one by one.
_BYTES_A_PIXEL: Final = 5
_BYTES_A_PIXEL_OF_FIELDS: Final = 13
_OLDEST: Final = 12
_WITH_ALPHA_MASK: Final = 56
_BIT_FIELDS: Final = 3
_ALPHA_BIT_FIELDS: Final = 6
_EMBEDDED: Final = {4: "JPEG", 5: "PNG"}

# What Pillow reads, as bits and masks of red, green, blue and alpha.
_PILLOWS: Final = frozenset(
    (
        (16, 0xF800, 0x7E0, 0x1F, 0),
        (16, 0x7C00, 0x3E0, 0x1F, 0),
        (32, 0xFF0000, 0xFF00, 0xFF, 0),
        (32, 0xFF000000, 0xFF0000, 0xFF00, 0),
    )
)


def read_header(data: bytes) -> Header:
    """Reads the size; a negative height means rows from the top.

    Raises:
        ImageError: it is broken, or holds another format.
    """
    try:
        if int.from_bytes(data[14:18], "little") == _OLDEST:
            width, height = struct.unpack_from("<HH", data, 18)
            compression = 0
        else:
            width, height, compression = struct.unpack_from("<iixxxxI", data, 18)
    except struct.error:
        raise _broken() from None
    if compression in _EMBEDDED:
        name = _EMBEDDED[compression]
        raise ImageError("unsupported_format", f"The BMP has a {name} inside; send that itself.")
    fields = compression in {_BIT_FIELDS, _ALPHA_BIT_FIELDS}
    memory = abs(width * height) * (_BYTES_A_PIXEL_OF_FIELDS if fields else _BYTES_A_PIXEL)
    return Header("bmp", abs(width), abs(height), memory=memory)


def open_image(data: bytes, header: Header) -> Image.Image:
    """Opens it; bit fields that Pillow does not read, or whose alpha it leaves out, are read here."""
    length, _, height, _, bits, compression = struct.unpack_from("<IiiHHI", data, 14)
    if length > _OLDEST and compression in {_BIT_FIELDS, _ALPHA_BIT_FIELDS} and bits in {16, 32}:
        # Behind a header of the oldest kind of 40 bytes, inside of one that is longer.
        has_alpha = compression == _ALPHA_BIT_FIELDS or length >= _WITH_ALPHA_MASK
        masks = struct.unpack_from("<IIII" if has_alpha else "<III", data, 54) + (() if has_alpha else (0,))
        if compression == _ALPHA_BIT_FIELDS or (bits, *masks) not in _PILLOWS:
            return _bit_fields(data, header, bits, masks, from_top=height < 0)
    return BmpImagePlugin.BmpImageFile(io.BytesIO(data))


def _broken() -> ImageError:
    return ImageError("broken_image", "The BMP image is broken or cut short; send the whole file.")


def _bit_fields(
    data: bytes, header: Header, bits: int, masks: tuple[int, ...], *, from_top: bool
) -> Image.Image:
    """Reads rows of little-endian pixels, each row padded to four bytes."""
    width, height = header.width, header.height
    row = -(-width * bits // 32) * 4
    begin = int.from_bytes(data[10:14], "little")
    if len(data) < begin + row * height:
        raise _broken()
    stored = np.frombuffer(data, np.dtype(f"<u{bits // 8}"), row * height // (bits // 8), begin)
    stored = stored.reshape(height, -1)[:, :width]
    if not from_top:
        stored = stored[::-1]
    channels = [_channel(stored, mask) for mask in (masks if masks[3] else masks[:3])]
    # Programs that know of no alpha leave it 0 everywhere; browsers show such pictures too.
    if masks[3] and not channels[3].any():
        channels.pop()
    return Image.merge("RGBA" if len(channels) == 4 else "RGB", [Image.fromarray(one) for one in channels])


def _channel(stored: NDArray[np.unsignedinteger], mask: int) -> NDArray[np.uint8]:
    """Takes one channel out of all pixels, 0 to 255."""
    if not mask:
        return np.zeros(stored.shape, np.uint8)
    low = (mask & -mask).bit_length() - 1
    depth = mask.bit_length() - low
    if mask >> low != (1 << depth) - 1:
        raise ImageError("unsupported_format", "The BMP has channels with gaps; save it again with 24 bits.")
    values = (stored & mask) >> low
    most = (1 << min(depth, 8)) - 1
    levels: NDArray[np.uint8] = ((np.arange(most + 1) * 255 + most // 2) // most).astype(np.uint8)
    channel: NDArray[np.uint8] = levels[values >> max(0, depth - 8)]
    return channel
