"""The network that only teaches, and learning from its answers."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.contract import CLASSES, Contract
from model.data.dataset import Dataset, Split
from model.report.evaluate import softmax
from model.training.observer import Observer, Plan
from model.training.recipe import Recipe
from model.training.teacher import answers, build_teacher, teacher_logits
from model.training.train import train
from model.training.trainer import Trainer
from tests.model.gradients import assert_same_gradients

pytestmark = pytest.mark.slow

TEACHER = Recipe(
    "tiny teacher", epochs=1, batch_size=32, learning_rate=2e-3, shift=2, cutout=8, network="teacher"
)
STUDENT = Recipe(
    "tiny student", epochs=1, batch_size=32, learning_rate=2e-3, shift=2, teacher=TEACHER, softening=2.0
)


class Told(Observer):
    """Who started, and from which epoch; may end the training after its first one."""

    def __init__(self, *, ends: bool = False) -> None:
        self.plans: list[tuple[str, int]] = []
        self._ends = ends

    def started(self, plan: Plan) -> None:
        self.plans.append((plan.recipe.name, plan.first_epoch))

    def epoch_ended(self, epoch: int, metrics: dict[str, float]) -> None:
        if self._ends:
            raise KeyboardInterrupt


def _cuts(images: np.ndarray) -> list[np.ndarray]:
    """The content moved by one pixel along the diagonal, both ways, zeros coming in."""
    cuts = []
    for here, there in ((slice(None, -1), slice(1, None)), (slice(1, None), slice(None, -1))):
        moved = np.zeros_like(images)
        moved[:, here, here] = images[:, there, there]
        cuts.append(moved)
    return cuts


def test_its_pass_in_training_is_the_networks_own() -> None:
    import tensorflow as tf

    rng = np.random.default_rng(3)
    images = tf.constant(rng.integers(0, 256, (8, 32, 32, 3), np.uint8))
    weights = rng.normal(size=(8, 5)).astype(np.float32)
    ours, theirs = build_teacher(1), build_teacher(1)
    found = []
    for network, logits in (
        (ours, lambda n: teacher_logits(n, images)),
        (theirs, lambda n: n(images, training=True)),
    ):
        with tf.GradientTape() as tape:
            value = logits(network)
            loss = tf.reduce_sum(value * weights)
        found.append((value, tape.gradient(loss, network.trainable_variables)))
    (got, got_grads), (want, want_grads) = found
    np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-3)
    assert_same_gradients(ours, got_grads, want_grads)
    for mine, keras_own in zip(ours.weights, theirs.weights, strict=True):
        np.testing.assert_allclose(mine, keras_own, rtol=1e-3, atol=1e-5, err_msg=mine.path)


def test_it_has_as_many_poolings_as_the_served_network_and_its_classes() -> None:
    teacher = build_teacher(0, Contract(("a", "b", "c"), 160))
    assert teacher.output.shape == (None, 3)
    assert teacher.get_layer("pool").input.shape == (None, 5, 5, 256)


def test_where_left_and_right_differ_no_mirrored_view_is_asked() -> None:
    network = build_teacher(2)
    images = np.random.default_rng(1).integers(0, 256, (2, 32, 32, 3), np.uint8)
    plain = answers(network, images, mirrored=False)
    assert np.abs(plain - answers(network, images)).max() > 1e-3
    views = [np.asarray(network(each, training=False)) for each in _cuts(images)]
    np.testing.assert_allclose(plain, np.mean(views, axis=0), rtol=1e-4, atol=1e-5)


def test_its_answer_is_the_mean_over_shifted_and_mirrored_views() -> None:
    network = build_teacher(2)
    images = np.random.default_rng(1).integers(0, 256, (3, 32, 32, 3), np.uint8)
    views = [view for moved in _cuts(images) for view in (moved, moved[:, :, ::-1])]
    expected = np.mean([np.asarray(network(view, training=False)) for view in views], axis=0)
    np.testing.assert_allclose(answers(network, images), expected, rtol=1e-4, atol=1e-5)


def test_a_teacher_of_larger_images_is_shown_the_same_views_enlarged() -> None:
    network = build_teacher(2, Contract(CLASSES, 96))
    images = np.random.default_rng(1).integers(0, 256, (2, 32, 32, 3), np.uint8)
    views = [view for moved in _cuts(images) for view in (moved, moved[:, :, ::-1])]
    larger = [
        np.stack([Image.fromarray(one).resize((96, 96), Image.Resampling.BICUBIC) for one in view])
        for view in views
    ]
    expected = np.mean([np.asarray(network(view, training=False)) for view in larger], axis=0)
    np.testing.assert_allclose(answers(network, images), expected, rtol=1e-4, atol=1e-5)


def test_one_teacher_serves_all_students_on_the_same_images(easy: Dataset, tmp_path: Path) -> None:
    first, second, other = Told(), Told(), Told()
    shared = tmp_path / "teachers"
    for seed, told in ((1, first), (2, second)):
        train(
            easy,
            STUDENT,
            run_dir=tmp_path / str(seed),
            seed=seed,
            teacher_dir=shared,
            teacher_observers=[told],
        )
    assert (first.plans, second.plans) == ([("tiny teacher", 1)], [])
    fewer = Split(easy.train.images[:64], easy.train.labels[:64])
    train(
        replace(easy, train=fewer),
        STUDENT,
        run_dir=tmp_path / "3",
        teacher_dir=shared,
        teacher_observers=[other],
    )
    assert other.plans == [("tiny teacher", 1)]
    assert not list(shared.rglob("checkpoint.npz"))


def test_a_teacher_that_was_stopped_goes_on(easy: Dataset, tmp_path: Path) -> None:
    recipe = replace(STUDENT, teacher=replace(TEACHER, epochs=2))
    with pytest.raises(KeyboardInterrupt):
        train(easy, recipe, run_dir=tmp_path, teacher_observers=[Told(ends=True)])
    told, student = Told(), Told()
    train(easy, recipe, run_dir=tmp_path, observers=[student], teacher_observers=[told])
    assert told.plans == [("tiny teacher", 2)]
    assert student.plans == [("tiny student", 1)]


def test_the_answers_are_what_is_learned(easy: Dataset) -> None:
    # A teacher that takes each class for the next one, and is unsure of it.
    logits = 3 * np.eye(5, dtype=np.float32)[(easy.train.labels + 1) % 5]
    recipe = replace(STUDENT, epochs=6, averaging=0.9, shift=0, dropout_block=0.0, dropout_hidden=0.0)
    trainer = Trainer(easy, recipe, 0, targets=softmax(logits, recipe.softening))
    for epoch in range(1, 7):
        trainer.train_steps(epoch)
    probs = softmax(trainer.validation_logits())
    assert (probs.argmax(axis=1) == (easy.validation.labels + 1) % 5).mean() > 0.9
    target = softmax(logits, recipe.softening).max()
    assert probs.max(axis=1).mean() == pytest.approx(target, abs=0.1)
