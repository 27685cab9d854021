"""Images that do not fit on the device are read a batch at a time: the same ones, in the same order."""

import tempfile
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from model.data.dataset import Dataset
from model.data.images import FileRows
from model.training.batches import feed
from model.training.batches.feed import Feed
from model.training.recipe import Recipe
from model.training.trainer import Trainer


def in_file(images: NDArray[np.uint8], folder: Path) -> FileRows:
    """The same images, which lie in a file the other way round."""
    images[::-1].tofile(folder / "images.u8")
    return FileRows(folder / "images.u8", np.arange(len(images))[::-1], images.shape[1])


@pytest.mark.parametrize("limit", [0, 1 << 30])
def test_each_batch_is_the_images_that_were_asked_for(
    limit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "ON_DEVICE", limit)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (100, 32, 32, 3), np.uint8)
    fed = Feed(in_file(images, tmp_path), border=2)
    assert fed.resident == bool(limit)
    order = rng.permutation(100).astype(np.int32)[:96]
    batches = list(fed.batches(order, 8))
    assert len(batches) == 12
    for number, pixels in enumerate(batches):
        rows = order[8 * number : 8 * number + 8]
        due = np.pad(images[rows], ((0, 0), (2, 2), (2, 2), (0, 0)))
        np.testing.assert_array_equal(np.asarray(fed.take(rows, pixels)), due)


def test_who_stops_early_leaves_no_thread_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "ON_DEVICE", 0)
    fed = Feed(np.zeros((64, 32, 32, 3), np.uint8), border=0)
    before = threading.active_count()
    batches = fed.batches(np.arange(64, dtype=np.int32), 4)
    next(batches)
    batches.close()  # type: ignore[attr-defined] # of a generator
    assert threading.active_count() == before


@pytest.mark.slow
def test_the_weights_are_the_same(easy: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Recipe("tiny", epochs=1, batch_size=32, learning_rate=2e-3, shift=2, flip=True)

    def trained(data: Dataset) -> list[NDArray[np.float32]]:
        trainer = Trainer(data, recipe, 3)
        trainer.train_epoch(1)
        assert trainer.compiled_steps == 1
        weights: list[NDArray[np.float32]] = trainer.averaged.get_weights()
        return weights

    with tempfile.TemporaryDirectory() as folder:
        file = in_file(easy.train.images, Path(folder))
        from_file = replace(easy, train=replace(easy.train, images=file))
        on_device = trained(from_file)
        monkeypatch.setattr(feed, "ON_DEVICE", 0)
        for mine, others in zip(on_device, trained(from_file), strict=True):
            np.testing.assert_array_equal(mine, others)
