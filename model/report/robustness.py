"""How much accuracy is left when pictures get worse: rotated, blurred, compressed, darker, brighter, grey."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter

from model.contract import CLASSES
from model.data.dataset import Split
from model.network.cnn import Classify

Degrade = Callable[[Image.Image, float], Image.Image]

PER_CLASS: Final = 200


def _rotate(image: Image.Image, degrees: float) -> Image.Image:
    # Mirrored beyond the border, so that no black corners are what is measured.
    pixels = np.pad(np.asarray(image), ((8, 8), (8, 8), (0, 0)), mode="reflect")
    turned = Image.fromarray(pixels).rotate(degrees, Image.Resampling.BILINEAR)
    return turned.crop((8, 8, 8 + image.width, 8 + image.height))


def _blur(image: Image.Image, radius: float) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(radius))


def _compress(image: Image.Image, quality: float) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=int(quality))
    return Image.open(buffer).convert("RGB")


def _brighten(image: Image.Image, factor: float) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(factor)


def _grey(image: Image.Image, _: float) -> Image.Image:
    return image.convert("L").convert("RGB")


DEGRADATIONS: Final[dict[str, tuple[Degrade, tuple[float, ...]]]] = {
    "rotation (degrees)": (_rotate, (-30, -15, -5, 5, 15, 30)),
    "blur (radius in pixels)": (_blur, (0.5, 1, 1.5, 2)),
    "JPEG quality": (_compress, (75, 50, 25, 10)),
    "brightness (factor)": (_brighten, (0.4, 0.7, 1.3, 1.6)),
    "grey": (_grey, (1,)),
}


@dataclass(frozen=True)
class Robustness:
    """Accuracy on degraded images.

    Attributes:
        images: How many of the split were used, the same for all: the first `PER_CLASS` of each class.
        plain: Accuracy on them as they are.
        degraded: Name of the degradation → its strength → accuracy.
    """

    images: int
    plain: float
    degraded: dict[str, dict[float, float]]


def robustness(split: Split, classify: Classify) -> Robustness:
    """Measure it.

    Args:
        split: Images that no choice was made on.
        classify: uint8 images `[N, 32, 32, 3]` → probabilities `[N, 5]`.
    """
    rows = np.concatenate(
        [np.flatnonzero(split.labels == label)[:PER_CLASS] for label in range(len(CLASSES))]
    )
    images, labels = split.images[rows], split.labels[rows]

    def accuracy(of: NDArray[np.uint8]) -> float:
        return float((classify(of).argmax(axis=1) == labels).mean())

    degraded = {
        name: {strength: accuracy(_all(images, degrade, strength)) for strength in strengths}
        for name, (degrade, strengths) in DEGRADATIONS.items()
    }
    return Robustness(len(rows), accuracy(images), degraded)


def _all(images: NDArray[np.uint8], degrade: Degrade, strength: float) -> NDArray[np.uint8]:
    return np.stack([np.asarray(degrade(Image.fromarray(image), strength)) for image in images])
