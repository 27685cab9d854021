"""BMP with bit fields: every layout, in every header that carries it."""

import struct

import numpy as np
import pytest
from goldens import MAKE, encoded
from picture_files import MASKS, bmp, quantized
from PIL import Image

from model.images.decode import decode_image
from model.images.errors import ImageError

RGBA = np.concatenate([MAKE.scene(), MAKE.alpha()[..., None]], axis=-1)[:, :47]
HEADERS = [(40, 3), (40, 6), (52, 3), (56, 3), (108, 3), (124, 3)]


@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize(("header", "compression"), HEADERS)
@pytest.mark.parametrize("from_top", [False, True])
def test_bit_fields(kind: str, header: int, compression: int, *, from_top: bool) -> None:
    _, masks = MASKS[kind]
    if header < 56 and compression == 3:
        masks = (*masks[:3], 0)  # there is no place for alpha's
    data = bmp(RGBA, kind, header=header, compression=compression, from_top=from_top)
    due = decode_image(encoded(Image.fromarray(quantized(RGBA, masks)), "PNG"))
    # Of five and six bits Pillow, which reads the common layouts, cuts off what we round.
    most = {"565": 2, "1555": 2, "10-10-10-2": 1}.get(kind, 0)
    assert np.abs(decode_image(data).astype(int) - due).max() <= most


def test_alpha_that_is_nowhere_means_that_there_is_none() -> None:
    unused = RGBA.copy()
    unused[..., 3] = 0
    due = decode_image(encoded(Image.fromarray(unused[..., :3]), "PNG"))
    np.testing.assert_array_equal(decode_image(bmp(unused, "8888")), due)


def test_bit_fields_cut_short() -> None:
    with pytest.raises(ImageError, match="BMP image is broken or cut short"):
        decode_image(bmp(RGBA, "4444")[:-100])


@pytest.mark.parametrize(("compression", "name"), [(4, "JPEG"), (5, "PNG")])
def test_another_format_inside(compression: int, name: str) -> None:
    data = bytearray(bmp(RGBA, "8888"))
    data[30:34] = struct.pack("<I", compression)
    with pytest.raises(ImageError, match=f"The BMP has a {name} inside; send that itself") as raised:
        decode_image(bytes(data))
    assert raised.value.code == "unsupported_format"


def test_channels_with_gaps() -> None:
    data = bytearray(bmp(RGBA, "8888"))
    data[54:58] = struct.pack("<I", 0x00A50000)
    with pytest.raises(ImageError, match="channels with gaps"):
        decode_image(bytes(data))
