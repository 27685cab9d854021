"""GIF: what its first frame leaves of the screen."""

import numpy as np
import pytest
from goldens import GOLDEN, MAKE, PINNED, encoded
from picture_files import part_of_a_screen
from PIL import Image

from model.images.decode import decode_image, read_header
from model.images.errors import ImageError

FRAME = Image.fromarray(MAKE.scene()).resize((24, 18)).quantize(16)


def on_white(frame: Image.Image, screen: tuple[int, int], corner: tuple[int, int]) -> Image.Image:
    shown = Image.new("RGB", screen, "white")
    shown.paste(frame.convert("RGB"), corner)
    return shown


def test_around_a_part_it_is_white() -> None:
    due = decode_image(encoded(on_white(FRAME, (48, 36), (12, 9)), "PNG"))
    np.testing.assert_array_equal(PINNED["part.gif"], due)
    assert (due[0] == 255).all()


def test_around_a_part_with_a_transparent_colour_too() -> None:
    clear = FRAME.copy()
    clear.info["transparency"] = clear.getpixel((12, 2))
    shown = Image.new("RGBA", (48, 36))
    shown.paste(clear.convert("RGBA"), (24, 18))
    np.testing.assert_array_equal(PINNED["part-clear.gif"], decode_image(encoded(shown, "PNG")))
    assert (PINNED["part-clear.gif"][0] == 255).all()


def test_a_grey_part() -> None:
    grey = Image.fromarray(MAKE.scene()[..., 0]).resize((24, 18))
    data = part_of_a_screen(encoded(grey, "GIF"), (40, 40), (0, 22))
    due = decode_image(encoded(on_white(grey, (40, 40), (0, 22)), "PNG"))
    np.testing.assert_array_equal(decode_image(data), due)


def test_the_screen_grows_with_its_frame() -> None:
    data = part_of_a_screen(encoded(FRAME, "GIF"), (10, 10), (5, 5))
    assert (read_header(data).width, read_header(data).height) == (29, 23)


def test_stray_bytes_without_end_are_not_walked_through() -> None:
    whole = (GOLDEN / "interlaced.gif").read_bytes()
    with pytest.raises(ImageError, match="GIF has too many parts"):
        decode_image(whole[: whole.index(b"\x2c\0\0\0\0")] + bytes(1_000_000))
