"""What trains: one compiled step over a batch of images, and what it moves."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from model.contract import MODEL_NAME, Contract
from model.data.dataset import Dataset
from model.network import efficientnet_lite
from model.network.cnn import build_network, images_at_a_time, unlearned_mask
from model.network.forward import compile_sweep, training_logits
from model.network.pretrained.source import PretrainedSource
from model.network.pretrained.torch_file import read_torch_file
from model.network.pretrained.weights import load_weights
from model.report.evaluate import evaluate, fit_temperature, softmax
from model.training.batches.augment import augmentation, cut_out
from model.training.batches.feed import Feed
from model.training.classes import class_counts, class_weights, contract_of, smoothed
from model.training.finetune import Head, fit_classes, tuning_logits
from model.training.observer import Observer, Step, TrainedModel
from model.training.recipe import FineTuneRecipe, PictureRecipe, Recipe
from model.training.teacher import build_teacher, teacher_logits

if TYPE_CHECKING:
    import keras


class Trainer:
    """Network, optimizer, averaged network and the one compiled step.

    Attributes:
        contract: What the network takes and answers.
        network: What the optimizer moves, in the device's precision.
        averaged: The same in float32, with an average of the weights of recent steps; this is what is kept.
        augmentation: How the images are varied.
        feed: The training images.
    """

    def __init__(
        self,
        dataset: Dataset,
        recipe: Recipe,
        seed: int,
        policy: str = "float32",
        targets: NDArray[np.float32] | None = None,
        model: str = MODEL_NAME,
    ) -> None:
        """Build everything; nothing is compiled yet.

        Args:
            dataset: Its test split is not touched.
            recipe: How to train.
            seed: Of weights, order, augmentation and dropout.
            policy: Keras' dtype policy for the network that the optimizer moves.
            targets: Probabilities `[N, C]` to be learned for the training images; None takes the labels.
            model: The model's name, for the contract.

        Raises:
            ContractError: Fewer than two classes have training images, or their size suits no such network.
        """
        import keras
        import tensorflow as tf

        self.recipe, self.seed = recipe, seed
        self.steps_per_epoch = len(dataset.train) // recipe.batch_size
        self._tunes = isinstance(recipe, FineTuneRecipe)
        network = recipe.pretrained if isinstance(recipe, FineTuneRecipe) else "cnn"
        self.contract = contract_of(dataset, model, network)
        build = _builder(recipe)
        self.averaged = build(seed, self.contract)
        keras.config.set_dtype_policy(policy)
        try:
            self.network = build(seed, self.contract)
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
        self._best = [tf.Variable(weight.value) for weight in self.averaged.weights] if self._tunes else []

        self.augmentation = augmentation(recipe)
        self.feed = Feed(dataset.train.images, self.augmentation.border)
        self._labels = tf.constant(dataset.train.labels)
        # Of labels a row a class, of a teacher's answers a row an image.
        self._by_label = targets is None
        if targets is None:
            targets = np.eye(len(self.contract.classes), dtype=np.float32)
        self._targets = tf.constant(smoothed(targets, recipe.label_smoothing, self.contract))
        self._mask = tf.constant(unlearned_mask(self.contract)) if self.contract.unlearned else None
        self._weights = None
        if isinstance(recipe, PictureRecipe) and recipe.balance:
            self._weights = tf.constant(class_weights(class_counts(dataset), recipe.balance))
        # No temperature and no likelihood can be had of images whose class is not learned.
        self._judged_rows = np.flatnonzero(np.isin(dataset.validation.labels, self.contract.learned))
        self._judged_labels = dataset.validation.labels[self._judged_rows]
        self._validation_images = dataset.validation.images
        self._move = compile_sweep(self._move_weights)
        self._step = tf.function(self._train_step, autograph=False)
        self._logits = tf.function(
            lambda images: self.averaged(images, training=False),
            input_signature=[tf.TensorSpec((None, *dataset.train.images.shape[1:]), tf.uint8)],
        )

    def begin(self, dataset: Dataset, weights: Path) -> Head:
        """Take weights that others have trained, and fit the classes to the features that they give.

        Args:
            dataset: As in the beginning.
            weights: The file; of the recipe's network.

        Raises:
            WeightsError: It cannot be read, or holds another network's.
        """
        load_weights(self.averaged, read_torch_file(weights), weights.name)
        balance = self.recipe.balance if isinstance(self.recipe, PictureRecipe) else 0.0
        head = fit_classes(self.averaged, dataset, self.contract, flip=self.recipe.flip, balance=balance)
        for weight, begun in zip(self.network.weights, self.averaged.weights, strict=True):
            weight.assign(begun)
        return head

    def keep(self) -> None:
        """Keep the averaged weights as they are now: they are handed over in place of the last ones."""
        for best, weight in zip(self._best, self.averaged.weights, strict=True):
            best.assign(weight)

    def train_epoch(self, epoch: int, observers: Sequence[Observer] = ()) -> dict[str, float]:
        """Pass over the training images once, then judge the averaged network on the validation split."""
        began, cpu_began = time.monotonic(), time.process_time()
        metrics = self.train_steps(epoch, observers)
        logits, labels = self.validation_logits(), self._judged_labels
        # By this loss the epochs of a fine-tuning are compared. Smoothed labels leave the plain one where it
        # is while answers get better; and what is handed over has a temperature.
        temperature = fit_temperature(logits, labels) if self._tunes else 1.0
        probs = softmax(logits, temperature)
        judged = evaluate(probs, labels, self.contract.classes)
        metrics |= {"val_accuracy": judged.accuracy, "val_loss": judged.nll}
        if self._tunes:
            metrics["val_loss_error"] = _standard_error(probs, labels)
        metrics["seconds"] = time.monotonic() - began
        metrics["cpu_seconds"] = time.process_time() - cpu_began
        return metrics

    def train_steps(self, epoch: int, observers: Sequence[Observer] = ()) -> dict[str, float]:
        """Pass over the training images once, in an order and with shifts that (seed, epoch) decide."""
        import tensorflow as tf

        rng = np.random.default_rng((self.seed, epoch))
        batch = self.recipe.batch_size
        order = rng.permutation(len(self._labels))[: self.steps_per_epoch * batch].astype(np.int32)
        drawn = self.augmentation.draw(rng, len(order))
        loss, right = tf.Variable(0.0), tf.Variable(0.0)
        began = told = time.monotonic()
        for step, pixels in enumerate(self.feed.batches(order, batch)):
            rows = slice(step * batch, (step + 1) * batch)
            batch_loss, batch_right = self.step(order[rows], *(each[rows] for each in drawn), pixels=pixels)
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

    def step(self, order: Any, *drawn: Any, pixels: NDArray[np.uint8] | None = None) -> tuple[Any, Any]:
        """Move the weights once.

        Args:
            order: int32 `[batch_size]`, which training images.
            drawn: How to vary each; see `augmentation`.
            pixels: The images themselves, where they do not lie on the device; see `feed`.

        Returns:
            The mean loss and the number of right answers, scalar tensors.
        """
        import tensorflow as tf

        given = None if pixels is None else tf.convert_to_tensor(pixels)
        loss, right = self._step(tf.convert_to_tensor(order), given, *map(tf.convert_to_tensor, drawn))
        return loss, right

    def _train_step(self, order: Any, pixels: Any, *drawn: Any) -> tuple[Any, Any]:
        import tensorflow as tf

        done = self.optimizer.iterations.value
        images = self.augmentation.vary(self.feed.take(order, pixels), *drawn)
        seed = tf.stack([tf.cast(done, tf.int32), self.seed])
        if self.recipe.cutout:
            images = cut_out(images, self.recipe.cutout, seed)
        labels = tf.gather(self._labels, order)
        targets = tf.gather(self._targets, labels if self._by_label else order)
        with tf.GradientTape() as tape:
            logits = self._forward(images, seed)
            if self._mask is not None:
                logits += self._mask
            losses = tf.nn.softmax_cross_entropy_with_logits(targets, logits)
            if self._weights is not None:
                losses *= tf.gather(self._weights, labels)
            loss = tf.reduce_mean(losses)
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
        if self._tunes:
            return tuning_logits(self.network, images)
        if self.recipe.network == "teacher":
            return teacher_logits(self.network, images)
        rates = {"dropout_block": self.recipe.dropout_block, "dropout_hidden": self.recipe.dropout_hidden}
        return training_logits(self.network, images, seed=seed, **rates)

    def validation_logits(self) -> NDArray[np.float32]:
        """The averaged network's logits `[N, C]` on the validation images whose class is learned."""
        rows, batch = self._judged_rows, images_at_a_time(self.contract.size)
        parts = [
            self._logits(self._validation_images[rows[start : start + batch]])
            for start in range(0, len(rows), batch)
        ]
        logits = np.concatenate(parts)
        return logits + unlearned_mask(self.contract) if self.contract.unlearned else logits

    def finish(
        self,
        history: dict[str, list[float]],
        more: dict[str, float],
        pretrained: PretrainedSource | None = None,
    ) -> TrainedModel:
        """Fit the temperature and hand over the averaged network, with `more` among its metrics.

        What was kept is handed over where anything was: see `keep`.
        """
        for weight, best in zip(self.averaged.weights if self._best else (), self._best, strict=True):
            weight.assign(best)
        logits, labels = self.validation_logits(), self._judged_labels
        temperature = fit_temperature(logits, labels)
        metrics = more | {name: values[-1] for name, values in history.items()}
        judged = evaluate(softmax(logits, temperature), labels, self.contract.classes)
        metrics |= {"val_accuracy": judged.accuracy, "val_loss": judged.nll}
        metrics |= {name: sum(history[name]) for name in ("seconds", "cpu_seconds")}
        return TrainedModel(
            self.averaged,
            temperature,
            metrics,
            history,
            self.recipe,
            self.seed,
            self.contract,
            pretrained,
        )

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
        return [*self.network.weights, *self.optimizer.variables, *self.averaged.weights, *self._best]


def _standard_error(probs: NDArray[np.float32], labels: NDArray[np.integer]) -> float:
    """Of the mean negative log-likelihood, in nats."""
    losses = -np.log(np.maximum(probs[np.arange(len(labels)), labels], 1e-12))
    return float(losses.std() / len(labels) ** 0.5)


def _builder(recipe: Recipe) -> Callable[[int, Contract], "keras.Model"]:
    if isinstance(recipe, FineTuneRecipe):
        return efficientnet_lite.build_network
    return build_teacher if recipe.network == "teacher" else build_network
