"""What trains: one compiled step over images that lie on the device, and what it moves."""

import time
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from model.contract import CLASSES
from model.data.dataset import Dataset
from model.network.cnn import build_network
from model.network.forward import compile_sweep, training_logits
from model.report.evaluate import evaluate, fit_temperature, softmax
from model.training.observer import Observer, Step, TrainedModel
from model.training.recipe import Recipe
from model.training.teacher import build_teacher, teacher_logits

_GREY: Final = 128  # about the images' mean


class Trainer:
    """Network, optimizer, averaged network and the one compiled step over data that stays on the device.

    Attributes:
        network: What the optimizer moves, in the device's precision.
        averaged: The same in float32, with an average of the weights of recent steps; this is what is kept.
        images: The training images, bordered, on the device.
    """

    def __init__(
        self,
        dataset: Dataset,
        recipe: Recipe,
        seed: int,
        policy: str = "float32",
        targets: NDArray[np.float32] | None = None,
    ) -> None:
        """Build everything; nothing is compiled yet.

        Args:
            dataset: Its test split is not touched.
            recipe: How to train.
            seed: Of weights, order, augmentation and dropout.
            policy: Keras' dtype policy for the network that the optimizer moves.
            targets: Probabilities `[N, 5]` to be learned for the training images; None takes the labels.
        """
        import keras
        import tensorflow as tf

        self.recipe, self.seed = recipe, seed
        self.steps_per_epoch = len(dataset.train) // recipe.batch_size
        build = build_teacher if recipe.network == "teacher" else build_network
        self.averaged = build(seed)
        keras.config.set_dtype_policy(policy)
        try:
            self.network = build(seed)
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

        # All images go to the device once, with a border that shifted ones show.
        border = (0, 0), (recipe.shift, recipe.shift), (recipe.shift, recipe.shift), (0, 0)
        self.images = tf.constant(np.pad(dataset.train.images, border))
        self._labels = tf.constant(dataset.train.labels)
        if targets is None:
            targets = np.eye(len(CLASSES), dtype=np.float32)[dataset.train.labels]
        smoothing = recipe.label_smoothing
        self._targets = tf.constant(targets * (1 - smoothing) + smoothing / len(CLASSES), tf.float32)
        self._validation = dataset.validation
        self._move = compile_sweep(self._move_weights)
        self._step = tf.function(self._train_step, autograph=False)
        self._logits = tf.function(
            lambda images: self.averaged(images, training=False),
            input_signature=[tf.TensorSpec((None, *dataset.train.images.shape[1:]), tf.uint8)],
        )

    def train_epoch(self, epoch: int, observers: Sequence[Observer] = ()) -> dict[str, float]:
        """Pass over the training images once, then judge the averaged network on the validation split."""
        began, cpu_began = time.monotonic(), time.process_time()
        metrics = self.train_steps(epoch, observers)
        judged = evaluate(softmax(self.validation_logits()), self._validation.labels)
        metrics |= {"val_accuracy": judged.accuracy, "val_loss": judged.nll}
        metrics["seconds"] = time.monotonic() - began
        metrics["cpu_seconds"] = time.process_time() - cpu_began
        return metrics

    def train_steps(self, epoch: int, observers: Sequence[Observer] = ()) -> dict[str, float]:
        """Pass over the training images once, in an order and with shifts that (seed, epoch) decide."""
        import tensorflow as tf

        rng = np.random.default_rng((self.seed, epoch))
        batch, shift = self.recipe.batch_size, self.recipe.shift
        order = rng.permutation(len(self._labels))[: self.steps_per_epoch * batch].astype(np.int32)
        offsets = rng.integers(0, 2 * shift + 1, (len(order), 2), np.int32)
        mirrored = rng.integers(0, 1 + self.recipe.flip, len(order), np.int32)
        loss, right = tf.Variable(0.0), tf.Variable(0.0)
        began = told = time.monotonic()
        for step in range(self.steps_per_epoch):
            rows = slice(step * batch, (step + 1) * batch)
            batch_loss, batch_right = self.step(order[rows], offsets[rows], mirrored[rows])
            loss.assign_add(batch_loss)
            right.assign_add(batch_right)
            # Reading a value waits for the device, so not at each step.
            if observers and time.monotonic() - told > 0.5:
                told, done = time.monotonic(), step + 1
                now = Step(epoch, done, float(loss) / done, float(right) / (done * batch))
                for observer in observers:
                    observer.stepped(now)
        return {
            "accuracy": float(right) / len(order),
            "loss": float(loss) / self.steps_per_epoch,
            "images_per_second": len(order) / (time.monotonic() - began),
        }

    def step(self, order: Any, offsets: Any, mirrored: Any) -> tuple[Any, Any]:
        """Move the weights once.

        Args:
            order: int32 `[batch_size]`, which training images.
            offsets: See `augment`.
            mirrored: See `augment`.

        Returns:
            The mean loss and the number of right answers, scalar tensors.
        """
        import tensorflow as tf

        loss, right = self._step(*map(tf.convert_to_tensor, (order, offsets, mirrored)))
        return loss, right

    def _train_step(self, order: Any, offsets: Any, mirrored: Any) -> tuple[Any, Any]:
        import tensorflow as tf

        done = self.optimizer.iterations.value
        images = augment(tf.gather(self.images, order), offsets, mirrored)
        seed = tf.stack([tf.cast(done, tf.int32), self.seed])
        if self.recipe.cutout:
            images = cut_out(images, self.recipe.cutout, seed)
        labels = tf.gather(self._labels, order)
        targets = tf.gather(self._targets, order)
        with tf.GradientTape() as tape:
            logits = self._forward(images, seed)
            loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(targets, logits))
        self._move(tape.gradient(loss, self.network.trainable_variables))
        right = tf.reduce_sum(tf.cast(tf.argmax(logits, axis=1) == labels, tf.float32))
        return loss, right

    def _move_weights(self, gradients: list[Any]) -> None:
        """Apply AdamW, then let the averaged weights follow."""
        import tensorflow as tf

        # An average over few steps at first, or it would remember the random weights for long.
        steps = tf.cast(self.optimizer.iterations.value, tf.float32)
        keep = tf.minimum(self.recipe.averaging, (1 + steps) / (10 + steps))
        self.optimizer.apply(gradients, self.network.trainable_variables)
        for average, weight in zip(self.averaged.weights, self.network.weights, strict=True):
            average.assign(average.value + (weight.value - average.value) * (1 - keep))

    def _forward(self, images: Any, seed: Any) -> Any:
        if self.recipe.network == "teacher":
            return teacher_logits(self.network, images)
        rates = {"dropout_block": self.recipe.dropout_block, "dropout_hidden": self.recipe.dropout_hidden}
        return training_logits(self.network, images, seed=seed, **rates)

    def validation_logits(self) -> NDArray[np.float32]:
        """The averaged network's logits `[N, 5]` on the validation split."""
        images = self._validation.images
        return np.concatenate([self._logits(images[row : row + 500]) for row in range(0, len(images), 500)])

    def finish(self, history: dict[str, list[float]], more: dict[str, float]) -> TrainedModel:
        """Fit the temperature and hand over the averaged network, with `more` among its metrics."""
        logits, labels = self.validation_logits(), self._validation.labels
        temperature = fit_temperature(logits, labels)
        metrics = more | {name: values[-1] for name, values in history.items()}
        metrics["val_loss"] = evaluate(softmax(logits, temperature), labels).nll
        metrics |= {name: sum(history[name]) for name in ("seconds", "cpu_seconds")}
        return TrainedModel(self.averaged, temperature, metrics, history, self.recipe, self.seed)

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
        return [*self.network.weights, *self.optimizer.variables, *self.averaged.weights]


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


def cut_out(images: Any, side: int, seed: Any) -> Any:
    """Cover a square of each image, as DeVries & Taylor (2017): its centre lies anywhere in the image.

    Args:
        images: uint8 tensor `[N, 32, 32, 3]`.
        side: The square's side in pixels; what lies outside of the image is lost.
        seed: int32 tensor `[2]`; the same seed covers the same places.
    """
    import tensorflow as tf

    size = images.shape[1]
    centre = tf.random.stateless_uniform([tf.shape(images)[0], 2], seed, 0, size, tf.int32)
    first = centre[..., None] - side // 2
    line = tf.range(size)
    covered = (line >= first) & (line < first + side)
    square = covered[:, 0, :, None] & covered[:, 1, None, :]
    return tf.where(square[..., None], tf.constant(_GREY, images.dtype), images)
