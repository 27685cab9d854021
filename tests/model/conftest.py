"""Small data in CIFAR-10's official layout, and a small data set to train on."""

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from model.contract import CLASSES
from model.data.dataset import Dataset, Split

BATCHES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")


def batch(rows: int, seed: int) -> dict[bytes, object]:
    """What one official file holds: all ten labels in turn, random pixels."""
    rng = np.random.default_rng(seed)
    return {
        b"batch_label": b"training batch",
        b"labels": [row % 10 for row in range(rows)],
        b"data": rng.integers(0, 256, (rows, 3072), np.uint8),
        b"filenames": [f"image_{row}.png".encode() for row in range(rows)],
    }


@pytest.fixture
def write_batches() -> Callable[[Path], Path]:
    """Writes six official batches of 40 images into a folder."""

    def write(folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for seed, name in enumerate(BATCHES):
            (folder / name).write_bytes(pickle.dumps(batch(40, seed), protocol=2))
        return folder

    return write


@pytest.fixture
def batches(tmp_path: Path, write_batches: Callable[[Path], Path]) -> Path:
    """A folder of six official batches of 40 images."""
    return write_batches(tmp_path / "cifar-10-batches-py")


def easy_split(rows: int, seed: int) -> Split:
    """Images that a network learns at once: each class has a brightness of its own, and noise."""
    rng = np.random.default_rng(seed)
    labels = np.arange(rows, dtype=np.int64) % len(CLASSES)
    noise: NDArray[np.int64] = rng.integers(0, 40, (rows, 32, 32, 3))
    return Split((noise + 40 * labels[:, None, None, None]).astype(np.uint8), labels)


@pytest.fixture(scope="session")
def easy() -> Dataset:
    """A data set that can be learned in seconds."""
    return Dataset(easy_split(320, 1), easy_split(100, 2), easy_split(100, 3), "easy images", "sample")
