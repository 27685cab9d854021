"""PNG: chunks that the picture does not need, and one transparent colour at every depth."""

import io
import zlib

import numpy as np
import pytest
from goldens import MAKE, PINNED, encoded
from icc import rgb_profile
from numpy.typing import NDArray
from picture_files import chunk, with_chunks
from PIL import Image, ImageOps

from model.images.decode import decode_image, read_header

SCENE = Image.fromarray(MAKE.scene())
WHOLE = encoded(SCENE, "PNG")
PIXELS = decode_image(WHOLE)


def bomb(megabytes: int) -> bytes:
    return zlib.compress(bytes(megabytes * 1_000_000), 9)


@pytest.mark.parametrize(
    "extra",
    [
        [chunk(b"zTXt", b"a key\0\0" + bomb(50))],
        [chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + bomb(50))],
        [chunk(b"zTXt", b"Raw profile type exif\0\0" + bomb(50))],
        [chunk(b"iCCP", b"a profile\0\0" + bomb(50))],
        [chunk(b"iCCP", b"a profile\0\7" + bomb(1))],
        [chunk(b"iCCP", b"")],
        [chunk(b"eXIf", b"")],
        [chunk(b"tEXt", bytes(1_000_000))],
        [chunk(b"gAMA", b""), chunk(b"pHYs", b""), chunk(b"cHRM", b"1"), chunk(b"sRGB", b"")],
        [chunk(b"abCd", b"unknown")[:-1] + b"\0"],
    ],
    ids=["text", "XMP", "EXIF as text", "profile", "method", "empty", "no EXIF", "long", "short", "checksum"],
)
def test_what_the_picture_does_not_need_is_dropped(extra: list[bytes]) -> None:
    np.testing.assert_array_equal(decode_image(with_chunks(WHOLE, *extra)), PIXELS)
    behind = WHOLE[:-12] + b"".join(extra) + WHOLE[-12:]
    np.testing.assert_array_equal(decode_image(behind), PIXELS)


def test_a_profile_is_unfolded_to_a_bound() -> None:
    profile = rgb_profile("display-p3")
    long = profile + np.random.default_rng(0).bytes(1_100_000)
    assert read_header(encoded(SCENE, "PNG", icc_profile=long)).profile == long
    endless = zlib.compress(profile + bytes(3_000_000))
    assert read_header(with_chunks(WHOLE, chunk(b"iCCP", b"a\0\0" + endless))).profile is None


def test_nothing_is_copied_where_nothing_is_dropped() -> None:
    assert read_header(WHOLE).kept is None
    assert read_header(with_chunks(WHOLE, chunk(b"tEXt", b"a\0b"))).kept is not None


def over_white(samples: NDArray[np.uint8], clear: NDArray[np.bool_]) -> NDArray[np.uint8]:
    rgba = np.concatenate([samples, np.where(clear, 0, 255).astype(np.uint8)[..., None]], axis=-1)
    return decode_image(encoded(Image.fromarray(rgba), "PNG"))


@pytest.mark.parametrize(("depth", "factor"), [(2, 85), (4, 17)])
def test_a_transparent_grey_of_few_bits_is_white(depth: int, factor: int) -> None:
    stored = MAKE.scene()[..., 0] >> (8 - depth)
    grey = np.repeat((stored * factor)[..., None], 3, axis=-1)
    due = over_white(grey, stored == stored[18, 20])
    np.testing.assert_array_equal(PINNED[f"{depth}-bit-clear-grey.png"], due)


def test_a_transparent_colour_of_16_bits_is_white_and_its_neighbours_are_not() -> None:
    fine = MAKE.fine_samples()
    clear = (fine == fine[2, 2]).all(axis=-1)
    assert 0 < clear.sum() < clear.size
    due = over_white((fine >> 8).astype(np.uint8), clear)
    np.testing.assert_array_equal(PINNED["16-bit-clear-rgb.png"], due)

    near = fine.copy()
    near[clear] = near[clear] ^ 1  # the same high bytes
    data = MAKE.png(near, 16, 2, fine[2, 2].tobytes())
    np.testing.assert_array_equal(decode_image(data), decode_image(MAKE.png(near, 16, 2)))


def exif(orientation: int) -> bytes:
    made = Image.Exif()
    made[0x0112] = orientation
    return made.tobytes().removeprefix(b"Exif\0\0")


def as_text(content: bytes) -> bytes:
    """As ImageMagick writes it."""
    return b"\nexif\n%8d\n" % len(content) + content.hex().encode() + b"\n"


@pytest.mark.parametrize(
    "extra",
    [
        chunk(b"eXIf", exif(6)),
        chunk(b"tEXt", b"Raw profile type exif\0" + as_text(b"Exif\0\0" + exif(8))),
        chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(as_text(b"Exif\0\0" + exif(3)))),
        chunk(b"iTXt", b'XML:com.adobe.xmp\0\0\0\0\0<a tiff:Orientation="5"/>'),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(b'<a tiff:Orientation="7"/>')),
        chunk(b"eXIf", exif(2)) + chunk(b"iTXt", b'XML:com.adobe.xmp\0\0\0\0\0<a tiff:Orientation="5"/>'),
        chunk(b"eXIf", b"MM\0*\xff\xff\xff\xff"),
    ],
    ids=["eXIf", "text", "compressed text", "XMP", "compressed XMP", "both", "broken"],
)
@pytest.mark.parametrize("where", ["before", "behind"])
def test_orientation_is_what_pillow_makes_of_it(extra: bytes, where: str) -> None:
    data = with_chunks(WHOLE, extra) if where == "before" else WHOLE[:-12] + extra + WHOLE[-12:]
    image = Image.open(io.BytesIO(data))
    image.load()
    upright = image if b"\xff\xff\xff\xff" in extra else ImageOps.exif_transpose(image)
    due = decode_image(encoded(Image.fromarray(np.asarray(upright)), "PNG")).astype(int)
    assert np.abs(decode_image(data) - due).max() <= 1
