"""The classes of a network that knows photographs: fitted to its features, and moved from there."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from model.contract import Contract
from model.data.dataset import Dataset, Split
from model.data.sources import load_sample
from model.network.cnn import classifier
from model.network.pretrained.errors import WeightsError
from model.network.pretrained.source import find_weights
from model.report.evaluate import evaluate, softmax
from model.training.finetune import (
    FINE_TUNE,
    PENALTIES,
    fit_classes,
    fit_head,
    pooled_features,
    tuning_logits,
)
from model.training.observer import Observer, Plan
from model.training.train import _best_epoch, train
from tests.model.gradients import assert_same_gradients

CONTRACT = Contract(("a", "b", "c", "d"), size=96, network="efficientnet-lite0", filters=(), unlearned=(1,))


def clouds(seed: int, a_class: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Three classes that overlap in two of six features; the features differ a thousandfold in scale."""
    rng = np.random.default_rng(seed)
    labels = np.repeat([0, 2, 3], a_class)
    middles = {0: (0, 2), 2: (-1.5, -1.5), 3: (1.5, -1.5)}
    features = rng.normal(size=(len(labels), 6))
    features[:, :2] += [middles[label] for label in labels]
    return (features * np.geomspace(0.03, 30, 6) + 5).astype(np.float32), labels


def test_the_head_tells_what_its_features_tell() -> None:
    features, labels = clouds(0, 100)
    val_features, val_labels = clouds(1, 200)
    head = fit_head(features, labels, np.ones(len(labels)), val_features, val_labels, CONTRACT)
    assert (head.weights.shape, head.bias.shape) == ((6, 4), (4,))
    assert head.penalty in PENALTIES
    logits = val_features @ head.weights + head.bias
    logits[:, 1] = -1e9
    judged = evaluate(softmax(logits), val_labels, CONTRACT.classes)
    assert judged.accuracy == pytest.approx(head.val_accuracy)
    assert judged.nll == pytest.approx(head.val_loss, rel=1e-3)
    assert 0.9 < judged.accuracy < 0.99, "what separates such clouds best is right in 95 of 100"
    assert not head.weights[:, 1].any()


def test_few_images_get_a_strict_penalty() -> None:
    val_features, val_labels = clouds(1, 200)
    found = []
    for a_class in (3, 400):
        features, labels = clouds(5, a_class)
        head = fit_head(features, labels, np.ones(len(labels)), val_features, val_labels, CONTRACT)
        found.append(head.penalty)
    assert found[0] > found[1]


def test_an_image_counts_by_its_weight() -> None:
    features, labels = clouds(0, 100)
    weights = np.where(labels == 0, 2.9, 0.05)
    plain, heavy = (
        fit_head(features, labels, each, features, labels, CONTRACT)
        for each in (np.ones(len(labels)), weights)
    )
    given = [(features @ head.weights + head.bias)[:, [0, 2, 3]].argmax(axis=1) for head in (plain, heavy)]
    assert (given[1] == 0).sum() > 1.04 * (given[0] == 0).sum()


def airplanes_and_cats(train: int, others: int) -> Dataset:
    """Some of the sample, half of each class, in another size: each pixel becomes a square."""
    sample = load_sample()

    def split(part: Split, images: int, skipped: int = 0) -> Split:
        of_each = [np.flatnonzero(part.labels == label)[skipped:][: images // 2] for label in (0, 3)]
        rows = np.concatenate(of_each)
        larger = part.images[rows].repeat(3, axis=1).repeat(3, axis=2)
        return Split(larger, part.labels[rows], CONTRACT.classes)

    test = split(sample.test, others, skipped=others)
    return Dataset(
        split(sample.train, train), split(sample.test, others), test, "the sample", "images", unlearned=(1, 2)
    )


@pytest.mark.slow
def test_a_pretrained_network_gets_its_classes_and_moves_from_there() -> None:
    import keras
    import tensorflow as tf

    from model.network.pretrained.weights import pretrained_network

    dataset = airplanes_and_cats(60, 60)
    contract = dataclasses.replace(CONTRACT, unlearned=(1, 2))
    network, _ = pretrained_network(0, contract)
    images = dataset.train.images[:4]
    mirrored = pooled_features(network, images, mirrored=True)
    assert np.allclose(mirrored, pooled_features(network, images[:, :, ::-1].copy()), atol=1e-5)
    assert not np.allclose(mirrored, pooled_features(network, images), atol=1e-2)

    head = fit_classes(network, dataset, contract, flip=True, balance=0.0)
    probs = classifier(network, 1.0, contract)(dataset.validation.images)
    judged = evaluate(probs, dataset.validation.labels, contract.classes)
    assert judged.accuracy == pytest.approx(head.val_accuracy)
    assert judged.accuracy > 0.65, "airplanes and cats"

    # all weights move, but for the statistics, as they would by the network's own layers
    before = [np.asarray(one) for one in network.non_trainable_variables]
    found = []
    for forward in (network, lambda pixels: tuning_logits(network, pixels)):
        with tf.GradientTape() as tape:
            logits = forward(tf.constant(images))
            loss = keras.losses.sparse_categorical_crossentropy(
                dataset.train.labels[:4], logits, from_logits=True
            )
        found.append((logits, tape.gradient(loss, network.trainable_variables)))
    (want, want_grads), (got, got_grads) = found
    np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-3)
    assert_same_gradients(network, got_grads, want_grads)
    assert all(np.array_equal(a, b) for a, b in zip(before, network.non_trainable_variables, strict=True))


class Stopped(Observer):
    """Ctrl-C after an epoch."""

    def __init__(self, after: int) -> None:
        self.after, self.began = after, 0

    def started(self, plan: Plan) -> None:
        self.began = plan.first_epoch

    def epoch_ended(self, epoch: int, metrics: dict[str, float]) -> None:
        if epoch == self.after:
            raise KeyboardInterrupt


@pytest.mark.slow
def test_a_stopped_fine_tuning_goes_on_and_ends_where_no_epoch_helps(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The first epochs help, and those at a rate that is far too high harm."""
    caplog.set_level("INFO", logger="model")
    dataset = airplanes_and_cats(32, 64)
    grows_too_high = {"learning_rate": 7e-3, "warmup": 1.0}
    recipe = dataclasses.replace(FINE_TUNE, epochs=9, batch_size=8, patience=1, **grows_too_high)
    whole = train(dataset, recipe, run_dir=tmp_path / "whole", seed=3)
    losses = whole.history["val_loss"]
    assert len(losses) < recipe.epochs
    assert whole.metrics["best_epoch"] == len(losses) - recipe.patience
    # the last that is as good as the best, as far as so few images say it
    kept, lowest = losses[-1 - recipe.patience], losses.index(min(losses))
    near = losses[lowest] + whole.history["val_loss_error"][lowest]
    assert kept <= near < losses[-1]
    assert whole.contract.network == "efficientnet-lite0"
    assert (whole.contract.filters, whole.contract.unlearned) == ((), (1, 2))
    assert whole.pretrained == find_weights("efficientnet-lite0")[1]
    # what is handed over is the best epoch's, not the last one's
    probs = classifier(whole.network, whole.temperature, whole.contract)(dataset.validation.images)
    judged = evaluate(probs, dataset.validation.labels, CONTRACT.classes)
    assert judged.nll == pytest.approx(kept, rel=1e-3)
    assert whole.metrics["val_loss"] == kept
    assert whole.metrics["val_accuracy"] == judged.accuracy

    assert sum("Computing what" in line for line in caplog.messages) == 1
    after = len(losses) - 1
    with pytest.raises(KeyboardInterrupt):
        train(dataset, recipe, run_dir=tmp_path / "again", seed=3, observers=[Stopped(after)])
    goes_on = Stopped(0)
    again = train(dataset, recipe, run_dir=tmp_path / "again", seed=3, observers=[goes_on])
    assert goes_on.began == after + 1
    assert sum("Computing what" in line for line in caplog.messages) == 2, "once a run"
    for one, other in zip(whole.network.weights, again.network.weights, strict=True):
        assert np.array_equal(one, other), one.path


@pytest.mark.parametrize(
    ("losses", "kept"),
    [
        ([0.5, 0.3, 0.32, 0.38], 3),  # within the error of the lowest, and the later one
        ([0.5, 0.36, 0.3, 0.34], 4),
        ([0.5, 0.3, 0.36, 0.4], 2),  # worse by more than chance
        ([0.3], 1),
        ([np.nan, np.nan], 1),
    ],
)
def test_the_last_epoch_that_is_as_good_as_the_best_is_kept(losses: list[float], kept: int) -> None:
    assert _best_epoch({"val_loss": losses, "val_loss_error": [0.05] * len(losses)}) == kept


@pytest.mark.slow
def test_other_weights_than_the_recipe_says_are_refused(tmp_path: Path) -> None:
    recipe = dataclasses.replace(FINE_TUNE, weights="0" * 64)
    with pytest.raises(WeightsError, match=r"is not the file of weights that was asked for"):
        train(airplanes_and_cats(4, 4), recipe, run_dir=tmp_path)
