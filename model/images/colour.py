"""Colour profiles: how the colours of a small picture become sRGB's, which the network has learned."""

import hashlib
import io
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import numpy as np
from PIL import Image

ToSrgb = Callable[[Image.Image], Image.Image]
"""Takes a picture in the mode it was made for, and gives one in RGB."""

_MODES: Final = {b"GRAY": "L", b"RGB ": "RGB", b"CMYK": "CMYK"}
# What profiles of sRGB differ by among themselves, in levels of 255: rounding, and versions of its curve.
_SAME: Final = 2

_MOST_KNOWN: Final = 16
_MOST_KNOWN_BYTES: Final = 4_000_000
_known: OrderedDict[bytes, tuple[ToSrgb | None, int]] = OrderedDict()
_lock: Final = threading.Lock()


def to_srgb(profile: bytes, mode: str) -> ToSrgb | None:
    """Finds out how to bring a picture's colours to sRGB; the last few answers are remembered.

    Args:
        profile: An ICC profile as it stood in the file.
        mode: What the picture is in: L, RGB or CMYK.

    Returns:
        None where the colours stay as they are: the profile is sRGB's own, broken, or of another space than
        the picture.
    """
    if _mode(profile) != mode:
        return None
    key = _key(profile)
    with _lock:
        if key in _known:
            _known.move_to_end(key)
            return _known[key][0]
    made = _make(profile, mode)
    with _lock:
        _known[key] = made, len(profile)
        while len(_known) > _MOST_KNOWN or sum(size for _, size in _known.values()) > _MOST_KNOWN_BYTES:
            _known.popitem(last=False)
    return made


def is_known(profile: bytes) -> bool:
    """Tells whether `to_srgb` answers at once; a profile that is new takes it some milliseconds."""
    return _mode(profile) is None or _key(profile) in _known


def _mode(profile: bytes) -> str | None:
    """Returns the mode of the pictures that a profile is for, by its header (ICC.1:2022, 7.2.6)."""
    return _MODES.get(profile[16:20])


def _key(profile: bytes) -> bytes:
    return hashlib.blake2b(profile, digest_size=16).digest()


def _make(profile: bytes, mode: str) -> ToSrgb | None:
    # Most services meet no profile, and need not load the library.
    from PIL import ImageCms

    # For four channels the library would first fill a table of 83,521 colours, which takes as long as a
    # hundred pictures and is less exact.
    flags = ImageCms.Flags.NOOPTIMIZE if mode == "CMYK" else ImageCms.Flags.NONE
    try:
        transform = ImageCms.ImageCmsTransform(
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")),
            mode,
            "RGB",
            flags=flags,
        )
        shown = _shown(mode)
        moved = np.asarray(transform.apply(shown)).astype(int)
    except Exception:  # a dozen kinds, as for pictures; without its profile a picture is still one
        return None
    if mode != "CMYK" and np.abs(moved - np.asarray(shown.convert("RGB"))).max() <= _SAME:
        return None
    return transform.apply


def _shown(mode: str) -> Image.Image:
    """Makes a picture of colours from all over a mode's space."""
    if mode == "L":
        return Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    steps = np.linspace(0, 255, 9 if mode == "RGB" else 3).astype(np.uint8)
    grid = np.stack(np.meshgrid(*[steps] * len(mode), indexing="ij"), axis=-1)
    return Image.frombytes(mode, (grid.size // len(mode), 1), grid.tobytes())
