"""JPEG: scans, what follows the picture, and what a large one takes."""

import io
from pathlib import Path

import numpy as np
import pytest
from goldens import GOLDEN, MAKE, PINNED, at_most, encoded, grown_megabytes
from picture_files import enormous_jpeg, motion_photograph
from PIL import Image, ImageOps

from model.images.decode import decode_image, read_header
from model.images.errors import ImageError
from model.images.formats import jpeg
from model.images.limits import MAX_JPEG_COEFFICIENTS

SCENE = Image.fromarray(MAKE.scene())


@pytest.mark.parametrize("options", [{}, {"progressive": True}], ids=["baseline", "progressive"])
def test_a_video_behind_the_picture_is_not_looked_at(options: dict[str, bool]) -> None:
    """Eight megabytes of it hold markers thousands of times."""
    alone = encoded(SCENE, "JPEG", **options)
    moving = motion_photograph(alone, 8_000_000)
    assert moving.count(b"\xff\xda") > 20_000
    np.testing.assert_array_equal(decode_image(moving), decode_image(alone))


def test_of_two_pictures_the_first_counts() -> None:
    np.testing.assert_array_equal(
        PINNED["two-pictures.jpg"], decode_image(encoded(SCENE, "JPEG", quality=85))
    )
    np.testing.assert_array_equal(PINNED["motion.jpg"], PINNED["two-pictures.jpg"])


def test_sequential_in_several_scans_is_the_same_picture() -> None:
    data = (GOLDEN / "sequential-scans.jpg").read_bytes()
    assert b"\xff\xc0" in data, "baseline"
    assert read_header(data).scans_from > 0
    np.testing.assert_array_equal(PINNED["sequential-scans.jpg"], PINNED["two-pictures.jpg"])
    assert read_header((GOLDEN / "square.jpg").read_bytes()).scans_from == 0


def resized(name: str, width: int, height: int) -> bytes:
    """A golden JPEG whose header promises another size."""
    data = bytearray((GOLDEN / name).read_bytes())
    frame = min(at for at in (data.find(b"\xff\xc0"), data.find(b"\xff\xc2")) if at > 0)
    data[frame + 5 : frame + 9] = height.to_bytes(2) + width.to_bytes(2)
    return bytes(data)


@pytest.mark.parametrize("name", ["progressive.jpg", "sequential-scans.jpg"])
def test_several_scans_are_refused_by_the_memory_of_their_coefficients(name: str) -> None:
    """These have 4:2:0, so three bytes a pixel: 66 megapixels, and no more."""
    header = read_header(resized(name, 10_000, 6_600))
    assert 0.98 * MAX_JPEG_COEFFICIENTS < header.decoding_bytes < 1.1 * MAX_JPEG_COEFFICIENTS
    with pytest.raises(ImageError, match=r"several scans \(progressive\), which takes 201 MB") as raised:
        read_header(resized(name, 10_000, 6_720))
    assert raised.value.code == "too_many_pixels"
    one_scan = read_header(resized("sampling-420.jpg", 20_000, 12_500))
    assert one_scan.decoding_bytes < 35_000_000


def test_more_pixels_than_the_limit_of_jpegs() -> None:
    with pytest.raises(ImageError, match=r"The JPEG image has 20000 x 12501 pixels"):
        read_header(resized("sampling-420.jpg", 20_000, 12_501))


@pytest.mark.parametrize(
    ("width", "height", "side"),
    [(8_000, 6_000, 750), (60_000, 448, 112), (7_008, 3_008, 376), (60_000, 400, 400)],
)
def test_a_large_one_is_never_scaled_below_twice_the_input(width: int, height: int, side: int) -> None:
    """Of more than 25 megapixels every one is scaled, of fewer those whose sides allow for 256 pixels."""
    data = enormous_jpeg(SCENE.resize((width, 16)), height // 16)
    header = read_header(data)
    assert min(jpeg.open_image(data, header).size) == side
    assert header.decoding_bytes <= 8 * 25_000_000
    assert side >= 64
    if side < 400:
        assert header.decoding_bytes < 20_000_000


def test_orientation_is_what_pillow_makes_of_it() -> None:
    xmp = b'http://ns.adobe.com/xap/1.0/\0<x:xmpmeta><rdf tiff:Orientation="6"/></x:xmpmeta>'
    plain = encoded(SCENE, "JPEG", quality=95)
    turned = plain[:2] + b"\xff\xe1" + (len(xmp) + 2).to_bytes(2) + xmp + plain[2:]
    assert read_header(turned).orientation == 6
    exif = Image.Exif()
    exif[0x0112] = 3
    both = encoded(SCENE, "JPEG", quality=95, exif=exif, xmp=xmp[29:])
    for data in (turned, both):
        upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
        due = decode_image(encoded(upright, "PNG"))
        assert np.abs(decode_image(data).astype(int) - due).max() <= 1


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ((4, 12), "of 12 bits a sample; save it again"),
        ((1, 0xC5), "hierarchical; save it again"),
    ],
)
def test_kinds_that_are_not_taken_say_so(change: tuple[int, int], sentence: str) -> None:
    data = bytearray((GOLDEN / "square.jpg").read_bytes())
    data[data.index(b"\xff\xc0") + change[0]] = change[1]
    with pytest.raises(ImageError, match=sentence) as raised:
        decode_image(bytes(data))
    assert raised.value.code == "unsupported_format"


@pytest.mark.slow
@pytest.mark.parametrize(("size", "megabytes"), [((8_000, 6_000), 64), ((20_000, 10_000), 100)])
def test_what_one_scan_takes_beside_its_own_bytes(
    tmp_path: Path, size: tuple[int, int], megabytes: int
) -> None:
    width, height = size
    noise = np.random.default_rng(0).integers(0, 256, (4, width // 16, 3), np.uint8)
    data = enormous_jpeg(Image.fromarray(noise).resize((width, 16)), height // 16)
    (tmp_path / "large").write_bytes(data)
    assert grown_megabytes(tmp_path / "large") <= megabytes
    shown = decode_image(data, limits=at_most())
    assert shown.std(axis=0).max() < 6, "every row is the same"
