"""One's own pictures as files: made by chance, each of its own, and all of them pictures."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image


def a_picture(seed: int, side: int = 40) -> Image.Image:
    """A picture like no other: soft blots of colour."""
    blots = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    return Image.fromarray(blots).resize((side, side), Image.Resampling.BICUBIC)


def write_classes(folder: Path, classes: Mapping[str, int], *, side: int = 40) -> Path:
    """A folder for each class with so many JPEGs in it."""
    for number, (label, count) in enumerate(classes.items()):
        (folder / label).mkdir(parents=True)
        for picture in range(count):
            a_picture(number * 100_000 + picture, side).save(folder / label / f"{picture:03}.jpg", quality=92)
    return folder
