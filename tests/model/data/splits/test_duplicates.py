import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from model.data.pictures import THUMB_SIDE
from model.data.sources import example_images
from model.data.splits.duplicates import NEAR_BITS, near_pairs, phash, thumb
from model.images.decode import decode_image


def pairs(hashes: list[int], thumbs: list[bytes]) -> list[tuple[int, int, int]]:
    found = near_pairs(np.array(hashes, np.uint64), np.array([list(t) for t in thumbs], np.uint8))
    return [(int(a), int(b), int(d)) for a, b, d in zip(*found, strict=True)]


def signed(pictures: list[np.ndarray]) -> list[tuple[int, int, int]]:
    return pairs([phash(p) for p in pictures], [thumb(p) for p in pictures])


@pytest.fixture(scope="module")
def photograph() -> Image.Image:
    """One of the repository's, enlarged, so that there is something to lose."""
    return Image.open(example_images()["cat"]).convert("RGB").resize((120, 90), Image.Resampling.BICUBIC)


def test_the_hash_is_of_the_lowest_frequencies_and_the_first_bit_the_brightness() -> None:
    across = np.cos(np.pi / 32 * 3 * (np.arange(32) + 0.5)) * 50 + 128
    waves = np.repeat(np.round(np.tile(across, (32, 1)))[..., None], 3, 2).astype(np.uint8)
    assert phash(waves) == 1 << 63 | 1 << (63 - 3)
    assert phash(np.ascontiguousarray(waves.transpose(1, 0, 2))) == 1 << 63 | 1 << (63 - 3 * 8)


def test_the_thumbnail_is_the_grey_picture_made_smaller() -> None:
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[:2, :2] = 255, 0, 0
    pixels[2:4, :2] = 255
    small = np.frombuffer(thumb(pixels), np.uint8).reshape(THUMB_SIDE, THUMB_SIDE)
    assert (small[0, 0], small[1, 0], small.astype(int).sum()) == (76, 255, 331)


@pytest.mark.parametrize("pixels", [np.zeros((32, 32), np.uint8), np.zeros((64, 64, 3), np.uint8)])
def test_a_picture_of_another_size_is_refused(pixels: np.ndarray) -> None:
    for sign in (phash, thumb):
        with pytest.raises(ValueError, match="32 x 32 RGB"):
            sign(pixels)


def encode(image: Image.Image, form: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def turned(image: Image.Image) -> bytes:
    exif = Image.Exif()
    exif[0x112] = 6
    return encode(image.transpose(Image.Transpose.ROTATE_90), "JPEG", quality=90, exif=exif)


AGAIN: dict[str, Callable[[Image.Image], bytes]] = {
    "JPEG 50": lambda image: encode(image, "JPEG", quality=50),
    "WebP": lambda image: encode(image, "WEBP", quality=80),
    "half": lambda image: encode(image.reduce(2), "PNG"),
    "double": lambda image: encode(image.resize((240, 180)), "PNG"),
    "brighter": lambda image: encode(ImageEnhance.Brightness(image).enhance(1.05), "PNG"),
    "darker": lambda image: encode(ImageEnhance.Brightness(image).enhance(0.95), "PNG"),
    "cropped": lambda image: encode(image.crop((1, 1, 119, 89)), "PNG"),
    "turned by EXIF": turned,
}


@pytest.mark.parametrize("way", AGAIN)
def test_a_picture_that_was_saved_again_is_found_and_another_one_is_not(
    photograph: Image.Image, way: str
) -> None:
    others = [decode_image(path.read_bytes()) for path in example_images().values()]
    first = decode_image(encode(photograph, "PNG"))
    again = decode_image(AGAIN[way](photograph))
    near = signed([first, again, *(o for o in others if not np.array_equal(o, others[3]))])
    assert [(a, b) for a, b, _ in near] == [(0, 1)]


def test_a_mirrored_or_upside_down_picture_is_another_one(photograph: Image.Image) -> None:
    pixels = decode_image(encode(photograph, "PNG"))
    assert signed([pixels, np.ascontiguousarray(pixels[:, ::-1]), np.ascontiguousarray(pixels[::-1])]) == []


def test_a_small_change_in_a_drawing_is_no_near_duplicate() -> None:
    drawing = np.full((32, 32, 3), 255, np.uint8)
    drawing[4:28, 4:28] = 200
    other = drawing.copy()
    drawing[14:18, 8:14] = 0
    other[14:18, 18:24] = 0
    assert signed([drawing, other]) == []


@pytest.mark.parametrize("bits", range(NEAR_BITS + 3))
def test_every_pair_within_the_distance_is_found_and_none_beyond(bits: int) -> None:
    rng = np.random.default_rng(bits)
    hashes, thumbs, expected = [], [], []
    for number in range(300):
        value, look = int(rng.integers(2**64, dtype=np.uint64)), rng.integers(0, 256, 256, np.uint8).tobytes()
        flipped = sum(1 << int(bit) for bit in rng.choice(64, bits, replace=False))
        hashes += [value, value ^ flipped]
        thumbs += [look, look]
        expected.append((2 * number, 2 * number + 1, bits))
    assert pairs(hashes, thumbs) == (expected if bits <= NEAR_BITS else [])


def test_pictures_of_one_colour_are_near_and_do_not_take_a_square_of_time() -> None:
    flat = [np.full((32, 32, 3), level, np.uint8) for level in (10, 15, 120)]
    assert signed(flat) == [(0, 1, 0)]
    same = np.ones(50_000, np.uint64)
    assert len(near_pairs(same, np.zeros((50_000, 256), np.uint8)).first) == 50_000 - 1
    noise = np.random.default_rng(0).integers(10, 12, (2000, 256)).astype(np.uint8)
    assert len(near_pairs(same[:2000], noise).first) <= 16 * 2000


def test_no_picture_has_no_like() -> None:
    assert near_pairs(np.zeros(0, np.uint64), np.zeros((0, 256), np.uint8)).first.size == 0
    assert pairs([1], [bytes(256)]) == []
