"""A training run's state on disk: one file, replaced whole after each epoch."""

import json
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from model.training.recipe import StaleCheckpointError

CHECKPOINT: Final = "checkpoint.npz"


@dataclass(frozen=True)
class Checkpoint:
    """The state after `epoch` whole epochs.

    Attributes:
        fingerprint: What makes it this run's: recipe, seed, data digest, device.
        epoch: Epochs done.
        history: Metrics of each.
        arrays: Every variable, in the trainer's order.
    """

    fingerprint: dict[str, Any]
    epoch: int
    history: dict[str, list[float]]
    arrays: list[NDArray[Any]]


def save_checkpoint(run_dir: Path, checkpoint: Checkpoint, name: str = CHECKPOINT) -> None:
    """Write it beside the earlier one, then replace that: a kill leaves one of the two whole."""
    about = {"fingerprint": checkpoint.fingerprint, "epoch": checkpoint.epoch, "history": checkpoint.history}
    head = np.frombuffer(json.dumps(about).encode(), np.uint8)
    named = {f"array{number}": array for number, array in enumerate(checkpoint.arrays)}
    part = run_dir / f"{name}.part"
    with part.open("wb") as file:
        np.savez(file, allow_pickle=False, head=head, **named)
        file.flush()
        os.fsync(file.fileno())
    part.replace(run_dir / name)


def load_checkpoint(run_dir: Path, name: str = CHECKPOINT) -> Checkpoint | None:
    """Return the checkpoint `name` in `run_dir`; None when there is none.

    Raises:
        StaleCheckpointError: The file is damaged.
    """
    path = run_dir / name
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            head = json.loads(file["head"].tobytes())
            arrays = [file[f"array{number}"] for number in range(len(file.files) - 1)]
    except (zipfile.BadZipFile, KeyError, ValueError, EOFError, OSError) as error:
        raise StaleCheckpointError(
            f"{path} is damaged ({error}); delete it to train from the start."
        ) from error
    return Checkpoint(head["fingerprint"], head["epoch"], head["history"], arrays)


def remove_checkpoint(run_dir: Path) -> None:
    """Remove it once the run is saved."""
    (run_dir / CHECKPOINT).unlink(missing_ok=True)
