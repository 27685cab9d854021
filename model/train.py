"""Training, top to bottom: recipe → device → data → step → epochs → averaged weights → temperature.

QUICK is what `make run` uses; BEST is for a GPU or a patient CPU. Results, hardware and n are in
docs/training.md.

Every random choice follows from (seed, epoch) or from a state that the checkpoint holds, so a run that was
killed and started again ends with the same weights as one that was not.
"""

import contextlib
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from model.contract import CLASSES
from model.data import Dataset
from model.device import prepare_device
from model.evaluate import fit_temperature, softmax
from model.forward import training_logits
from model.network import build_network
from model.observer import Observer, Plan, Step, TrainedModel
from model.recipe import Recipe, TrainingError

__all__ = ["BEST", "QUICK", "RECIPES", "Observer", "Recipe", "TrainedModel", "TrainingError", "train"]

QUICK: Final = Recipe(
    name="quick",
    epochs=18,
    batch_size=128,
    learning_rate=4e-3,
    warmup=0.1,
    weight_decay=5e-3,
    label_smoothing=0.05,
    averaging=0.998,
    shift=4,
    flip=True,
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
        TrainingError: No GPU where one is required, or `run_dir` holds another run's checkpoint.
        KeyboardInterrupt: It was asked to stop.
    """
    device = prepare_device(require_gpu=require_gpu)
    recipe = recipe.override(batch_size=min(recipe.batch_size, len(dataset.train)))
    run_dir.mkdir(parents=True, exist_ok=True)
    fingerprint = {"recipe": asdict(recipe), "seed": seed, "data": dataset.digest, "device": device.kind}
    checkpoint = load_checkpoint(run_dir)
    if checkpoint and checkpoint.fingerprint != fingerprint:
        raise TrainingError(
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


class Trainer:
    """Network, optimizer, averaged weights and the one compiled step over data that stays on the device."""

    def __init__(self, dataset: Dataset, recipe: Recipe, seed: int, policy: str = "float32") -> None:
        import keras
        import tensorflow as tf

        self.recipe, self.seed = recipe, seed
        self.steps_per_epoch = len(dataset.train) // recipe.batch_size
        keras.config.set_dtype_policy(policy)
        try:
            self.network = build_network(seed)
        finally:
            keras.config.set_dtype_policy("float32")
        steps = self.steps_per_epoch * recipe.epochs
        warmup = round(steps * recipe.warmup)
        schedule = keras.optimizers.schedules.CosineDecay(
            0.0 if warmup else recipe.learning_rate,
            decay_steps=max(1, steps - warmup),
            warmup_target=recipe.learning_rate if warmup else None,
            warmup_steps=warmup,
        )
        self.optimizer = keras.optimizers.AdamW(schedule, weight_decay=recipe.weight_decay)
        self.optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
        self.optimizer.build(self.network.trainable_variables)
        self.averaged = [tf.Variable(weight.value, trainable=False) for weight in self.network.weights]

        # The whole data set goes to the device once, with a border that shifted images show.
        border = (0, 0), (recipe.shift, recipe.shift), (recipe.shift, recipe.shift), (0, 0)
        self._images = tf.constant(np.pad(dataset.train.images, border))
        self._labels = tf.constant(dataset.train.labels)
        self._validation = dataset.validation
        self._step = tf.function(self._train_step, autograph=False)
        self._logits = tf.function(
            lambda images: self.network(images, training=False),
            input_signature=[tf.TensorSpec((None, *dataset.train.images.shape[1:]), tf.uint8)],
        )

    def train_epoch(self, epoch: int, observers: Sequence[Observer] = ()) -> dict[str, float]:
        """Pass over the training images once, then judge the averaged weights on the validation split."""
        import tensorflow as tf

        rng = np.random.default_rng((self.seed, epoch))
        size, batch, shift = len(self._labels), self.recipe.batch_size, self.recipe.shift
        order = rng.permutation(size)[: self.steps_per_epoch * batch].astype(np.int32)
        offsets = rng.integers(0, 2 * shift + 1, (len(order), 2), np.int32)
        mirrored = rng.integers(0, 1 + self.recipe.flip, len(order), np.int32)
        loss, right = tf.Variable(0.0), tf.Variable(0.0)
        began = told = time.monotonic()
        for step in range(self.steps_per_epoch):
            rows = slice(step * batch, (step + 1) * batch)
            batch_loss, batch_right = self._step(
                tf.constant(order[rows]), tf.constant(offsets[rows]), tf.constant(mirrored[rows])
            )
            loss.assign_add(batch_loss)
            right.assign_add(batch_right)
            if (
                observers and time.monotonic() - told > 0.5
            ):  # reading a value waits for the device: not each step
                told = time.monotonic()
                done = step + 1
                now = Step(epoch, done, float(loss) / done, float(right) / (done * batch))
                for observer in observers:
                    observer.stepped(now)
        metrics = {"accuracy": float(right) / len(order), "loss": float(loss) / self.steps_per_epoch}
        seconds = time.monotonic() - began
        logits = self.validation_logits()
        metrics |= {
            "val_accuracy": float((logits.argmax(axis=1) == self._validation.labels).mean()),
            "val_loss": _nll(softmax(logits), self._validation.labels),
            "seconds": time.monotonic() - began,
            "images_per_second": len(order) / seconds,
        }
        return metrics

    def _train_step(self, order: Any, offsets: Any, mirrored: Any) -> tuple[Any, Any]:
        import tensorflow as tf

        images = augment(tf.gather(self._images, order), offsets, mirrored)
        labels = tf.gather(self._labels, order)
        smoothing = self.recipe.label_smoothing
        targets = tf.one_hot(labels, len(CLASSES)) * (1 - smoothing) + smoothing / len(CLASSES)
        with tf.GradientTape() as tape:
            logits = training_logits(
                self.network,
                images,
                dropout_block=self.recipe.dropout_block,
                dropout_hidden=self.recipe.dropout_hidden,
                seed=tf.stack([tf.cast(self.optimizer.iterations.value, tf.int32), self.seed]),
            )
            loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(targets, logits))
        variables = self.network.trainable_variables
        self.optimizer.apply(tape.gradient(loss, variables), variables)
        # An average over few steps at first, or it would remember the random weights for long.
        done = tf.cast(self.optimizer.iterations.value, tf.float32)
        keep = tf.minimum(self.recipe.averaging, (1 + done) / (10 + done))
        for average, weight in zip(self.averaged, self.network.weights, strict=True):
            average.assign(average * keep + weight.value * (1 - keep))
        right = tf.reduce_sum(tf.cast(tf.argmax(logits, axis=1) == labels, tf.float32))
        return loss, right

    def validation_logits(self) -> NDArray[np.float32]:
        """The averaged weights' logits `[N, 5]` on the validation split."""
        with self._averaged_weights():
            images = self._validation.images
            parts = [self._logits(images[row : row + 500]).numpy() for row in range(0, len(images), 500)]
        return np.concatenate(parts)

    @contextlib.contextmanager
    def _averaged_weights(self) -> Iterator[None]:
        last = self.network.get_weights()
        self.network.set_weights([average.numpy() for average in self.averaged])
        try:
            yield
        finally:
            self.network.set_weights(last)

    def finish(self, history: dict[str, list[float]]) -> TrainedModel:
        """Fit the temperature and hand over a float32 network with the averaged weights."""
        logits = self.validation_logits()
        labels = self._validation.labels
        temperature = fit_temperature(logits, labels)
        network = build_network(self.seed)
        network.set_weights([average.numpy() for average in self.averaged])
        metrics = {name: values[-1] for name, values in history.items()}
        metrics["val_loss"] = _nll(softmax(logits, temperature), labels)
        metrics["seconds"] = sum(history["seconds"])
        return TrainedModel(network, temperature, metrics, history, self.recipe, self.seed)

    @property
    def compiled_steps(self) -> int:
        """How often the training step was compiled; once, or time is lost."""
        return int(self._step.experimental_get_tracing_count())

    def arrays(self) -> list[NDArray[Any]]:
        """Everything that changes while training: weights, optimizer, averages."""
        return [np.asarray(variable) for variable in self._state()]

    def restore(self, arrays: list[NDArray[Any]]) -> None:
        """Set everything that `arrays` returned."""
        for variable, value in zip(self._state(), arrays, strict=True):
            variable.assign(value)

    def _state(self) -> list[Any]:
        return [*self.network.weights, *self.optimizer.variables, *self.averaged]


def augment(images: Any, offsets: Any, mirrored: Any) -> Any:
    """Cut `[N, 32, 32, 3]` out of bordered images `[N, 32 + 2s, 32 + 2s, 3]`, each at its own place.

    Args:
        images: uint8 tensor.
        offsets: int32 `[N, 2]`, the first row and column of each cut, 0..2s.
        mirrored: int32 `[N]`, 1 where left and right change places.
    """
    import tensorflow as tf

    line = tf.range(32)
    rows = offsets[:, :1] + line
    columns = offsets[:, 1:] + tf.where(mirrored[:, None] == 1, 31 - line, line)
    return tf.gather(tf.gather(images, rows, axis=1, batch_dims=1), columns, axis=2, batch_dims=1)


def _nll(probs: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    return float(-np.log(np.clip(probs[np.arange(len(labels)), labels], 1e-12, 1)).mean())


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
