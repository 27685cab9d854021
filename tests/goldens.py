"""The golden images, what they decode to, and what makes them."""

import importlib.util
import io
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from PIL import Image

from model.images.header import Format
from model.images.limits import LIMITS, Limit

GOLDEN = Path(__file__).parent / "model" / "images" / "golden"
PINNED = dict(np.load(GOLDEN / "pixels.npz"))
PINNED_FITS = dict(np.load(GOLDEN / "fits.npz"))
"""By name, size and fit, with a space between them."""


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


_MEASURE = """
import re, sys
from pathlib import Path
from model.images.decode import decode_image
from model.images.limits import LIMITS, Limit
def peak():  # not getrusage's, which a process inherits from the one that started it
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
decode_image(Path(sys.argv[1]).read_bytes())
data = Path(sys.argv[2]).read_bytes()
before = peak()
decode_image(data, limits=dict.fromkeys(LIMITS, Limit(10**9, 10**9)))
print((peak() - before) // 1024)
"""


def grown_megabytes(picture: Path) -> int:
    """What a fresh process's memory grows by when it decodes a picture, the file itself not counted."""
    command = [sys.executable, "-c", _MEASURE, str(GOLDEN / "square.png"), str(picture)]
    run = subprocess.run(command, capture_output=True, text=True, check=True, cwd=GOLDEN.parents[3])
    return int(run.stdout)
