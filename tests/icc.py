"""Writes ICC profiles from what defines a colour space, for pictures that tests are made of (ICC.1:2022)."""

import struct
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

D65 = (0.3127, 0.3290)
D50 = (0.3457, 0.3585)
# Corners red, green, blue; white; and the exponent of the curve, None for sRGB's own (IEC 61966-2-1).
SPACES: dict[str, tuple[tuple[tuple[float, float], ...], tuple[float, float], float | None]] = {
    "srgb": (((0.64, 0.33), (0.30, 0.60), (0.15, 0.06)), D65, None),
    "display-p3": (((0.68, 0.32), (0.265, 0.69), (0.15, 0.06)), D65, None),
    "adobe-rgb": (((0.64, 0.33), (0.21, 0.71), (0.15, 0.06)), D65, 2.19921875),
    "prophoto": (((0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001)), D50, 1.8),
}
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def _xyz(chromaticity: tuple[float, float]) -> Matrix:
    x, y = chromaticity
    return np.array([x / y, 1, (1 - x - y) / y])


def to_xyz(space: str) -> Matrix:
    """Returns the matrix from a space's linear colours to XYZ with the white D50, which profiles use."""
    corners, white, _ = SPACES[space]
    columns = np.stack([_xyz(corner) for corner in corners], axis=1)
    matrix = columns * np.linalg.solve(columns, _xyz(white))
    scale = (_BRADFORD @ _xyz(D50)) / (_BRADFORD @ _xyz(white))
    return np.linalg.inv(_BRADFORD) @ np.diag(scale) @ _BRADFORD @ matrix


def linear(space: str, values: Matrix) -> Matrix:
    """Undoes a space's curve, 0 to 1."""
    exponent = SPACES[space][2]
    if exponent is not None:
        return values**exponent
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def curved(space: str, values: Matrix) -> Matrix:
    """Applies a space's curve, 0 to 1."""
    exponent = SPACES[space][2]
    if exponent is not None:
        return values ** (1 / exponent)
    return np.where(values <= 0.0031308, values * 12.92, 1.055 * values ** (1 / 2.4) - 0.055)


def from_srgb(space: str, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Writes the colours of an sRGB picture as they are stored in another space."""
    matrix = np.linalg.solve(to_xyz(space), to_xyz("srgb"))
    wanted = linear("srgb", picture / 255) @ matrix.T
    return np.rint(curved(space, wanted.clip(0, 1)) * 255).astype(np.uint8)


def _profile(colours: bytes, kind: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    table, content = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        table += name + struct.pack(">II", start + len(content), len(data))
        content += data + bytes(-len(data) % 4)
    head = struct.pack(
        ">I4xI4s4s4s12x4s", start + len(content), 0x04300000, kind, colours, connection, b"acsp"
    )
    white = struct.pack(">3i", *(round(value * 65536) for value in _xyz(D50)))
    return (head + bytes(28) + white).ljust(128, b"\0") + table + content


def _fixed(*values: float) -> bytes:
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))


def _curve(exponent: float | None) -> bytes:
    if exponent is not None:
        return b"curv" + struct.pack(">4xIH", 1, round(exponent * 256)) + bytes(2)
    return b"para" + struct.pack(">4xH2x", 3) + _fixed(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


def rgb_profile(space: str) -> bytes:
    """Writes a profile of three colours and a curve."""
    curve = _curve(SPACES[space][2])
    tags = {b"wtpt": b"XYZ \0\0\0\0" + _fixed(*_xyz(D50))}
    for name, column in zip((b"r", b"g", b"b"), to_xyz(space).T, strict=True):
        tags |= {name + b"XYZ": b"XYZ \0\0\0\0" + _fixed(*column), name + b"TRC": curve}
    return _profile(b"RGB ", b"mntr", b"XYZ ", tags)


def grey_profile(exponent: float) -> bytes:
    """Writes a profile of grey with a curve."""
    tags = {b"wtpt": b"XYZ \0\0\0\0" + _fixed(*_xyz(D50)), b"kTRC": _curve(exponent)}
    return _profile(b"GRAY", b"mntr", b"XYZ ", tags)


def cmyk_profile(to_srgb: Callable[[Matrix], Matrix]) -> bytes:
    """Writes a profile of four inks: a table of what they look like in steps of a fifth.

    Args:
        to_srgb: Takes inks `[N, 4]` to colours of sRGB `[N, 3]`, all 0 to 1.
    """
    inks = np.stack(np.meshgrid(*[np.linspace(0, 1, 6)] * 4, indexing="ij"), axis=-1).reshape(-1, 4)
    ratio = linear("srgb", to_srgb(inks)) @ to_xyz("srgb").T / _xyz(D50)
    root = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio * (29 / 6) ** 2 / 3 + 4 / 29)
    x, y, z = root.T
    lab = np.stack([(116 * y - 16) * 2.55, 500 * (x - y) + 128, 200 * (y - z) + 128], axis=-1)
    ramp = bytes(range(256))
    table = np.rint(lab).clip(0, 255).astype(np.uint8).tobytes()
    unit = _fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
    lut = b"mft1" + struct.pack(">4x4B", 4, 3, 6, 0) + unit + ramp * 4 + table + ramp * 3
    tags = {b"wtpt": b"XYZ \0\0\0\0" + _fixed(*_xyz(D50)), b"A2B0": lut}
    return _profile(b"CMYK", b"prtr", b"Lab ", tags)
