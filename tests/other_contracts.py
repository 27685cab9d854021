"""Versions of other contracts than the default's, and what each has to answer to a picture."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from serving import SmallModel

from model.contract import Contract
from model.images.decode import decode_image

TEN = ("zero", "one, two", "3", "четыре", "五", "six six", "seven", "eight", "nine", "ten")
SEVEN = SmallModel(7)
"""Layout 1: the five classes at 32 pixels."""
STRETCHED = SmallModel(8, Contract(classes=TEN, size=64), outputs=("probs", "logits"))
CROPPED = SmallModel(9, Contract(classes=TEN[::-1], size=64, fit="crop", filters=(), unlearned=(0, 3)))
MODELS = {str(model.version): model for model in (SEVEN, STRETCHED, CROPPED)}


def picture(seed: int = 0) -> bytes:
    """A wide PNG, so that each fit makes another square of it."""
    noise = np.random.default_rng(seed).integers(0, 256, (5, 12, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).resize((120, 50)).save(buffer, "PNG")
    return buffer.getvalue()


def decoded(contract: Contract, image: bytes) -> NDArray[np.uint8]:
    """A picture as the input of a version, `[1, size, size, 3]`."""
    return decode_image(image, size=contract.size, fit=contract.fit)[None]


def due(model: SmallModel, image: bytes) -> NDArray[np.float32]:
    """What a version has to answer to a picture."""
    return model.probs(decoded(model.contract, image))[0]
