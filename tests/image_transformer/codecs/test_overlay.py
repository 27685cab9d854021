import base64
import io

import numpy as np
from PIL import Image

from image_transformer.codecs.overlay import data_url, overlay


def drawn(values: list[list[float]], error: float) -> np.ndarray:  # type: ignore[type-arg]
    picture = Image.open(io.BytesIO(overlay(np.array(values, np.float32), error)))
    assert (picture.format, picture.mode) == ("PNG", "RGBA")
    return np.asarray(picture)


def test_the_most_is_yellow_and_what_says_nothing_is_clear() -> None:
    pixels = drawn([[0.5, 0.25], [0.03, -0.4]], 0.01)
    assert pixels[0, 0].tolist() == [255, 214, 51, 190]
    assert 0 < pixels[0, 1, 3] < 190
    assert pixels[1, :, 3].tolist() == [0, 0]


def test_noise_is_not_made_to_look_like_a_reason() -> None:
    assert drawn([[0.02, 0.01], [0.0, -0.02]], 0.01)[..., 3].max() == 0
    assert drawn([[0.0, 0.0], [0.0, 0.0]], 0.0)[..., 3].max() == 0


def test_it_is_an_address_that_a_page_can_name() -> None:
    png = overlay(np.eye(4, dtype=np.float32), 0.01)
    start, _, text = data_url(png).partition(",")
    assert (start, base64.b64decode(text)) == ("data:image/png;base64", png)
