"""Where a training step's time goes, and whether the data ever keeps the network waiting."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import numpy as np
import tensorflow as tf

from model.data.dataset import Dataset, Split
from model.network.forward import training_logits
from model.training.device import Device
from model.training.train import QUICK
from model.training.trainer import Trainer

REPEATS: Final = 15
STEPS: Final = 60
TURNS: Final = 5


def step_profile(dataset: Dataset, device: Device) -> dict[str, float]:
    """Milliseconds of each part of a step of the quick recipe, best of `REPEATS`.

    Each part is what a longer prefix of the step takes more than a shorter one.
    """
    trainer = Trainer(dataset, QUICK, 0, device.policy)
    order, *drawn = arguments = _some_batch(trainer)
    seed = tf.constant([1, 2])

    def images() -> Any:
        return trainer.augmentation.vary(trainer.feed.take(order, None), *drawn)

    def forward() -> Any:
        recipe = trainer.recipe
        rates = {"dropout_block": recipe.dropout_block, "dropout_hidden": recipe.dropout_hidden}
        return training_logits(trainer.network, images(), seed=seed, **rates)

    def backward() -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(forward())
        # One number of all gradients: they are computed, and not copied to the host, as in a step.
        return tf.linalg.global_norm(tape.gradient(loss, trainer.network.trainable_variables))

    augmented = _milliseconds(tf.function(images))
    forwarded = _milliseconds(tf.function(forward))
    backwarded = _milliseconds(tf.function(backward))
    whole = _milliseconds(lambda: trainer.step(*arguments))
    return {
        "gather and augment": augmented,
        "forward": forwarded - augmented,
        "gradient": backwarded - forwarded,
        "optimizer and averaging": whole - backwarded,
        "whole step": whole,
    }


def waiting_share(dataset: Dataset, device: Device) -> float:
    """Share of an epoch's time in which the network waits for data.

    A short epoch as training runs it, against as many steps on one batch that lies ready; the best of
    `TURNS` of each, in turn.
    """
    rows = np.random.default_rng(0).permutation(len(dataset.train))[: STEPS * QUICK.batch_size]
    some = Split(dataset.train.images[rows], dataset.train.labels[rows])
    trainer = Trainer(replace(dataset, train=some), QUICK.fitted(len(some)), 0, device.policy)
    arguments = _some_batch(trainer)

    def bare(_: int) -> None:
        for _ in range(trainer.steps_per_epoch):
            loss, _ = trainer.step(*arguments)
        loss.numpy()

    def epoch(number: int) -> None:
        trainer.train_steps(number)

    turns = [(_seconds(epoch, turn), _seconds(bare, turn)) for turn in range(TURNS)]
    return max(0.0, 1 - min(steps for _, steps in turns) / min(whole for whole, _ in turns))


def _some_batch(trainer: Trainer) -> tuple[Any, Any, Any]:
    batch = trainer.recipe.batch_size
    return tf.range(batch), tf.zeros((batch, 2), tf.int32), tf.zeros(batch, tf.int32)


def _milliseconds(run: Callable[[], Any]) -> float:
    def whole() -> None:
        tf.nest.map_structure(lambda tensor: tensor.numpy(), run())

    whole()
    return 1000 * min(_seconds(whole) for _ in range(REPEATS))


def _seconds(run: Callable[..., Any], *arguments: int) -> float:
    began = time.perf_counter()
    run(*arguments)
    return time.perf_counter() - began
