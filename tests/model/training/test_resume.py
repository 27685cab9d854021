"""Killed at any moment and started again, training ends with the weights of a run that was left alone."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from model.data.dataset import Dataset

pytestmark = pytest.mark.slow

PROGRAM = """
import sys
from pathlib import Path
import numpy as np
from model.data.dataset import Dataset, Split
from model.training.observer import Observer
from model.training.train import Recipe, train

class Say(Observer):
    def started(self, plan):
        print("from epoch", plan.first_epoch, flush=True)
    def stepped(self, step):
        print("step", flush=True)
    def epoch_ended(self, epoch, metrics):
        print("epoch", epoch, flush=True)

data, run = np.load(sys.argv[1]), Path(sys.argv[2])
splits = [Split(data[f"{name}_images"], data[f"{name}_labels"]) for name in ("train", "validation", "test")]
recipe = Recipe("tiny", 5, 32, 2e-3, 0.1, 1e-3, 0.05, 0.9, 2, True)
trained = train(Dataset(*splits, "easy", "sample"), recipe, run_dir=run, seed=11, observers=[Say()])
np.savez(run / "weights.npz", *trained.network.get_weights(), temperature=trained.temperature)
"""


def start(data: Path, run: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", PROGRAM, str(data), str(run)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def kill_after(process: "subprocess.Popen[str]", line: str) -> list[str]:
    """SIGKILL right after the program prints `line`; returns what it printed."""
    assert process.stdout is not None
    assert process.stderr is not None
    lines = []
    for printed in process.stdout:
        lines.append(printed.strip())
        if lines[-1] == line:
            process.kill()
            break
    else:
        pytest.fail(f"{line!r} never came:\n{process.stderr.read()[-3000:]}")
    process.communicate()
    return lines


def finish(process: "subprocess.Popen[str]", run: Path) -> tuple[str, dict[str, np.ndarray]]:
    out, err = process.communicate(timeout=500)
    assert process.returncode == 0, err[-3000:]
    with np.load(run / "weights.npz") as file:
        return out.splitlines()[0], dict(file)


def test_sigkill_and_start_again(easy: Dataset, tmp_path: Path) -> None:
    splits = {"train": easy.train, "validation": easy.validation, "test": easy.test}
    arrays = {f"{name}_images": split.images for name, split in splits.items()}
    arrays |= {f"{name}_labels": split.labels for name, split in splits.items()}
    data = tmp_path / "easy.npz"
    np.savez(data, **arrays)

    whole = tmp_path / "whole"
    first_line, expected = finish(start(data, whole), whole)
    assert first_line == "from epoch 1"

    killed = tmp_path / "killed"
    assert kill_after(start(data, killed), "epoch 2")[0] == "from epoch 1"
    assert kill_after(start(data, killed), "epoch 4")[0] == "from epoch 3"
    # A kill while the checkpoint is written leaves its unfinished part behind.
    (killed / "checkpoint.npz.part").write_bytes(b"half of a")
    first_line, found = finish(start(data, killed), killed)
    assert first_line == "from epoch 5"
    assert found.keys() == expected.keys()
    for name in expected:
        assert np.array_equal(found[name], expected[name]), name
