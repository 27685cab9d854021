"""A map as a picture to lay over the one that it explains."""

import base64
import io
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# From what hardly counts to what counts most: told apart by lightness too, on light and on dark pictures.
_COLOURS: Final = np.array([(178, 24, 43), (239, 105, 30), (255, 214, 51)], np.float32)
_MOST: Final = 190  # of 255: what is below stays to be seen
_SURE: Final = 3.0
"""So many standard errors a pixel has to be above 0 to be coloured: of some hundred independent ones that say
nothing, the highest is about 2.5 above."""


def overlay(values: NDArray[np.float32], error: float) -> bytes:
    """Draws a map: yellow where the class rests most, clear where nothing speaks for it.

    Args:
        values: FP32 `[size, size]`, as `Slopes.map` gives it.
        error: Their standard error.

    Returns:
        A PNG of that size, RGBA.
    """
    least = _SURE * error
    heat = np.clip((values - least) / max(float(values.max()) - least, 1e-9), 0, 1)
    steps = np.linspace(0, 1, len(_COLOURS))
    drawn = np.empty((*values.shape, 4), np.uint8)
    for channel in range(3):
        drawn[..., channel] = np.interp(heat, steps, _COLOURS[:, channel])
    drawn[..., 3] = _MOST * np.sqrt(heat)
    file = io.BytesIO()
    Image.fromarray(drawn).save(file, "PNG")
    return file.getvalue()


def data_url(png: bytes) -> str:
    """Returns a PNG as an address that a page can name."""
    return "data:image/png;base64," + base64.b64encode(png).decode()
