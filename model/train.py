"""Training, top to bottom: recipe → device → data → step → epochs → averaged weights → temperature.

QUICK is what `make run` uses; BEST is for a GPU or a patient CPU. Results, hardware and n are in
docs/training.md.

Every random choice follows from (seed, epoch) or from a state that the checkpoint holds, so a run that was
killed and started again ends with the same weights as one that was not.
"""

import contextlib
import signal
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

from model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from model.data import Dataset
from model.device import prepare_device
from model.observer import Observer, Plan, TrainedModel
from model.recipe import Recipe, StaleCheckpointError, TrainingError
from model.trainer import Trainer

__all__ = ["BEST", "QUICK", "RECIPES", "Observer", "Recipe", "TrainedModel", "TrainingError", "train"]

QUICK: Final = Recipe(
    name="quick",
    epochs=14,
    batch_size=128,
    learning_rate=4e-3,
    warmup=0.1,
    weight_decay=5e-3,
    label_smoothing=0.05,
    averaging=0.998,
    shift=4,
    flip=True,
    # The network's own 0.3 and 0.5 suit long training: in a short one they cost 0.1 of accuracy after two
    # epochs.
    dropout_block=0.1,
    dropout_hidden=0.3,
)
BEST: Final = replace(QUICK, name="best", epochs=80)
RECIPES: Final = {recipe.name: recipe for recipe in (QUICK, BEST)}


def train(
    dataset: Dataset,
    recipe: Recipe,
    *,
    run_dir: Path,
    seed: int = 0,
    observers: Sequence[Observer] = (),
    require_gpu: bool = False,
) -> TrainedModel:
    """Train the network; a checkpoint of the same run in `run_dir` is continued.

    Ctrl-C and SIGTERM end it between two steps with the checkpoint of the last whole epoch kept.

    Args:
        dataset: Its test split is not touched.
        recipe: How to train.
        run_dir: Where checkpoints go; made if absent.
        seed: Any integer from 0.
        observers: Told of each epoch.
        require_gpu: End at once when there is no GPU.

    Raises:
        TrainingError: No GPU where one is required.
        StaleCheckpointError: `run_dir` holds a checkpoint that is another run's or damaged.
        KeyboardInterrupt: It was asked to stop.
    """
    device = prepare_device(require_gpu=require_gpu)
    recipe = recipe.fitted(len(dataset.train))
    run_dir.mkdir(parents=True, exist_ok=True)
    fingerprint = {"recipe": asdict(recipe), "seed": seed, "data": dataset.digest, "device": device.kind}
    checkpoint = load_checkpoint(run_dir)
    if checkpoint and checkpoint.fingerprint != fingerprint:
        raise StaleCheckpointError(
            f"{run_dir} holds the checkpoint of another run (other recipe, seed, data or device); "
            "name another folder, or delete this one."
        )
    trainer = Trainer(dataset, recipe, seed, device.policy)
    history: dict[str, list[float]] = {}
    first_epoch = 1
    if checkpoint:
        trainer.restore(checkpoint.arrays)
        history, first_epoch = checkpoint.history, checkpoint.epoch + 1
    plan = Plan(dataset, recipe, seed, run_dir, device.name, trainer.steps_per_epoch, first_epoch)
    for observer in observers:
        observer.started(plan)
    try:
        with _sigterm_as_interrupt():
            for epoch in range(first_epoch, recipe.epochs + 1):
                metrics = trainer.train_epoch(epoch, observers)
                for name, value in metrics.items():
                    history.setdefault(name, []).append(value)
                save_checkpoint(run_dir, Checkpoint(fingerprint, epoch, history, trainer.arrays()))
                for observer in observers:
                    observer.epoch_ended(epoch, metrics)
            trained = trainer.finish(history)
    except BaseException as reason:
        for observer in observers:
            observer.stopped(reason)
        raise
    for observer in observers:
        observer.finished(trained)
    return trained


@contextlib.contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """Let SIGTERM, which Kubernetes sends, end training as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(signum: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
