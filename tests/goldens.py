"""The golden images, what they decode to, and what makes them."""

import importlib.util
import io
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from PIL import Image

from model.images.header import Format
from model.images.limits import LIMITS, Limit

GOLDEN = Path(__file__).parent / "model" / "images" / "golden"
PINNED = dict(np.load(GOLDEN / "pixels.npz"))


def _module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("golden_make", GOLDEN / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MAKE = _module()


def encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    """Writes a picture."""
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def at_most(pixels: int = 10**9, file_bytes: int = 10**9) -> dict[Format, Limit]:
    """The same limits for all formats."""
    return dict.fromkeys(LIMITS, Limit(pixels, file_bytes))
