"""Training, top to bottom: recipe → device → teacher → data → step → epochs → averaged weights → temperature.

A fine-tuning has no teacher, but may be one; it begins with weights that others have trained
(`model.training.finetune`), and ends where the validation images say that no further epoch helps.

On the 5,000 test images of CIFAR-10's five classes (JPEGs), two quiet cores of an AMD EPYC that multiplies
bfloat16: QUICK, what `make run` uses, 0.861 in 223 s (n = 1); BEST 0.8843, standard deviation 0.0026
(n = 5), in 10 min, once its teacher has been trained, which takes 36 min of processor time.
What was measured and tried: docs/training.md.

Every random choice follows from (seed, epoch) or from a state that the checkpoint holds, so a run that was
killed and started again ends with the same weights as one that was not.
"""

import fcntl
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

from model.contract import LITE_SIZES, MODEL_NAME
from model.data.dataset import Dataset
from model.network.pretrained.source import find_weights
from model.report.evaluate import softmax
from model.training.checkpoint import Checkpoint, load_checkpoint, remove_checkpoint, save_checkpoint
from model.training.device import prepare_device
from model.training.enlarged import enlarged
from model.training.observer import Observer, Plan, TrainedModel
from model.training.recipe import FineTuneRecipe, Recipe, StaleCheckpointError, TrainingError
from model.training.teacher import Lesson
from model.training.trainer import Trainer

__all__ = ["BEST", "QUICK", "RECIPES", "Observer", "Recipe", "TrainedModel", "TrainingError", "train"]

log = logging.getLogger(__name__)

QUICK: Final = Recipe(
    name="quick",
    epochs=36,
    batch_size=64,
    learning_rate=3e-3,
    warmup=0.1,
    weight_decay=5e-3,
    label_smoothing=0.05,
    averaging=0.998,
    shift=4,
    flip=True,
    # In so short a training the network's own 0.3 and 0.5, and less, cost more than they gain.
    dropout_block=0.0,
    dropout_hidden=0.0,
)
# Seven times the served network's cost an image; trained once for all seeds on the same data.
TEACHER: Final = Recipe(
    name="teacher",
    network="teacher",
    epochs=32,
    batch_size=64,
    learning_rate=2e-3,
    warmup=0.1,
    weight_decay=5e-2,
    averaging=0.998,
    shift=4,
    flip=True,
    cutout=12,
)
BEST: Final = replace(
    QUICK,
    name="best",
    epochs=100,
    weight_decay=2e-2,
    # The teacher's softened answers say how alike two classes are in this image; smoothing would blur that.
    label_smoothing=0.0,
    teacher=TEACHER,
    softening=3.0,
)
RECIPES: Final = {recipe.name: recipe for recipe in (QUICK, BEST)}


def train(
    dataset: Dataset,
    recipe: Recipe,
    *,
    run_dir: Path,
    seed: int = 0,
    observers: Sequence[Observer] = (),
    require_gpu: bool = False,
    teacher_dir: Path | None = None,
    teacher_observers: Sequence[Observer] = (),
    model: str = MODEL_NAME,
    weights: Path | None = None,
) -> TrainedModel:
    """Train the network; a checkpoint of the same run in `run_dir` is continued.

    A recipe with a teacher trains that first, unless its answers to the same images are there already.

    Ctrl-C ends it between two steps with the checkpoint of the last whole epoch kept, as does whatever else a
    signal's handler raises: `cnn-image` has one for SIGTERM.

    Args:
        dataset: Its test split is not touched.
        recipe: How to train; for one's own pictures see `model.training.fitting`.
        run_dir: Where checkpoints go; made if absent.
        seed: Any integer from 0.
        observers: Told of each epoch.
        require_gpu: End at once when there is no GPU.
        teacher_dir: Where the teacher's answers are, or go, so that runs may share them; below `run_dir`
            unless named.
        teacher_observers: Told of each epoch of the teacher.
        model: The model's name, for the contract of what comes out.
        weights: The file that a fine-tuning begins with; None takes the network's package.

    Raises:
        ContractError: Fewer than two classes have training images, or their size suits no such network.
        TrainingError: No GPU where one is required.
        WeightsError: There are no weights, or others than the recipe says.
        StaleCheckpointError: `run_dir` holds a checkpoint that is another run's or damaged.
        KeyboardInterrupt: It was asked to stop by Ctrl-C.
    """
    file, pretrained = None, None
    if isinstance(recipe, FineTuneRecipe):
        file, pretrained = find_weights(recipe.pretrained, weights, recipe.weights or None)
    device = prepare_device(require_gpu=require_gpu)
    recipe = recipe.fitted(len(dataset.train))
    run_dir.mkdir(parents=True, exist_ok=True)
    fingerprint = {"recipe": asdict(recipe), "seed": seed, "data": dataset.digest, "device": device.kind}
    checkpoint = _own_checkpoint(run_dir, fingerprint)
    targets = None
    more: dict[str, float] = {}
    if recipe.teacher:
        teacher = _taught(dataset, recipe.teacher, teacher_dir or run_dir / "teacher", teacher_observers)
        targets = softmax(teacher.arrays[0], recipe.softening)
        more = {
            "teacher_val_accuracy": teacher.history["val_accuracy"][-1],
            "teacher_cpu_seconds": sum(teacher.history["cpu_seconds"]),
        }
    trainer = Trainer(dataset, recipe, seed, device.policy, targets, model)
    if file and checkpoint is None:
        checkpoint = _begun(trainer, dataset, file, run_dir, fingerprint)
    history: dict[str, list[float]] = {}
    first_epoch = 1
    if checkpoint:
        trainer.restore(checkpoint.arrays)
        history, first_epoch = checkpoint.history, checkpoint.epoch + 1
    plan = Plan(dataset, recipe, seed, run_dir, device.name, trainer.steps_per_epoch, first_epoch, pretrained)
    for observer in observers:
        observer.started(plan)
    try:
        for epoch in range(first_epoch, recipe.epochs + 1):
            if _helps_no_more(recipe, history):
                break
            metrics = _one_epoch(trainer, epoch, history, observers)
            save_checkpoint(run_dir, Checkpoint(fingerprint, epoch, history, trainer.arrays()))
            for observer in observers:
                observer.epoch_ended(epoch, metrics)
        if pretrained:
            more["best_epoch"] = _best_epoch(history)
        trained = trainer.finish(history, more, pretrained)
    except BaseException as reason:
        for observer in observers:
            observer.stopped(reason)
        raise
    for observer in observers:
        observer.finished(trained)
    return trained


def _own_checkpoint(run_dir: Path, fingerprint: dict[str, Any]) -> Checkpoint | None:
    checkpoint = load_checkpoint(run_dir)
    if checkpoint and checkpoint.fingerprint != fingerprint:
        raise StaleCheckpointError(
            f"{run_dir} holds the checkpoint of another run (other recipe, seed, data or device); "
            "name another folder, or delete this one."
        )
    return checkpoint


def _begun(
    trainer: Trainer, dataset: Dataset, weights: Path, run_dir: Path, fingerprint: dict[str, Any]
) -> Checkpoint:
    """The state before the first epoch, with weights that others have trained; kept, for it takes a while."""
    log.info("Computing what %s sees in the images, once …", trainer.contract.network)
    head = trainer.begin(dataset, weights)
    log.info("The classes told by that alone: validation accuracy %.3f.", head.val_accuracy)
    begun = Checkpoint(fingerprint, 0, {}, trainer.arrays())
    save_checkpoint(run_dir, begun)
    return begun


def _one_epoch(
    trainer: Trainer, epoch: int, history: dict[str, list[float]], observers: Sequence[Observer]
) -> dict[str, float]:
    """Train an epoch, and note its metrics in the history."""
    metrics = trainer.train_epoch(epoch, observers)
    for name, value in metrics.items():
        history.setdefault(name, []).append(value)
    if isinstance(trainer.recipe, FineTuneRecipe) and _best_epoch(history) == epoch:
        trainer.keep()
    return metrics


def _best_epoch(history: Mapping[str, list[float]]) -> int:
    """The epoch whose weights are handed over, counted from 1.

    It is the last one whose validation loss is the lowest within that one's standard error: over few images
    the lowest is lowest by chance, and at rates that fall the later weights are better.
    """
    losses = history["val_loss"]
    lowest = losses.index(min(losses))
    near = losses[lowest] + history["val_loss_error"][lowest]
    # Of a training that has lost its way no loss is a number, and none compares.
    return max((epoch for epoch, loss in enumerate(losses, start=1) if loss <= near), default=lowest + 1)


def _helps_no_more(recipe: Recipe, history: Mapping[str, list[float]]) -> bool:
    """Whether the validation loss has been worse than the best for as long as a recipe's patience lasts."""
    if not isinstance(recipe, FineTuneRecipe) or not history:
        return False
    return len(history["val_loss"]) - _best_epoch(history) >= recipe.patience


def _taught(dataset: Dataset, recipe: Recipe, folder: Path, observers: Sequence[Observer]) -> Checkpoint:
    """A teacher's logits `[N, C]` for the training images: those kept in `folder`, or of one trained now.

    Each teacher and data set has a folder of its own in there. The seed is always 0: students of any seed
    learn from the same one. One that is fine-tuned takes larger images.
    """
    lesson = Lesson(dataset, recipe, folder)
    with (lesson.folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.warning("Another run trains the teacher in %s; waiting for it.", lesson.folder)
            fcntl.flock(lock, fcntl.LOCK_EX)
        kept = lesson.kept()
        if kept:
            return kept
        small = isinstance(recipe, FineTuneRecipe) and dataset.size < LITE_SIZES[0]
        shown = enlarged(dataset, LITE_SIZES[0]) if small else dataset
        try:
            trained = train(shown, recipe, run_dir=lesson.folder, observers=observers)
        except StaleCheckpointError:  # damaged, or begun on another device
            remove_checkpoint(lesson.folder)
            trained = train(shown, recipe, run_dir=lesson.folder, observers=observers)
        log.info("The teacher answers the %d training images, minutes on a CPU …", len(dataset.train))
        kept = lesson.ask(trained.network, trained.history)
        remove_checkpoint(lesson.folder)
    return kept
