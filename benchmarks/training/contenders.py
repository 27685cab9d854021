"""Who is compared, and the race: epochs in turn, so that other work on the machine hits all alike."""

import time
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.training.original import EPOCHS, Original
from benchmarks.training.result import Result
from model.data.dataset import Dataset
from model.data.images import Images
from model.network.cnn import classifier
from model.report.evaluate import evaluate, softmax
from model.training.device import Device
from model.training.recipe import Recipe
from model.training.train import QUICK
from model.training.trainer import Trainer

SHORT_EPOCHS: Final = 5


class _Original:
    compiled = None

    def __init__(self, dataset: Dataset, seed: int) -> None:
        self._original = Original(dataset, seed)

    def train_epoch(self, _: int) -> int:
        return self._original.train_epoch()

    def probs(self, images: Images) -> NDArray[np.float32]:
        return softmax(self._original.logits(images))


class _Ours:
    def __init__(self, dataset: Dataset, recipe: Recipe, seed: int, policy: str) -> None:
        self._trainer = Trainer(dataset, recipe, seed, policy)
        self.probs = classifier(self._trainer.averaged, 1.0)

    def train_epoch(self, epoch: int) -> int:
        self._trainer.train_steps(epoch)
        return self._trainer.steps_per_epoch * self._trainer.recipe.batch_size

    @property
    def compiled(self) -> int:
        return self._trainer.compiled_steps


Contender = tuple[str, int, Callable[[], _Original | _Ours]]


def line_up(dataset: Dataset, seed: int, device: Device) -> list[Contender]:
    """The original recipe, ours cut down to less than half of its time, and ours."""
    short = QUICK.override(epochs=SHORT_EPOCHS)
    return [
        ("original", EPOCHS, lambda: _Original(dataset, seed)),
        (f"quick, {SHORT_EPOCHS} epochs", SHORT_EPOCHS, lambda: _Ours(dataset, short, seed, device.policy)),
        ("quick", QUICK.epochs, lambda: _Ours(dataset, QUICK, seed, device.policy)),
    ]


def race(dataset: Dataset, contenders: list[Contender], say: Callable[[str], None]) -> list[Result]:
    """Train all of them, an epoch each in turn."""
    running = []
    for name, epochs, make in contenders:
        began = time.perf_counter()
        contender = make()
        running.append((Result(name, epochs, start_seconds=time.perf_counter() - began), contender))
    validation, test = dataset.validation, dataset.test
    for epoch in range(1, max(result.epochs for result, _ in running) + 1):
        for result, contender in running:
            if epoch > result.epochs:
                continue
            began = time.perf_counter()
            result.images = contender.train_epoch(epoch)
            result.epoch_seconds.append(time.perf_counter() - began)
            right = contender.probs(validation.images).argmax(axis=1) == validation.labels
            result.validation.append(float(right.mean()))
            say(f"{result.name:>18} epoch {epoch:>2}: {result.epoch_seconds[-1]:6.1f} s, {right.mean():.3f}")
    for result, contender in running:
        judged = evaluate(contender.probs(test.images), test.labels)
        result.test, result.interval, result.compiled = judged.accuracy, judged.interval, contender.compiled
    return [result for result, _ in running]
