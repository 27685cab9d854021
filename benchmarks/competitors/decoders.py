"""An image to pixels, as a competitor is told by its environment; it needs no ONNX Runtime.

Environment: COMPETITOR_SIZE, the side of the network's input, by default 32; COMPETITOR_DECODER, one of
`DECODERS`, by default ours.
"""

import io
import os
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.images.decode import decode_image

Pixels = NDArray[np.uint8]


def ours(data: bytes, size: int) -> Pixels:
    """This product's decoder."""
    return decode_image(data, size=size)


def pillow(data: bytes, size: int) -> Pixels:
    """Pillow as tutorials have it: the whole picture is decoded."""
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB").resize((size, size)))


def pillow_draft(data: bytes, size: int) -> Pixels:
    """Pillow as who has read its documentation has it: a large JPEG is decoded at a fraction of its size."""
    image = Image.open(io.BytesIO(data))
    image.draft("RGB", (size, size))
    return np.asarray(image.convert("RGB").resize((size, size), reducing_gap=3))


DECODERS: Final[Mapping[str, Callable[[bytes, int], Pixels]]] = {
    "ours": ours,
    "pillow": pillow,
    "pillow-draft": pillow_draft,
}


def size() -> int:
    """The side of the graph's input."""
    return int(os.environ.get("COMPETITOR_SIZE", "32"))


def decoder() -> Callable[[bytes], Pixels]:
    """What the environment names: an encoded image to pixels, `[size, size, 3]`."""
    decode, side = DECODERS[os.environ.get("COMPETITOR_DECODER", "ours")], size()
    return lambda data: decode(data, side)
