"""Rows of a file behave as the array that they are, and are read only when they are asked for."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from model.data import images as module
from model.data.dataset import Split
from model.data.errors import DataError
from model.data.images import FileRows

ROWS = np.array([7, 2, 9, 2, 0])


@pytest.fixture
def pixels() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (10, 4, 4, 3), np.uint8)


@pytest.fixture
def file(pixels: NDArray[np.uint8], tmp_path: Path) -> Path:
    pixels.tofile(tmp_path / "pixels.u8")
    return tmp_path / "pixels.u8"


@pytest.mark.parametrize(
    "asked",
    [
        lambda images: images[1:4],
        lambda images: images[::-2],
        lambda images: images[:0],
        lambda images: images[np.array([3, 0, 3])],
        lambda images: images[np.array([True, False, True, False, True])],
        lambda images: images[np.int64(3)],
        lambda images: images[-1],
        lambda images: np.stack(list(images)),
        np.asarray,
        lambda images: images[:3][:, None],
    ],
)
def test_what_is_asked_is_what_an_array_answers(
    asked: Callable[[Any], NDArray[np.uint8]], file: Path, pixels: NDArray[np.uint8]
) -> None:
    images = FileRows(file, ROWS, 4)
    assert (len(images), images.shape) == (5, (5, 4, 4, 3))
    found, due = asked(images), asked(pixels[ROWS])
    assert (found.dtype, found.shape) == (due.dtype, due.shape)
    np.testing.assert_array_equal(found, due)
    some = images.picked(np.array([4, 1, 2, 0, 0]))
    np.testing.assert_array_equal(asked(some), asked(pixels[ROWS[[4, 1, 2, 0, 0]]]))


def test_a_file_that_is_removed_can_still_be_read(file: Path, pixels: NDArray[np.uint8]) -> None:
    images = FileRows(file, ROWS, 4)
    file.unlink()
    np.testing.assert_array_equal(images[:], pixels[ROWS])


def test_a_file_that_was_cut_is_named_as_what_it_is(file: Path) -> None:
    images = FileRows(file, ROWS, 4)
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(DataError, match="shorter than it was; delete it"):
        images[:]


def test_the_digest_is_that_of_the_array_and_computed_once(
    file: Path, pixels: NDArray[np.uint8], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BLOCK_BYTES", 100)
    labels = np.arange(5) % 2
    remembered = tmp_path / "pixels.digests"

    def split(rows: NDArray[np.int64]) -> Split:
        return Split(FileRows(file, rows, 4, remembered), labels)

    assert split(ROWS).digest == Split(pixels[ROWS], labels).digest
    monkeypatch.setattr(FileRows, "blocks", lambda self: pytest.fail("the pixels are read again"))
    assert split(ROWS).digest == Split(pixels[ROWS], labels).digest
    monkeypatch.undo()
    assert split(ROWS[::-1].copy()).digest == Split(pixels[ROWS[::-1]], labels).digest
    remembered.write_text("no JSON")
    assert split(ROWS).digest == Split(pixels[ROWS], labels).digest
