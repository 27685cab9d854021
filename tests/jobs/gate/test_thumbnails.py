"""The picture of flipped answers: one size whatever the images', with names of any length and script."""

import io

import numpy as np
import pytest
from PIL import Image

from jobs.gate.answers import Answers
from jobs.gate.thumbnails import flipped
from model.data.dataset import Split

RED, GREEN = (178, 34, 34), (46, 139, 87)


def answers(version: int, given: list[int], classes: int) -> Answers:
    return Answers(version, np.eye(classes, dtype=np.float32)[given])


def drawn(sheet: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(sheet)))


def has(picture: np.ndarray, colour: tuple[int, int, int]) -> bool:
    return bool((picture == colour).all(axis=-1).any())


@pytest.mark.parametrize("side", [32, 48, 64, 224])
def test_the_picture_is_of_one_size_for_images_of_any(side: int) -> None:
    images = np.zeros((3, side, side, 3), np.uint8)
    images[:, :, : side // 2] = (0, 0, 255)
    names = (
        "a dog, or a very long name of a class that nobody could print in a cell of so few pixels",
        "犬",
        "b",
    )
    files = ("folder/" * 30 + "IMG_1.jpg", "two\nlines.png", "c.png")
    test = Split(images, np.array([0, 1, 2]), names, names=files)
    picture = drawn(flipped(test, answers(2, [1, 1, 2], 3), answers(1, [0, 2, 2], 3)))
    assert picture.shape == (140, 8 * 144, 3)
    cell = picture[4:100, 4:100]  # of the broken answer, which stands before the mended one
    assert (cell[:, :40] == (0, 0, 255)).all()
    assert (cell[:, 56:] == 0).all()
    below = picture[100:]
    assert has(below[:, :144], RED)
    assert has(below[:, 144:288], GREEN)
    assert (below[:, 140:148] == 255).all()  # no text reaches the next cell
    assert (picture[:, 288:] == 255).all()


def test_images_of_a_class_that_only_one_knows_are_left_out() -> None:
    images = np.zeros((2, 32, 32, 3), np.uint8)
    test = Split(images, np.array([0, 2]), ("a", "b", "c"))
    picture = drawn(flipped(test, answers(2, [0, 2], 3), answers(1, [0, 1], 2)))
    assert not has(picture, GREEN)
