"""Every format against programs that share no code with ours: FFmpeg's own decoders, and tifffile in Python.

FFmpeg (by PyAV) reads JPEG, PNG, WebP, GIF, BMP, TIFF, HEVC and AV1 with decoders of its own; ours are
libjpeg-turbo, Pillow, libwebp, libtiff, libde265, libavif. It gives the pixels as they are stored; they are
turned and cropped here as the file's header says, and go through a PNG to the network's size.
"""

import re
from pathlib import Path

import av
import numpy as np
import pytest
import tifffile
from goldens import GOLDEN, PINNED, encoded
from numpy.typing import NDArray
from PIL import Image

from model.images.decode import decode_image, read_header
from model.images.formats.heif import HeifHeader

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Mean and largest difference, of 255. FFmpeg scales half-size colours up in blocks, ours smoothly.
BY_FORM = {
    "jpeg": (1, 3),
    "jpg": (1.2, 5),
    "heic": (0.6, 4),
    "avif": (0.6, 4),
    "webp": (0, 0),
    "gif": (0, 0),
    "bmp": (0.6, 2),
    "png": (0.7, 2),
    "tif": (1, 2),
    "tiff": (0, 0),
}
HALF_SIZE_COLOURS = (3, 80)
# What FFmpeg shows in another way than is meant, or not at all.
OTHERWISE = {
    r"adobe-rgb|display-p3|prophoto|gamma|press": "it leaves profiles alone (test_colour.py)",
    r"rgb-[5-8]\.jpeg": "PyAV garbles half-size colours at a width of 36",
    r"square\.jpg": "32 pixels with half-size colours: every difference of the scaling up is seen",
    r"arithmetic|frames\.webp|broken-chunks|bit-fields-(888x|10-10|behind)": "it does not read them",
    r"32-bit|bit-fields-(1555|4444|from-top)": "it takes other channels for alpha, or none",
    r"4-bit-clear-grey": "it does not look for a transparent colour in 4 bits; libpng and libspng do",
    r"part\.gif": "it fills the canvas with the header's colour",
    r"tiles|clear\.(heic|avif)": "it gives a grid's tiles, and alpha, as pictures of their own",
    r"endian-big|libtiff-jpeg": "it reads neither BigTIFF nor JPEG in TIFF (test_tiff.py)",
}
LARGE = re.compile("12-megapixels|large-clear")


def tolerance(name: str, data: bytes) -> tuple[float, float]:
    if "420" in name or "422" in name or name == "lossy.webp":
        return HALF_SIZE_COLOURS
    if name.endswith(("jpg", "jpeg")) and "444" not in name and read_header(data).plain:
        return HALF_SIZE_COLOURS
    return BY_FORM[name.rpartition(".")[2]]


def by_ffmpeg(path: Path) -> Image.Image:
    with av.open(str(path)) as file:
        stored = Image.fromarray(next(file.decode(video=0)).to_ndarray(format="rgba"))
    header = read_header(path.read_bytes())
    if isinstance(header, HeifHeader) and header.crop:
        stored = stored.crop(header.crop)
    shown = stored.transpose(TURNS[header.orientation]) if header.orientation in TURNS else stored
    # Where nothing is transparent, ours does not multiply, which rounds.
    return shown.convert("RGB") if shown.getextrema()[3] == (255, 255) else shown


def names() -> list[str]:
    return [
        name
        for name in sorted(PINNED)
        if not LARGE.search(name) and not any(re.search(pattern, name) for pattern in OTHERWISE)
    ]


@pytest.mark.parametrize("name", names())
def test_against_ffmpeg(name: str) -> None:
    data = (GOLDEN / name).read_bytes()
    difference = np.abs(decode_image(encoded(by_ffmpeg(GOLDEN / name), "PNG")).astype(int) - PINNED[name])
    mean, most = tolerance(name, data)
    assert difference.mean() <= mean
    assert difference.max() <= most


def test_every_format_is_compared() -> None:
    forms = {read_header((GOLDEN / name).read_bytes()).format for name in names()}
    assert forms == {"jpeg", "png", "webp", "gif", "bmp", "tiff", "heic", "avif"}


def by_tifffile(name: str) -> NDArray[np.generic]:
    samples = tifffile.imread(GOLDEN / name)
    if name.startswith("planes"):
        samples = np.moveaxis(samples, 0, -1)
    if samples.dtype == np.uint16:
        samples = (samples >> 8).astype(np.uint8)
    return 255 - samples if name.startswith("white") else samples


@pytest.mark.parametrize(
    "name",
    [
        "rgb-8-little-classic-strips-deflate.tif",
        "rgb-16-endian-big-tiles-deflate.tif",
        "planes-16-little.tif",
        "grey-16-endian.tif",
        "white-is-zero-16-little.tif",
        "clear-16.tif",
        "libtiff-packbits.tif",
        "libtiff-tiff_adobe_deflate.tif",
    ],
)
def test_against_tifffile(name: str) -> None:
    shown = Image.fromarray(by_tifffile(name))  # type: ignore[arg-type]
    np.testing.assert_array_equal(PINNED[name], decode_image(encoded(shown, "PNG")))
