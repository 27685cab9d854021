"""BMP: its header's few fields."""

import io
import struct
from typing import Final

from PIL import BmpImagePlugin, Image

from model.images.errors import ImageError
from model.images.header import Header

_BYTES_A_PIXEL: Final = 8
_OLDEST: Final = 12


def read_header(data: bytes) -> Header:
    """Reads the size; a negative height means rows from the top.

    Raises:
        ImageError: it is broken.
    """
    try:
        if int.from_bytes(data[14:18], "little") == _OLDEST:
            width, height = struct.unpack_from("<HH", data, 18)
        else:
            width, height = map(abs, struct.unpack_from("<ii", data, 18))
    except struct.error:
        raise ImageError(
            "broken_image", "The BMP image is broken or cut short; send the whole file."
        ) from None
    return Header("bmp", width, height, memory=width * height * _BYTES_A_PIXEL)


def open_image(data: bytes, header: Header) -> Image.Image:
    """Opens it."""
    return BmpImagePlugin.BmpImageFile(io.BytesIO(data))
