"""Training from a file beside training from memory: `python -m benchmarks.large.feed [STEPS]`.

The recipe `quick` on 20,000 images of 32x32, in turns from images that lie on the device, as they do up to
1 GiB, and from rows of a file, read for each batch in the order in which they are drawn.
"""

import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from model.data.dataset import Dataset, Split
from model.data.images import FileRows
from model.training.batches import feed
from model.training.train import QUICK
from model.training.trainer import Trainer

_IMAGES: Final = 20_000
_ROUNDS: Final = 7


def main() -> None:
    """Measure and print."""
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (_IMAGES, 32, 32, 3), np.uint8)
    labels = np.arange(_IMAGES) % 5
    few = Split(images[:100], labels[:100])
    with tempfile.TemporaryDirectory() as folder:
        images.tofile(Path(folder) / "images.u8")
        in_file = FileRows(Path(folder) / "images.u8", rng.permutation(_IMAGES), 32)
        trainers = []
        for on_device, train in ((feed.ON_DEVICE, images), (0, in_file)):
            feed.ON_DEVICE = on_device  # type: ignore[misc] # final but for this comparison
            trainer = Trainer(
                Dataset(Split(train, labels), few, few, "", "images"), replace(QUICK, epochs=1), 0
            )
            trainer.steps_per_epoch = steps
            trainer.train_steps(0)  # compiled
            trainers.append(trainer)
        assert [trainer.feed.resident for trainer in trainers] == [True, False]
        speeds: list[list[tuple[float, float]]] = [[], []]
        for turn in range(_ROUNDS):
            for which in (0, 1) if turn % 2 else (1, 0):
                wall, cpu = time.perf_counter(), time.process_time()
                trainers[which].train_steps(turn + 1)
                trained = steps * QUICK.batch_size
                cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
                speeds[which].append((trained / cpu, trained / wall))
    for name, each in zip(("memory", "file"), speeds, strict=True):
        by_cpu, by_clock = (statistics.median(speed) for speed in zip(*each, strict=True))
        print(f"from {name}: {by_cpu:,.0f} images a CPU second, {by_clock:,.0f} a second")
    for kind, name in enumerate(("CPU", "clock")):
        ratios = [file[kind] / memory[kind] for memory, file in zip(*speeds, strict=True)]
        print(
            f"file / memory, by {name}: {statistics.median(ratios):.2f} "
            f"({min(ratios):.2f} to {max(ratios):.2f})"
        )


if __name__ == "__main__":
    main()
