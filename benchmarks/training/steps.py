"""Where a training step's time goes, and whether the data ever keeps the network waiting."""

import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import tensorflow as tf

from model.data import Dataset
from model.forward import training_logits
from model.train import QUICK
from model.trainer import Trainer, augment

REPEATS: Final = 15


def step_profile(dataset: Dataset) -> dict[str, float]:
    """Milliseconds of each part of a step of the quick recipe, best of `REPEATS`.

    Each part is what a longer prefix of the step takes more than a shorter one.
    """
    trainer = Trainer(dataset, QUICK, 0)
    batch = trainer.recipe.batch_size
    order = tf.range(batch)
    offsets, mirrored = tf.zeros((batch, 2), tf.int32), tf.zeros(batch, tf.int32)
    seed = tf.constant([1, 2])

    def images() -> Any:
        return augment(tf.gather(trainer.images, order), offsets, mirrored)

    def forward() -> Any:
        recipe = trainer.recipe
        rates = {"dropout_block": recipe.dropout_block, "dropout_hidden": recipe.dropout_hidden}
        return training_logits(trainer.network, images(), seed=seed, **rates)

    def backward() -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(forward())
        return tape.gradient(loss, trainer.network.trainable_variables)

    augmented = _milliseconds(tf.function(images))
    forwarded = _milliseconds(tf.function(forward))
    backwarded = _milliseconds(tf.function(backward))
    whole = _milliseconds(lambda: trainer.step(order, offsets, mirrored))
    return {
        "gather and augment": augmented,
        "forward": forwarded - augmented,
        "gradient": backwarded - forwarded,
        "optimizer and averaging": whole - backwarded,
        "whole step": whole,
    }


def waiting_share(dataset: Dataset) -> float:
    """Share of an epoch's time in which the network waits for data: epoch against as many bare steps."""
    trainer = Trainer(dataset, QUICK, 0)
    trainer.train_steps(1)
    batch = trainer.recipe.batch_size
    order = tf.range(batch)
    offsets, mirrored = tf.zeros((batch, 2), tf.int32), tf.zeros(batch, tf.int32)
    best_epoch = best_bare = np.inf
    for epoch in (2, 3):
        began = time.perf_counter()
        for _ in range(trainer.steps_per_epoch):
            loss, _ = trainer.step(order, offsets, mirrored)
        loss.numpy()
        best_bare = min(best_bare, time.perf_counter() - began)
        began = time.perf_counter()
        trainer.train_steps(epoch)
        best_epoch = min(best_epoch, time.perf_counter() - began)
    return max(0.0, 1 - best_bare / best_epoch)


def _milliseconds(run: Callable[[], Any]) -> float:
    tf.nest.map_structure(lambda tensor: tensor.numpy(), run())
    best = np.inf
    for _ in range(REPEATS):
        began = time.perf_counter()
        tf.nest.map_structure(lambda tensor: tensor.numpy(), run())
        best = min(best, time.perf_counter() - began)
    return best * 1000
