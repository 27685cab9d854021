"""What is sent: small test images of the repository's sample, and what ONNX Runtime says to their pixels."""

import io
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image

from model.contract import CLASSES, INPUT_NAME, OUTPUT_NAME
from model.images.decode import decode_image

SAMPLE = Path("model/sample/cifar10-sample.zip")


@dataclass(frozen=True)
class Photograph:
    """One image as files have it, its pixels as the model takes them, and the answer that is right."""

    encoded: bytes
    pixels: NDArray[np.uint8]
    probabilities: NDArray[np.float32]


def small_images(count: int) -> list[bytes]:
    """Returns encoded test images of about 900 bytes, the classes in turn."""
    with zipfile.ZipFile(SAMPLE) as archive:
        names = [
            sorted(name for name in archive.namelist() if name.startswith(f"test/{one}/")) for one in CLASSES
        ]
        chosen = [names[number % len(CLASSES)][number // len(CLASSES)] for number in range(count)]
        return [archive.read(name) for name in chosen]


def twelve_megapixels(images: Sequence[bytes]) -> list[bytes]:
    """Returns 4000 x 3000 JPEGs of some megabytes each, as a telephone takes them."""
    return enlarged(images, 4000, 3000)


def enlarged(images: Sequence[bytes], width: int, height: int) -> list[bytes]:
    """Returns larger JPEGs of small images, under sensor noise: without it they would be too smooth.

    Too smooth a JPEG does not cost what a real one does.
    """
    noise = np.random.default_rng(12).normal(0, 6, (height, width, 1))
    photographs = []
    for data in images:
        with Image.open(io.BytesIO(data)) as small:
            pixels = np.asarray(
                small.convert("RGB").resize((width, height), Image.Resampling.BICUBIC), np.float32
            )
        file = io.BytesIO()
        Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8)).save(file, "JPEG", quality=88)
        photographs.append(file.getvalue())
    return photographs


def answered(
    encoded: Sequence[bytes], graph: Path, decode: Callable[[bytes], NDArray[np.uint8]] = decode_image
) -> list[Photograph]:
    """Decodes images and asks ONNX Runtime, one image at a time.

    Args:
        encoded: The images.
        graph: The classifier's ONNX file.
        decode: Encoded image → pixels of the graph's size.

    Raises:
        ValueError: two different images get answers too alike to tell a mix-up.
    """
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    photographs = []
    for data in encoded:
        pixels = decode(data)
        [probabilities] = session.run([OUTPUT_NAME], {INPUT_NAME: pixels[np.newaxis]})
        photographs.append(Photograph(data, pixels, probabilities[0]))
    answers = np.stack([photograph.probabilities for photograph in photographs])
    apart = np.abs(answers[:, np.newaxis] - answers[np.newaxis]).max(axis=2)
    np.fill_diagonal(apart, np.inf)
    if apart.min() < 1e-3:
        raise ValueError(
            f"two images' answers differ by {apart.min():.1e} only: swapped answers would go unnoticed"
        )
    return photographs
