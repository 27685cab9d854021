"""Heads of JPEGs that were met before: what is known of one is what reading it again would give."""

from collections.abc import Callable

import pytest
from goldens import MAKE, encoded
from PIL import Image

from model.images.errors import ImageError
from model.images.formats import jpeg
from model.images.formats.jpeg_heads import Heads
from model.images.header import Header

SCENE = Image.fromarray(MAKE.scene())


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The files whose segments were walked over, with no head known at first."""
    walked: list[bytes] = []
    walk = jpeg._segments

    def noted(data: bytes) -> tuple[int, int, list[int]]:
        walked.append(data)
        return walk(data)

    monkeypatch.setattr(jpeg, "_segments", noted)
    monkeypatch.setattr(jpeg, "_heads", Heads())
    return walked


def picture(side: int = 32, **options: object) -> bytes:
    return encoded(SCENE.resize((side, side)), "JPEG", **options)


def anew(data: bytes, size: int = 32) -> Header:
    """What reading gives where nothing is known."""
    known, jpeg._heads = jpeg._heads, Heads()  # type: ignore[misc] # put back at once
    try:
        return jpeg.read_header(data, size)
    finally:
        jpeg._heads = known  # type: ignore[misc]


def test_the_same_head_is_read_once_whatever_follows_it(reads: list[bytes]) -> None:
    first, second = picture(), encoded(SCENE.rotate(90).resize((32, 32)), "JPEG")
    assert first != second
    assert jpeg.read_header(first) == jpeg.read_header(second) == anew(second)
    assert reads == [first, second], "the second walk is the one of `anew`"


@pytest.mark.parametrize(
    "other",
    [
        lambda: picture(48),
        lambda: picture(quality=60),
        lambda: picture(subsampling=0),
        lambda: picture(progressive=True),
        lambda: encoded(SCENE.resize((32, 32)).convert("L"), "JPEG"),
        lambda: encoded(SCENE.resize((32, 32)).convert("CMYK"), "JPEG"),
    ],
    ids=["size", "quality", "sampling", "progressive", "grey", "inks"],
)
def test_a_head_of_one_other_byte_is_another_one(reads: list[bytes], other: Callable[[], bytes]) -> None:
    jpeg.read_header(picture())
    data = other()
    assert jpeg.read_header(data) == anew(data)
    assert jpeg.read_header(data) == anew(data), "whether it is kept or not"
    assert jpeg.read_header(picture()) == anew(picture())


@pytest.mark.parametrize("side", [32, 511, 512])
def test_the_size_of_the_square_counts_as_ever(reads: list[bytes], side: int) -> None:
    data = picture(side)
    for size in (32, 224, 32):
        assert jpeg.read_header(data, size) == anew(data, size)


def test_orientation_profile_and_adobes_colours_are_read_each_time(reads: list[bytes]) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = picture(exif=exif)
    for data in (turned, picture(icc_profile=b"x" * 200)):
        jpeg.read_header(data)
        reads.clear()
        jpeg.read_header(data)
        assert reads == [data]
    assert jpeg.read_header(turned).orientation == 6


def test_one_that_ends_within_a_known_head_is_broken_all_the_same(reads: list[bytes]) -> None:
    data = picture()
    jpeg.read_header(data)
    frame = data.index(b"\xff\xc0")
    with pytest.raises(ImageError, match="broken or cut short"):
        jpeg.read_header(data[: frame + 10])
    for end in range(frame + 20, len(data)):
        assert jpeg.read_header(data[:end]) == anew(data[:end])


def test_few_are_kept(reads: list[bytes]) -> None:
    for width in range(8, 8 + 600):
        jpeg.read_header(encoded(SCENE.resize((width, 8)), "JPEG"))
    assert len(jpeg._heads._known) <= 256
