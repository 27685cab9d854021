"""How a picture becomes the network's square: what of it, squeezed with antialiasing, turned upright."""

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.contract import Fit

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
# The orientations whose stored columns, and whose stored rows, run against what is seen.
_COLUMNS_RUN_BACK: Final = frozenset((2, 3, 7, 8))
_ROWS_RUN_BACK: Final = frozenset((3, 4, 6, 7))


class Frame(NamedTuple):
    """Which part of a picture becomes which part of the square, both as the picture is stored.

    Attributes:
        box: Of the picture: left, top, right, bottom, in pixels.
        inner: Width and height that the box is squeezed to; the square's own but for `pad`.
        at: Where that lies in the square: left, top.
    """

    box: tuple[int, int, int, int]
    inner: tuple[int, int]
    at: tuple[int, int]


def frame(width: int, height: int, size: int, fit: Fit, orientation: int = 1) -> Frame:
    """Find the frame of a picture that is not yet turned.

    What is left over is halved; where it is odd, the greater half is right and below in the upright picture,
    so that a picture gives the same square however it is stored.

    Args:
        width: Of the picture, in pixels.
        height: Likewise.
        size: Side of the square.
        fit: `stretch` takes all of the picture for all of the square, `crop` its largest centred square,
            `pad` all of it for as much of the square as keeps its shape.
        orientation: EXIF's, of the turn that is still to come.
    """
    if fit == "crop":
        side = min(width, height)
        left, top = _before(width - side, height - side, orientation)
        return Frame((left, top, left + side, top + side), (size, size), (0, 0))
    whole = 0, 0, width, height
    if fit == "pad":
        longer = max(width, height)
        across, down = (max(1, (2 * side * size + longer) // (2 * longer)) for side in (width, height))
        return Frame(whole, (across, down), _before(size - across, size - down, orientation))
    return Frame(whole, (size, size), (0, 0))


def _before(across: int, down: int, orientation: int) -> tuple[int, int]:
    """Halves what is left over: how much of it lies left of, and above, what is kept."""
    return (
        (across + (orientation in _COLUMNS_RUN_BACK)) // 2,
        (down + (orientation in _ROWS_RUN_BACK)) // 2,
    )


def shrink(image: Image.Image, mode: str, within: Frame) -> Image.Image:
    """Converts to a mode and squeezes the frame's box, as Pillow's `resize` with `reducing_gap=3` does.

    A large picture that has to be converted is, and is averaged, in bands of rows, so that the decoder's own
    buffer stays the only large one.
    """
    (left, top, right, bottom), inner = within.box, within.inner
    width, height = right - left, bottom - top
    across, down = max(1, int(width / inner[0] / 3)), max(1, int(height / inner[1] / 3))
    if (across, down) == (1, 1):
        if (width, height) != image.size:
            image = image.crop(within.box)
        return _convert(image, mode).resize(inner, Image.Resampling.BICUBIC)
    if image.mode == mode:
        small = image.reduce((across, down), within.box)
    else:
        small = Image.new(mode, (-(-width // across), -(-height // down)))
        rows = down * max(1, 1_000_000 // (width * down))
        for start in range(0, height, rows):
            band = image.crop((left, top + start, right, top + min(start + rows, height)))
            small.paste(_convert(band, mode).reduce((across, down)), (0, start // down))
    return small.resize(inner, Image.Resampling.BICUBIC, box=(0, 0, width / across, height / down))


def _convert(image: Image.Image, mode: str) -> Image.Image:
    if image.mode == mode:
        return image
    if mode == PREMULTIPLIED:
        image = image.convert("RGBA")
    return image.convert(mode)


def border(pixels: NDArray[np.uint8], within: Frame, size: int) -> NDArray[np.uint8]:
    """Lays `[height, width, 3]` into a black square, where it does not fill it: `[size, size, 3]`."""
    width, height = within.inner
    if width == height == size:
        return pixels
    square = np.zeros((size, size, 3), np.uint8)
    left, top = within.at
    square[top : top + height, left : left + width] = pixels
    return square


def turn(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Turns `[size, size, 3]` upright by EXIF's orientation; what is none of 2 to 8 means upright already."""
    return np.ascontiguousarray(_TURNS[orientation](pixels)) if orientation in _TURNS else pixels
