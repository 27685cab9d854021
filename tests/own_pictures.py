"""Small trees of pictures that differ from one another, for the tests of own pictures."""

import io
from collections.abc import Mapping
from pathlib import Path
from zlib import crc32

import numpy as np
from PIL import Image


def paint(seed: int, side: int = 40, form: str = "PNG") -> bytes:
    """An encoded picture of coarse noise; no two seeds look the same."""
    small = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC).save(buffer, form)
    return buffer.getvalue()


def painted(classes: Mapping[str, int], side: int = 40, seed: int = 0) -> dict[str, bytes]:
    """`<class>/<number>.png` → its bytes, as many as wished of each class."""
    return {
        f"{name}/{number}.png": paint(seed + 1000 * place + number, side)
        for place, (name, count) in enumerate(classes.items())
        for number in range(count)
    }


def lay(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Write files below a folder."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def write_classes(folder: Path, classes: Mapping[str, int], side: int = 40) -> Path:
    """A folder for each class with so many JPEGs in it; a class has the same ones beside whatever others."""
    return lay(
        folder,
        {
            f"{name}/{number:03}.jpg": paint(crc32(f"{name} {number}".encode()), side, "JPEG")
            for name, count in classes.items()
            for number in range(count)
        },
    )
