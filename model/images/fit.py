"""How a picture becomes the network's square: squeezed with antialiasing, and turned upright."""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.contract import IMAGE_SIZE

# The alpha channel is multiplied in before pixels are averaged, or the colour of transparent ones would leak.
PREMULTIPLIED: Final = "RGBa"

_TURNS: Final[dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]]] = {
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.transpose(1, 0, 2),
    6: lambda image: np.rot90(image, -1),
    7: lambda image: image[::-1, ::-1].transpose(1, 0, 2),
    8: np.rot90,
}


def shrink(image: Image.Image, mode: str) -> Image.Image:
    """Converts to a mode and squeezes to 32x32, as Pillow's `resize` with `reducing_gap=3` does.

    A large picture is converted and averaged in bands of rows, so that the decoder's own buffer stays the
    only large one.
    """
    width, height = image.size
    across, down = (max(1, int(side / IMAGE_SIZE / 3)) for side in image.size)
    if (across, down) == (1, 1):
        return _convert(image, mode).resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BICUBIC)
    small = Image.new(mode, (-(-width // across), -(-height // down)))
    rows = down * max(1, 1_000_000 // (width * down))
    for top in range(0, height, rows):
        band = image.crop((0, top, width, min(top + rows, height)))
        small.paste(_convert(band, mode).reduce((across, down)), (0, top // down))
    return small.resize(
        (IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BICUBIC, box=(0, 0, width / across, height / down)
    )


def _convert(image: Image.Image, mode: str) -> Image.Image:
    if mode == PREMULTIPLIED:
        image = image.convert("RGBA")
    return image.convert(mode)


def turn(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Turns `[32, 32, 3]` upright by EXIF's orientation; what is none of 2 to 8 means upright already."""
    return np.ascontiguousarray(_TURNS[orientation](pixels)) if orientation in _TURNS else pixels
