import io
import struct
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from goldens import GOLDEN, MAKE, PINNED, at_most, encoded, grown_megabytes
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from model.contract import Fit
from model.images import decode
from model.images.decode import decode_image, decode_squares, is_cheap, read_header
from model.images.errors import ImageError
from model.images.formats.jpeg import plain_pixels
from model.images.header import Format
from model.images.limits import LIMITS, Limit

MODES = ("grey", "grey-alpha", "palette", "palette-clear", "rgba", "cmyk", "16-bit", "1-bit", "rgb", "webp")
PHOTOGRAPHS = ["12-megapixels.jpg", "12-megapixels.webp", "12-megapixels.png"]


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


def code_of(data: bytes, limits: dict[Format, Limit] | None = None) -> str:
    with pytest.raises(ImageError) as raised:
        decode_image(data, limits=limits or LIMITS)
    assert str(raised.value).endswith(".")
    return raised.value.code


@pytest.mark.parametrize("name", sorted(PINNED))
def test_golden_pixels(name: str) -> None:
    """A change here means a new DECODER_VERSION, and that versions are judged again."""
    np.testing.assert_array_equal(decode_image((GOLDEN / name).read_bytes()), PINNED[name])


@pytest.mark.parametrize("name", sorted(PINNED))
def test_several_squares_of_one_decoding_are_those_of_several(name: str) -> None:
    data = (GOLDEN / name).read_bytes()
    squares: list[tuple[int, Fit]] = [(32, "stretch"), (64, "stretch"), (32, "pad"), (160, "crop")]
    found = decode_squares(data, read_header(data, size=160), squares)
    for pixels, (size, fit) in zip(found, squares, strict=True):
        np.testing.assert_array_equal(pixels, decode_image(data, size=size, fit=fit))


def test_every_golden_image_is_pinned() -> None:
    images = {path.name for path in GOLDEN.iterdir() if path.suffix not in {".py", ".npz", ""}}
    assert images == set(PINNED)


@pytest.mark.parametrize("mode", [*MODES, "heic", "avif", "tiff"])
def test_every_orientation_is_shown_upright(mode: str) -> None:
    """The golden pixels are right, not only the same: all eight files show what the upright one shows."""
    upright, *turned = (
        next(pixels for name, pixels in PINNED.items() if name.startswith(f"{mode}-{orientation}."))
        for orientation in range(1, 9)
    )
    for pixels in turned:
        assert np.abs(pixels.astype(int) - upright).mean() < 4


def squeezed(channels: NDArray[Any]) -> NDArray[np.float64]:
    """Resizes in floating point, channel by channel."""
    return np.stack(
        [
            np.asarray(Image.fromarray(channel).resize((32, 32), Image.Resampling.BICUBIC))
            for channel in np.moveaxis(channels.astype(np.float32), -1, 0)
        ],
        axis=-1,
    )


@pytest.mark.parametrize("mode", MODES)
def test_colours_and_transparency_are_what_the_eye_sees(mode: str) -> None:
    """Against the picture as it was drawn: over white in floating point, then squeezed."""
    image, _ = MAKE.in_mode(mode, MAKE.scene(), MAKE.alpha())
    if image.mode == "I;16":
        seen = np.repeat(np.asarray(image)[..., None] / 257, 3, axis=-1)
    else:
        rgba = np.asarray(image.convert("RGBA")).astype(float)
        share = rgba[..., 3:] / 255
        seen = rgba[..., :3] * share + 255 * (1 - share)
    (pixels,) = (pixels for name, pixels in PINNED.items() if name.startswith(f"{mode}-1."))
    difference = np.abs(pixels - squeezed(seen).clip(0, 255))
    assert difference.mean() < 4
    assert np.percentile(difference, 90) < 16


@pytest.mark.parametrize(("name", "samples", "colour"), [("grey", 1, 0), ("rgb", 3, 2)])
def test_of_16_bits_the_high_ones_count(name: str, samples: int, colour: int) -> None:
    high = (MAKE.fine_samples()[..., :samples] >> 8).astype(np.uint8)
    assert (MAKE.fine_samples() & 255 != MAKE.fine_samples() >> 8).any()
    np.testing.assert_array_equal(PINNED[f"16-bit-fine-{name}.png"], decode_image(MAKE.png(high, 8, colour)))


def test_only_a_gifs_first_frame_counts() -> None:
    for name in ("frames.gif", "frames.webp"):
        assert np.abs(PINNED[name].astype(int) - PINNED["24-bit.bmp"]).mean() < 12


@pytest.mark.parametrize(
    ("size", "names"),
    [
        ((2400, 2100), ["scaled-8.jpg"]),
        pytest.param(
            (4000, 3000), [f"12-megapixels.{form}" for form in ("jpg", "webp", "png")], marks=pytest.mark.slow
        ),
    ],
)
def test_a_large_picture_is_reduced_to_what_a_slow_exact_way_gives(
    size: tuple[int, int], names: list[str]
) -> None:
    exact = squeezed(MAKE.scene(*size))
    for name in names:
        assert np.abs(PINNED[name] - exact).mean() < 3, name


def test_an_image_of_the_right_size_is_taken_as_it_is() -> None:
    image = noise(32, 32)
    np.testing.assert_array_equal(decode_image(encoded(image, "PNG")), np.asarray(image))


def test_the_result_is_what_the_batch_needs() -> None:
    for name in ("rgba-6.png", "rgb-1.jpeg", "square.jpg"):
        pixels = decode_image((GOLDEN / name).read_bytes())
        assert pixels.shape == (32, 32, 3)
        assert pixels.dtype == np.uint8
        assert pixels.flags.c_contiguous


@settings(max_examples=60, deadline=None)
@given(
    width=st.integers(1, 90),
    height=st.integers(1, 90),
    quality=st.integers(1, 100),
    subsampling=st.sampled_from([0, 1, 2]),
    progressive=st.booleans(),
    optimize=st.booleans(),
    restarts=st.sampled_from([0, 1]),
    seed=st.integers(0, 1000),
)
def test_the_fast_way_gives_the_general_ways_pixels(
    width: int, height: int, quality: int, subsampling: int, seed: int, restarts: int, **options: bool
) -> None:
    smooth = noise(max(1, width // 4), max(1, height // 4), seed).resize((width, height))
    data = encoded(
        smooth, "JPEG", quality=quality, subsampling=subsampling, restart_marker_rows=restarts, **options
    )
    header = read_header(data)
    assert header.plain
    assert plain_pixels(data, header) is not None
    general = decode_image(data, replace(header, plain=False))
    np.testing.assert_array_equal(decode_image(data, header), general)


def test_the_fast_way_is_for_small_colour_jpegs_alone() -> None:
    for name in ("grey-1.jpeg", "cmyk-1.jpeg", "scaled-2.jpg", "square.png"):
        assert not read_header((GOLDEN / name).read_bytes()).plain
    for name in ("square.jpg", "rgb-6.jpeg"):
        assert read_header((GOLDEN / name).read_bytes()).plain


@pytest.mark.parametrize("name", ["square.jpg", "square.png", "lossy.webp", "interlaced.gif", "24-bit.bmp"])
def test_a_file_cut_short_anywhere_is_never_half_a_picture(name: str) -> None:
    data = (GOLDEN / name).read_bytes()
    whole = decode_image(data)
    for end in range(0, len(data), max(1, len(data) // 60)):
        try:
            pixels = decode_image(data[:end])
        except ImageError as error:
            assert error.code in {"broken_image", "not_an_image"}  # noqa: PT017 - or there is no error
        else:  # only what a decoder does not need may be missing: the last bytes
            assert end > len(data) * 0.9
            np.testing.assert_array_equal(pixels, whole)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "not_an_image"),
        (b"hello", "not_an_image"),
        (b"{}", "not_an_image"),
        (bytes(1000), "not_an_image"),
        (b"BM is how this text begins, and it is no bitmap", "not_an_image"),
        (b"\xff\xd8\xff", "broken_image"),
        (b"\x89PNG\r\n\x1a\n", "broken_image"),
        (b"GIF89a", "broken_image"),
        (b"RIFF\0\0\0\0WEBP", "broken_image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "unsupported_format"),
        (b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- a --><SVG/>", "unsupported_format"),
        (b"II*\0" + bytes(100), "broken_image"),
        (b"%PDF-1.7", "unsupported_format"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", "unsupported_format"),
        (b"\0\0\0\x20ftypavif" + bytes(100), "broken_image"),
        (b"\0\0\0\x20ftypheic" + bytes(100), "broken_image"),
        (b"\0\0\0\x20ftypmp42" + bytes(100), "not_an_image"),
    ],
)
def test_what_is_not_taken(data: bytes, code: str) -> None:
    assert code_of(data) == code


def png_header(width: int, height: int) -> bytes:
    """A PNG that says how large it is, and has nothing behind that."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n\0\0\0\x0d" + header + struct.pack(">I", zlib.crc32(header))


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "BMP", "WEBP"])
def test_too_many_pixels_are_refused_from_the_header(form: str) -> None:
    data = encoded(Image.new("RGB", (300, 200)), form)
    decode_image(data, limits=at_most(pixels=60_000))
    head = data.index(b"\xff\xda") + 20 if form == "JPEG" else 60
    for cut in (data, data[:head]):  # the rest is not even looked at
        assert code_of(cut, at_most(pixels=59_999)) == "too_many_pixels"


def test_a_header_that_promises_terabytes_costs_nothing() -> None:
    assert code_of(png_header(2**31 - 1, 2**31 - 1)) == "too_many_pixels"


def test_a_gif_frame_may_not_outgrow_its_header() -> None:
    data = bytearray(encoded(Image.new("P", (200, 200)), "GIF"))
    assert data[6:10] == struct.pack("<HH", 200, 200)
    data[6:10] = struct.pack("<HH", 1, 1)
    assert code_of(bytes(data), at_most(pixels=30_000)) == "too_many_pixels"


def test_too_many_bytes() -> None:
    assert code_of(b"\xff\xd8\xff" + bytes(98), at_most(file_bytes=100)) == "too_many_bytes"


def test_a_jpeg_of_a_thousand_scans_is_refused() -> None:
    data = encoded(noise(64, 64), "JPEG", progressive=True)
    start = data.rindex(b"\xff\xda")
    assert code_of(data[:start] + data[start:-2] * 1000 + data[-2:]) == "unsupported_format"


def flooded(form: str) -> bytes:
    """A small image with hundreds of thousands of empty parts."""
    whole = encoded(noise(32, 32), form, **({"exif": Image.Exif().tobytes()} if form == "JPEG" else {}))
    match form:
        case "PNG":
            return (
                whole[:33] + (b"\0\0\0\0abCd" + struct.pack(">I", zlib.crc32(b"abCd"))) * 300_000 + whole[33:]
            )
        case "JPEG":
            return whole[:2] + b"\xff\xe5\0\x02" * 300_000 + whole[2:]
    picture = whole.index(b"\x2c\0\0\0\0")
    return whole[:picture] + b"\x21\xfe\x01x\0" * 300_000 + whole[picture:]


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF"])
def test_a_flood_of_tiny_parts_is_refused(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "_decode", lambda *_: pytest.fail("Pillow is not asked to walk through them"))
    assert code_of(flooded(form)) == "unsupported_format"


def test_a_compressed_text_chunk_does_not_unfold() -> None:
    text = b"zTXtkey\0\0" + zlib.compress(bytes(20_000_000), 1)
    chunk = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
    whole = encoded(noise(32, 32), "PNG")
    np.testing.assert_array_equal(decode_image(whole[:33] + chunk + whole[33:]), decode_image(whole))


def test_metadata_that_cannot_be_read_is_no_reason_to_refuse_a_picture() -> None:
    image = noise(32, 32)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    np.testing.assert_array_equal(decode_image(buffer.getvalue()), np.asarray(image))


def test_what_is_cheap() -> None:
    def cheap(data: bytes) -> bool:
        return is_cheap(data, read_header(data))

    assert cheap((GOLDEN / "square.jpg").read_bytes())
    assert not cheap(encoded(Image.new("RGB", (400, 400)), "PNG")), "few bytes, many pixels"
    assert not cheap(encoded(noise(100, 100), "PNG")), "few pixels, many bytes"
    assert not cheap((GOLDEN / "scaled-8.jpg").read_bytes())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "mode", "megabytes"),
    [("JPEG", "RGB", 12), ("PNG", "RGB", 60), ("PNG", "RGBA", 70), ("WEBP", "RGB", 190), ("BMP", "RGB", 60)],
)
def test_twelve_megapixels_take_little_more_memory_than_the_decoder_itself(
    tmp_path: Path, form: str, mode: str, megabytes: int
) -> None:
    image = noise(40, 30).resize((4000, 3000)).convert(mode)
    options = {"PNG": {"compress_level": 1}, "WEBP": {"method": 0}}.get(form, {})
    (tmp_path / "large").write_bytes(encoded(image, form, **options))
    assert grown_megabytes(tmp_path / "large") <= megabytes
