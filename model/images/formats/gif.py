"""GIF: a walk up to its first frame, which is the picture."""

import io
from typing import Final

from PIL import GifImagePlugin, Image

from model.images.errors import ImageError
from model.images.header import Header
from model.images.limits import most_parts, too_many_parts

_EXTENSION: Final = 0x21
_FRAME: Final = 0x2C
# The screen and its first frame, each in a byte a pixel, and the white screen in four.
_BYTES_A_PIXEL: Final = 9


def read_header(data: bytes) -> Header:
    """Walks over the extensions to the first frame, which makes the screen larger where it outgrows it.

    Raises:
        ImageError: it is broken, or has too many parts.
    """
    if len(data) < 13:
        raise ImageError("broken_image", "The GIF image is broken or cut short; send the whole file.")
    width = int.from_bytes(data[6:8], "little")
    height = int.from_bytes(data[8:10], "little")
    position = 13 + (3 << ((data[10] & 7) + 1) if data[10] & 0x80 else 0)
    left = most_parts(data)
    while position < len(data) and data[position] != _FRAME:
        left -= 1
        if data[position] == _EXTENSION:
            position += 2
            while position < len(data) and data[position]:
                position += 1 + data[position]
                left -= 1
                if left < 0:
                    break
        if left < 0:
            raise too_many_parts("GIF")
        position += 1  # an extension's end, or a stray byte, which Pillow passes over too
    if position + 9 <= len(data):
        x, y, across, down = (
            int.from_bytes(data[start : start + 2], "little")
            for start in range(position + 1, position + 9, 2)
        )
        width, height = max(width, x + across), max(height, y + down)
    return Header("gif", width, height, memory=width * height * _BYTES_A_PIXEL)


def open_image(data: bytes, header: Header) -> Image.Image:
    """Opens it at its first frame; what the frame leaves of the screen is white, as what is clear becomes."""
    image = GifImagePlugin.GifImageFile(io.BytesIO(data))
    box = image.tile[0].extents
    # Around a frame with a transparent colour Pillow fills that one in, around any other entry 0.
    if box in {None, (0, 0, header.width, header.height)} or "transparency" in image.info:
        return image
    screen = Image.new("RGB", image.size, "white")
    screen.paste(image.crop(box).convert("RGB"), box[:2])
    return screen
