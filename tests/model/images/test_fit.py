"""Pictures in every size and fit, against what numpy and Pillow make of the picture as it was drawn."""

import io
from dataclasses import replace

import numpy as np
import pytest
from goldens import GOLDEN, MAKE, PINNED_FITS, encoded
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from model.contract import FITS, SIZES, Fit
from model.images.decode import decode_image, is_cheap, read_header
from model.images.fit import frame
from model.images.formats import jpeg


def exact(scene: NDArray[np.uint8], size: int, fit: Fit) -> NDArray[np.float64]:
    """Fits an upright picture in floating point, channel by channel."""
    height, width = scene.shape[:2]
    if fit == "crop":
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        scene = scene[top : top + side, left : left + side]
    inner = size, size
    if fit == "pad":
        inner = round(size * min(1, width / height)), round(size * min(1, height / width))
    squeezed = np.stack(
        [
            np.asarray(Image.fromarray(channel).resize(inner, Image.Resampling.BICUBIC))
            for channel in np.moveaxis(scene.astype(np.float32), -1, 0)
        ],
        axis=-1,
    ).clip(0, 255)
    left, top = (size - inner[0]) // 2, (size - inner[1]) // 2
    return np.pad(squeezed, ((top, size - inner[1] - top), (left, size - inner[0] - left), (0, 0)))


@pytest.mark.parametrize(("name", "size", "fit"), list(MAKE.fitted()))
def test_golden_pixels(name: str, size: int, fit: Fit) -> None:
    """A change here means a new DECODER_VERSION, and that versions are judged again."""
    pixels = decode_image((GOLDEN / name).read_bytes(), size=size, fit=fit)
    np.testing.assert_array_equal(pixels, PINNED_FITS[f"{name} {size} {fit}"])
    assert pixels.shape == (size, size, 3)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous


def test_every_pinned_fit_is_compared() -> None:
    assert set(PINNED_FITS) == {f"{name} {size} {fit}" for name, size, fit in MAKE.fitted()}
    assert {size for _, size, _ in MAKE.fitted()} == set(SIZES)


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shape", [(48, 35), (77, 300), (901, 640)])
def test_a_picture_is_what_a_slow_exact_way_gives(shape: tuple[int, int], size: int, fit: Fit) -> None:
    scene = MAKE.scene(*shape)
    difference = np.abs(
        decode_image(encoded(Image.fromarray(scene), "PNG"), size=size, fit=fit) - exact(scene, size, fit)
    )
    assert difference.mean() < 1
    assert np.percentile(difference, 99) < 12


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("fit", FITS)
def test_a_picture_of_the_squares_size_is_taken_as_it_is(size: int, fit: Fit) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8))
    np.testing.assert_array_equal(decode_image(encoded(image, "PNG"), size=size, fit=fit), np.asarray(image))
    data = encoded(image, "JPEG")
    with Image.open(io.BytesIO(data)) as opened:
        np.testing.assert_array_equal(decode_image(data, size=size, fit=fit), np.asarray(opened))


@pytest.mark.parametrize("fit", ["crop", "pad"])
@pytest.mark.parametrize("size", [32, 96])
@pytest.mark.parametrize("shape", [(48, 35), (35, 48), (500, 3), (211, 96)])
def test_every_orientation_gives_the_same_square(shape: tuple[int, int], size: int, fit: Fit) -> None:
    """Also where what is left over is odd: the turned picture's halves change places.

    A sharp edge may differ by a few levels, for Pillow squeezes across before it squeezes down.
    """
    scene = MAKE.scene(*shape)
    due = decode_image(encoded(Image.fromarray(scene), "PNG"), size=size, fit=fit).astype(int)
    for orientation in range(2, 9):
        told = Image.Exif()
        told[0x0112] = orientation
        data = encoded(Image.fromarray(MAKE.turned(scene, orientation)), "PNG", exif=told)
        assert np.abs(decode_image(data, size=size, fit=fit) - due).mean() < 0.2, orientation


def test_the_crop_is_the_middle_and_the_border_is_equal() -> None:
    stripes = np.zeros((32, 96, 3), np.uint8)
    stripes[:, :32], stripes[:, 32:64], stripes[:, 64:] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    data = encoded(Image.fromarray(stripes), "PNG")
    assert (decode_image(data, fit="crop") == (0, 255, 0)).all()
    padded = decode_image(data, size=96, fit="pad")
    np.testing.assert_array_equal(padded[32:64], stripes)
    assert not padded[:32].any()
    assert not padded[64:].any()


def test_a_border_is_black_also_around_what_is_transparent() -> None:
    clear = encoded(Image.new("RGBA", (90, 30), (255, 0, 0, 0)), "PNG")
    padded = decode_image(clear, size=48, fit="pad")
    assert (padded[16:32] == 255).all()
    assert not padded[:16].any()
    assert not padded[32:].any()


@settings(deadline=None)
@given(
    width=st.integers(1, 70_000),
    height=st.integers(1, 70_000),
    size=st.sampled_from(SIZES),
    fit=st.sampled_from(FITS),
    orientation=st.integers(1, 8),
)
def test_a_frame_lies_within_picture_and_square(
    width: int, height: int, size: int, fit: Fit, orientation: int
) -> None:
    (left, top, right, bottom), inner, at = frame(width, height, size, fit, orientation)
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    assert abs(left - (width - right)) <= 1
    assert abs(top - (height - bottom)) <= 1
    for start, length in zip(at, inner, strict=True):
        assert length >= 1
        assert abs(start - (size - start - length)) <= 1
    if fit == "crop":
        assert right - left == bottom - top == min(width, height)
    else:
        assert (right - left, bottom - top) == (width, height)
    if fit == "pad":
        assert max(inner) == size
        assert abs(min(inner) - size * min(width, height) / max(width, height)) <= 0.5 or min(inner) == 1


@settings(max_examples=40, deadline=None)
@given(
    width=st.integers(1, 90),
    height=st.integers(1, 90),
    size=st.sampled_from([32, 64]),
    fit=st.sampled_from(FITS),
)
def test_the_fast_way_gives_the_general_ways_pixels(width: int, height: int, size: int, fit: Fit) -> None:
    data = encoded(Image.fromarray(MAKE.scene(width, height)), "JPEG")
    header = read_header(data)
    assert header.plain
    general = decode_image(data, replace(header, plain=False), size=size, fit=fit)
    np.testing.assert_array_equal(decode_image(data, header, size=size, fit=fit), general)


@pytest.mark.parametrize(("size", "side"), [(32, 263), (64, 263), (96, 525), (128, 525), (224, 1050)])
def test_a_large_jpeg_is_decoded_in_pixels_enough_for_the_square(size: int, side: int) -> None:
    """At 1/8 where that is enough for three pixels a pixel, else in more; the header counts the memory."""
    scene = MAKE.scene(2400, 2100)
    data = (GOLDEN / "scaled-8.jpg").read_bytes()
    header = read_header(data, size=size)
    opened = jpeg.open_image(data, header, size)
    assert min(opened.size) == side >= 3 * size
    assert header.decoding_bytes == pytest.approx(8 * opened.width * opened.height, rel=0.02)
    for fit in FITS:
        assert np.abs(decode_image(data, size=size, fit=fit) - exact(scene, size, fit)).mean() < 3, fit


def test_no_fine_pattern_is_left_in_a_large_picture() -> None:
    """Lines of one pixel become their mean in every size: what is decoded was averaged, not picked."""
    lines = np.zeros((2048, 2048, 3), np.uint8)
    lines[::2] = 255
    for form in ("PNG", "JPEG"):
        data = encoded(Image.fromarray(lines), form, **({"quality": 95} if form == "JPEG" else {}))
        for size in SIZES:
            assert np.abs(decode_image(data, size=size).astype(int) - 127).max() <= 10, (form, size)


def test_what_is_cheap_depends_on_the_square() -> None:
    def cheap(side: int, size: int) -> bool:
        data = encoded(Image.new("RGB", (side, side)), "PNG")
        return is_cheap(data, read_header(data, size=size), size)

    assert [size for size in SIZES if cheap(32, size)] == [32, 48, 64, 96, 128, 160]
    assert [size for size in SIZES if cheap(240, size)] == [32, 48, 64]
    assert not any(cheap(257, size) for size in SIZES)
