"""One's own pictures as files: made by chance, each of its own, and all of them pictures."""

from collections.abc import Mapping
from pathlib import Path
from zlib import crc32

import numpy as np
from PIL import Image


def a_picture(seed: int, side: int = 40) -> Image.Image:
    """A picture like no other: soft blots of colour."""
    blots = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    return Image.fromarray(blots).resize((side, side), Image.Resampling.BICUBIC)


def write_classes(folder: Path, classes: Mapping[str, int], *, side: int = 40) -> Path:
    """A folder for each class with so many JPEGs in it."""
    for label, count in classes.items():
        (folder / label).mkdir(parents=True)
        for number in range(count):
            picture = a_picture(crc32(f"{label} {number}".encode()), side)
            picture.save(folder / label / f"{number:03}.jpg", quality=92)
    return folder
