from pathlib import Path

import numpy as np
import pytest

from model.training.checkpoint import Checkpoint, load_checkpoint, remove_checkpoint, save_checkpoint
from model.training.recipe import TrainingError

ARRAYS = [
    np.float32(3.5) * np.ones((2, 3), np.float32),
    np.array(7, np.int64),
    np.array([], np.float32),
] * 4


def checkpoint(epoch: int) -> Checkpoint:
    return Checkpoint({"seed": 1}, epoch, {"loss": [0.1] * epoch}, ARRAYS)


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path) is None
    save_checkpoint(tmp_path, checkpoint(1))
    save_checkpoint(tmp_path, checkpoint(2))
    found = load_checkpoint(tmp_path)
    assert found is not None
    assert (found.fingerprint, found.epoch, found.history) == ({"seed": 1}, 2, {"loss": [0.1, 0.1]})
    assert len(found.arrays) == len(ARRAYS)
    assert all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(found.arrays, ARRAYS, strict=True))
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.npz"]
    remove_checkpoint(tmp_path)
    assert load_checkpoint(tmp_path) is None


def test_a_write_that_is_cut_short_leaves_the_earlier_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_checkpoint(tmp_path, checkpoint(1))

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", killed)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(tmp_path, checkpoint(2))
    found = load_checkpoint(tmp_path)
    assert found is not None
    assert found.epoch == 1


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_damaged_one_says_what_to_do(tmp_path: Path, share: float) -> None:
    save_checkpoint(tmp_path, checkpoint(1))
    path = tmp_path / "checkpoint.npz"
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(TrainingError, match=r"checkpoint\.npz is damaged.*delete it"):
        load_checkpoint(tmp_path)
