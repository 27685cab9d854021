"""WebP: its size is known before libwebp sees it, whichever of its three kinds it is."""

import struct

import numpy as np
import pytest
from goldens import MAKE, encoded
from PIL import Image

from model.images.decode import decode_image, read_header
from model.images.errors import ImageError

SCENE = Image.fromarray(MAKE.scene())


@pytest.mark.parametrize(
    "start",
    [
        b"VP8 " + struct.pack("<I", 100) + b"\x30\1\0\x9d\1\x2a" + struct.pack("<HH", 16383, 16383),
        b"VP8L" + struct.pack("<I", 100) + b"\x2f" + struct.pack("<I", 16382 | 16382 << 14),
        b"VP8X" + struct.pack("<I", 10) + bytes(4) + struct.pack("<I", 16382)[:3] * 2,
    ],
    ids=["lossy", "lossless", "extended"],
)
def test_the_largest_there_can_be_is_refused_from_its_header(start: bytes) -> None:
    data = b"RIFF" + struct.pack("<I", 1000) + b"WEBP" + start + bytes(1000)
    with pytest.raises(ImageError, match=r"The WebP image has 16383 x 16383 pixels; send one of at most"):
        decode_image(data)


def test_what_has_no_size_is_broken_before_it_is_decoded() -> None:
    whole = encoded(SCENE, "WEBP")
    for broken in (whole[:20], whole[:12] + b"ABCD" + whole[16:]):
        with pytest.raises(ImageError, match="WebP image is broken"):
            read_header(broken)


def test_profile_and_orientation_come_from_the_chunks() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(SCENE, "WEBP", lossless=True, exif=exif, icc_profile=b"a profile of odd length")
    header = read_header(data)
    assert (header.width, header.height, header.orientation) == (48, 36, 6)
    assert header.profile == b"a profile of odd length"
    plain = decode_image(encoded(SCENE, "WEBP", lossless=True))
    np.testing.assert_array_equal(decode_image(data), np.rot90(plain, -1))
