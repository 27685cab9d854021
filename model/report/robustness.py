"""How much accuracy is left when pictures get worse: rotated, blurred, compressed, darker, brighter, grey."""

import io
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter

from model.contract import IMAGE_SIZE
from model.data.dataset import Split
from model.network.cnn import Classify
from model.report.evaluate import is_learned

Degrade = Callable[[Image.Image, float], Image.Image]

PER_CLASS: Final = 200
"""Images of a class that are degraded, where there are few classes."""

_IMAGES: Final = 1000
_FEWEST_IMAGES: Final = 200
# From here on an image costs so much more that fewer have to do.
_LARGE: Final = 64


def _rotate(image: Image.Image, degrees: float) -> Image.Image:
    # Mirrored beyond the border, so that no black corners are what is measured.
    edge = image.width // 4
    pixels = np.pad(np.asarray(image), ((edge, edge), (edge, edge), (0, 0)), mode="reflect")
    turned = Image.fromarray(pixels).rotate(degrees, Image.Resampling.BILINEAR)
    return turned.crop((edge, edge, edge + image.width, edge + image.height))


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


_BLUR: Final = "blur (radius in pixels)"
DEGRADATIONS: Final[Mapping[str, tuple[Degrade, tuple[float, ...]]]] = {
    "rotation (degrees)": (_rotate, (-30, -15, -5, 5, 15, 30)),
    _BLUR: (_blur, (0.5, 1, 1.5, 2)),
    "JPEG quality": (_compress, (75, 50, 25, 10)),
    "brightness (factor)": (_brighten, (0.4, 0.7, 1.3, 1.6)),
    "grey": (_grey, (1,)),
}
"""Name → what is done to an image of 32 pixels, and its strengths."""


def degradations(size: int) -> dict[str, tuple[Degrade, tuple[float, ...]]]:
    """`DEGRADATIONS` for images of `size` pixels a side: what is told in pixels grows with them."""
    degrade, radii = DEGRADATIONS[_BLUR]
    return {**DEGRADATIONS, _BLUR: (degrade, tuple(radius * size / IMAGE_SIZE for radius in radii))}


@dataclass(frozen=True)
class Robustness:
    """Accuracy on degraded images.

    Attributes:
        images: How many of the split were used, the same for all: the first few of each class.
        plain: Accuracy on them as they are.
        degraded: Name of the degradation → its strength → accuracy.
    """

    images: int
    plain: float
    degraded: dict[str, dict[float, float]]


def robustness(split: Split, classify: Classify, unlearned: Collection[int] = ()) -> Robustness:
    """Measure it.

    Args:
        split: Images that no choice was made on.
        classify: uint8 images `[N, S, S, 3]` → probabilities `[N, C]`.
        unlearned: Class ids that it knows by name alone; their images are left out.
    """
    size = split.images.shape[1]
    learned = np.flatnonzero(is_learned(split.labels, unlearned))
    rows = learned[chosen(split.labels[learned], size)]
    images, right = split.images[rows], split.labels[rows]

    def accuracy(of: NDArray[np.uint8]) -> float:
        return float((classify(of).argmax(axis=1) == right).mean())

    degraded = {
        name: {strength: accuracy(_all(images, degrade, strength)) for strength in strengths}
        for name, (degrade, strengths) in degradations(size).items()
    }
    return Robustness(len(rows), accuracy(images), degraded)


def chosen(labels: NDArray[np.integer], size: int) -> NDArray[np.intp]:
    """Which images are degraded, `[M]`: the first few of each class, or of some classes where there are many.

    Args:
        labels: `[N]`, of all images.
        size: Side of the images in pixels; of large ones fewer are taken.
    """
    in_all = max(_FEWEST_IMAGES, min(_IMAGES, _IMAGES * _LARGE**2 // size**2))
    classes = np.unique(labels)
    a_class = max(1, min(PER_CLASS, in_all // len(classes)))
    some = classes[:: -(-len(classes) // in_all)]
    return np.concatenate([np.flatnonzero(labels == label)[:a_class] for label in some])


def _all(images: NDArray[np.uint8], degrade: Degrade, strength: float) -> NDArray[np.uint8]:
    return np.stack([np.asarray(degrade(Image.fromarray(image), strength)) for image in images])
