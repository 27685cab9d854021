"""TIFF: what is taken shows what was written, other kinds are refused by name, and none costs much."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from container_files import fine, libtiff, tiff, tiffs
from goldens import MAKE, at_most, encoded
from numpy.typing import NDArray
from PIL import Image

from model.images.decode import decode_image, read_header
from model.images.errors import ImageError
from model.images.formats import tiff as reader
from model.images.formats.tiff_directory import Directory, Tag, with_directory
from model.images.limits import MAX_DECODING_MEMORY

SCENE, ALPHA = MAKE.scene(), MAKE.alpha()
KINDS = tiffs(SCENE, ALPHA)


def due(name: str) -> NDArray[np.uint8]:
    """The scene, as PNG has it in the same colours."""
    image = Image.fromarray(SCENE)
    if "grey" in name or "white" in name:
        image = Image.fromarray(SCENE[..., 0])
    elif "clear" in name:
        image.putalpha(Image.fromarray(ALPHA))
    elif "palette" in name:
        image = image.quantize(64)
    elif "1-bit" in name:
        image = image.convert("1")
    return decode_image(encoded(image, "PNG"))


@pytest.mark.parametrize("name", KINDS)
def test_what_was_written_is_shown(name: str) -> None:
    """Written in pure Python by tifffile but for those of libtiff; samples are compared to the last bit."""
    difference = np.abs(decode_image(KINDS[name]).astype(int) - due(name))
    assert difference.max() <= (3 if "jpeg" in name else 0)


@pytest.mark.parametrize("bits", [2, 4])
@pytest.mark.parametrize("palette", [False, True])
def test_few_bits(bits: int, palette: bool) -> None:
    most = (1 << bits) - 1
    levels = (SCENE[..., 0].astype(int) * most // 255).astype(np.uint8)
    packed = np.zeros((levels.shape[0], levels.shape[1] * bits // 8), np.uint8)
    for place in range(8 // bits):
        packed |= levels[:, place :: 8 // bits] << (8 - bits * (place + 1))
    colours = np.linspace(0, 65535, (most + 1) * 3).astype(int)
    tags = {
        Tag.WIDTH: (levels.shape[1],),
        Tag.HEIGHT: (levels.shape[0],),
        Tag.BITS: (bits,),
        Tag.COMPRESSION: (1,),
        Tag.PHOTOMETRIC: (3 if palette else 1,),
        Tag.STRIP_OFFSETS: (0,),
        Tag.ROWS_PER_STRIP: (levels.shape[0],),
        Tag.STRIP_BYTES: (packed.size,),
    }
    if palette:
        tags[Tag.COLOUR_MAP] = tuple(colours.tolist())
    shown = (colours.reshape(3, -1).T >> 8).astype(np.uint8)[levels] if palette else levels * (255 // most)
    pixels = decode_image(with_directory(packed.tobytes(), "<", tags))
    np.testing.assert_array_equal(
        pixels, decode_image(encoded(Image.fromarray(shown.astype(np.uint8)), "PNG"))
    )


REFUSED = {
    "int16": (tiff(SCENE[..., 0].astype(np.int16), photometric="minisblack"), "signed or fractional numbers"),
    "float": (
        tiff(SCENE[..., 0] / np.float32(255), photometric="minisblack"),
        "signed or fractional numbers",
    ),
    "uint32": (tiff(SCENE[..., 0].astype(np.uint32), photometric="minisblack"), "grey in 1 x 32 bits"),
    "lab": (tiff(SCENE, photometric="cielab"), r"L\*a\*b\* in 3 x 8 bits"),
    "clear grey of 16 bits": (
        tiff(
            fine(SCENE[..., :2]), photometric="minisblack", planarconfig="contig", extrasamples=["unassalpha"]
        ),
        "grey in 2 x 16 bits",
    ),
    "six channels": (
        tiff(np.dstack([SCENE, SCENE]), photometric="rgb", extrasamples=["unspecified"] * 3),
        "RGB in 6 x 8 bits",
    ),
    "CCITT": (libtiff(Image.fromarray(SCENE).convert("1"), compression="group4"), "compressed by CCITT"),
    "LZMA": (tiff(SCENE, photometric="rgb", compression="lzma"), "compressed by LZMA"),
    "reversed": (libtiff(Image.fromarray(SCENE).convert("1"), tiffinfo={266: 2}), "stand in reverse"),
    "raw": (tiff(SCENE, photometric="rgb", subfiletype=1), "camera's raw file"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_taken_is_refused_by_name(name: str) -> None:
    data, words = REFUSED[name]
    with pytest.raises(ImageError, match=words) as raised:
        decode_image(data)
    assert raised.value.code == "unsupported_format"
    assert "send" in str(raised.value) or "save" in str(raised.value)


def test_only_the_first_page_counts_and_costs() -> None:
    image = Image.fromarray(SCENE)
    pages = libtiff(image, save_all=True, append_images=[image.transpose(Image.Transpose.ROTATE_180)] * 300)
    np.testing.assert_array_equal(decode_image(pages), decode_image(encoded(image, "PNG")))
    header = read_header(pages)
    assert isinstance(header, reader.TiffHeader)
    assert Image.open(io.BytesIO(with_directory(pages, header.order, header.tags))).n_frames == 1


def test_the_orientation_is_told_and_applied_once() -> None:
    for orientation in range(1, 9):
        data = (MAKE.HERE / f"tiff-{orientation}.tiff").read_bytes()
        assert read_header(data).orientation == orientation
        np.testing.assert_array_equal(
            decode_image(data), decode_image(encoded(Image.fromarray(SCENE), "PNG"))
        )


@pytest.mark.parametrize(
    "name", ["rgb-8-little-classic-strips-none", "rgb-16-endian-big-tiles-deflate", "grey-8"]
)
def test_a_file_cut_short_is_never_half_a_picture(name: str) -> None:
    whole = KINDS[name]
    for end in range(4, len(whole), max(1, len(whole) // 40)):
        with pytest.raises(ImageError) as raised:
            decode_image(whole[:end])
        assert raised.value.code == "broken_image"


def test_too_many_pixels_are_refused_by_the_directory() -> None:
    data = tiff(np.zeros((200, 300, 3), np.uint8), photometric="rgb", compression="deflate")
    decode_image(data, limits=at_most(pixels=60_000))
    with pytest.raises(
        ImageError, match=r"The TIFF image has 300 x 200 pixels; send one of at most 59,999\."
    ):
        decode_image(data, limits=at_most(pixels=59_999))


def test_of_more_bits_fewer_pixels_are_taken() -> None:
    tags: dict[Tag, tuple[int, ...]] = {
        Tag.WIDTH: (7000,),
        Tag.HEIGHT: (7000,),
        Tag.BITS: (16, 16, 16, 16),
        Tag.COMPRESSION: (8,),
        Tag.PHOTOMETRIC: (2,),
        Tag.SAMPLES: (4,),
        Tag.EXTRA_SAMPLES: (2,),
        Tag.ROWS_PER_STRIP: (7000,),
        Tag.STRIP_OFFSETS: (0,),
        Tag.STRIP_BYTES: (1,),
    }
    with pytest.raises(
        ImageError, match=r"7000 x 7000 pixels of 64 bits; send one of at most 45,7..,...\."
    ) as raised:
        read_header(with_directory(b"x", "<", tags))
    assert raised.value.code == "too_many_pixels"
    tags |= {Tag.BITS: (8,) * 4}
    assert read_header(with_directory(b"x", "<", tags)).decoding_bytes < MAX_DECODING_MEMORY


def flooded(kind: str) -> bytes:
    tags: dict[Tag, tuple[int, ...]] = {
        Tag.WIDTH: (1,),
        Tag.HEIGHT: (30_000,),
        Tag.BITS: (8,),
        Tag.COMPRESSION: (8,),
        Tag.PHOTOMETRIC: (1,),
        Tag.ROWS_PER_STRIP: (1,),
    }
    row = zlib.compress(b"\0")
    if kind == "pieces":
        more = {Tag.STRIP_OFFSETS: (0,) * 30_000, Tag.STRIP_BYTES: (len(row),) * 30_000}
        return with_directory(row, "<", tags | more)
    if kind == "entries":
        return b"II*\0\x08\0\0\0" + struct.pack("<H", 60_000) + bytes(12 * 60_000)
    return libtiff(Image.fromarray(SCENE), compression="jpeg").replace(
        b"\xff\xd9", b"\xff\xda" * 1000 + b"\xff\xd9"
    )


@pytest.mark.parametrize("kind", ["pieces", "entries", "scans"])
def test_a_flood_of_tiny_parts_is_refused(kind: str) -> None:
    with pytest.raises(ImageError, match="The TIFF has too many parts"):
        read_header(flooded(kind))


def test_pieces_may_not_lie_over_one_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each would be read anew: a thousand strips that are the whole file are a thousand times its bytes."""
    data = tiff(SCENE, photometric="rgb", rowsperstrip=4)
    directory = Directory(data)
    count = len(directory.numbers(Tag.STRIP_OFFSETS))
    header = read_header(data)
    assert isinstance(header, reader.TiffHeader)
    header.tags |= {Tag.STRIP_OFFSETS: (0,) * count, Tag.STRIP_BYTES: (len(data),) * count}
    with pytest.raises(ImageError) as raised:
        decode_image(data, header)
    assert raised.value.code == "broken_image"


def test_libtiff_writes_nothing_between_the_lines_of_the_log(capfd: pytest.CaptureFixture[str]) -> None:
    data = KINDS["rgb-8-little-classic-strips-deflate"]
    with pytest.raises(ImageError):
        decode_image(data[:-40] + bytes(40))
    assert capfd.readouterr() == ("", "")


def test_broken_and_endless_directories_are_broken_images() -> None:
    whole = KINDS["grey-8"]
    start = int.from_bytes(whole[4:8], "little")
    changes: list[tuple[int, bytes]] = [
        (4, b"\xff\xff\xff\x7f"),
        (start + 2 + 8, bytes(4)),
        (start + 2 + 2, b"\x63\0"),
        (start, b"\x01\0"),
    ]
    for place, written in changes:
        data = whole[:place] + written + whole[place + len(written) :]
        with pytest.raises(ImageError) as raised:
            decode_image(data)
        assert raised.value.code == "broken_image", place


def test_a_directory_beyond_everything_is_a_broken_image() -> None:
    for data in (b"II+\0\x08\0\0\0" + b"\xff" * 8, b"MM\0*" + b"\xff" * 40):
        with pytest.raises(ImageError) as raised:
            decode_image(data)
        assert raised.value.code == "broken_image"


def test_metadata_does_not_reach_libtiff(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []

    def written(*arguments: Any) -> bytes:
        seen.append(with_directory(*arguments))
        return seen[-1]

    monkeypatch.setattr(reader, "with_directory", written)
    data = tiff(
        SCENE, photometric="rgb", description="x" * 100_000, extratags=[(65000, 2, 9, b"unknown!\0", True)]
    )
    decode_image(data)
    tags = Image.open(io.BytesIO(seen[0])).tag_v2  # type: ignore[attr-defined]
    assert set(tags) == {256, 257, 258, 259, 262, 273, 277, 278, 279, 284}
