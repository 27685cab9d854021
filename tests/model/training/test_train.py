"""Training for real, on images so easy that seconds are enough."""

import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model.data.dataset import Dataset
from model.report.evaluate import softmax
from model.training.checkpoint import load_checkpoint
from model.training.observer import Observer, Plan, Step, TrainedModel
from model.training.recipe import Recipe, TrainingError
from model.training.train import BEST, QUICK, RECIPES, train

TINY = Recipe(
    "tiny",
    epochs=4,
    batch_size=32,
    learning_rate=2e-3,
    warmup=0.1,
    weight_decay=1e-3,
    label_smoothing=0.05,
    averaging=0.9,
    shift=2,
    flip=True,
)


class Log(Observer):
    def __init__(self) -> None:
        self.plan: Plan | None = None
        self.epochs: list[dict[str, float]] = []
        self.steps: list[Step] = []
        self.trained: TrainedModel | None = None
        self.reason: BaseException | None = None

    def started(self, plan: Plan) -> None:
        self.plan = plan

    def stepped(self, step: Step) -> None:
        self.steps.append(step)

    def epoch_ended(self, epoch: int, metrics: dict[str, float]) -> None:
        self.epochs.append(metrics)

    def finished(self, trained: TrainedModel) -> None:
        self.trained = trained

    def stopped(self, reason: BaseException) -> None:
        self.reason = reason


def weights(trained: TrainedModel) -> list[np.ndarray]:
    return trained.network.get_weights()


@pytest.fixture(scope="module")
def trained(easy: Dataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainedModel, Log]:
    log = Log()
    return train(easy, TINY, run_dir=tmp_path_factory.mktemp("run"), seed=3, observers=[log]), log


@pytest.mark.slow
def test_easy_images_are_learned(easy: Dataset, trained: tuple[TrainedModel, Log]) -> None:
    result, log = trained
    assert result.metrics["val_accuracy"] > 0.9
    assert {"accuracy", "loss", "val_loss", "images_per_second", "seconds"} <= set(result.metrics)
    assert [len(values) for values in result.history.values()] == [4] * len(result.history)
    assert log.plan is not None
    assert (log.plan.steps_per_epoch, log.plan.first_epoch) == (10, 1)
    assert len(log.epochs) == 4
    assert log.trained is result
    logits = np.asarray(result.network(easy.validation.images))
    calibrated = softmax(logits, result.temperature)
    own = -np.log(calibrated[np.arange(100), easy.validation.labels]).mean()
    assert result.metrics["val_loss"] == pytest.approx(own, rel=1e-3)
    assert own <= -np.log(softmax(logits)[np.arange(100), easy.validation.labels]).mean() + 1e-6


@pytest.mark.slow
def test_the_seed_decides_everything(
    easy: Dataset, trained: tuple[TrainedModel, Log], tmp_path: Path
) -> None:
    again = train(easy, TINY, run_dir=tmp_path / "again", seed=3)
    assert all(np.array_equal(a, b) for a, b in zip(weights(again), weights(trained[0]), strict=True))
    other = train(easy, replace(TINY, epochs=1), run_dir=tmp_path / "other", seed=4)
    assert not np.array_equal(weights(other)[1], weights(again)[1])


@pytest.mark.slow
def test_the_test_split_is_not_looked_at(easy: Dataset, tmp_path: Path) -> None:
    class Sealed:
        digest = "sealed"

        def __getattr__(self, name: str) -> object:
            raise AssertionError(f"training looked at the test split's {name}")

    data = Dataset(easy.train, easy.validation, Sealed(), "easy", "sample")  # type: ignore[arg-type]
    train(data, replace(TINY, epochs=1), run_dir=tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["SIGTERM", "Ctrl-C"])
def test_being_stopped_keeps_the_checkpoint_and_tells_observers(
    how: str, easy: Dataset, tmp_path: Path
) -> None:
    class Stop(Log):
        def epoch_ended(self, epoch: int, metrics: dict[str, float]) -> None:
            super().epoch_ended(epoch, metrics)
            if epoch == 2:
                os.kill(os.getpid(), signal.SIGTERM if how == "SIGTERM" else signal.SIGINT)

    def terminated(number: int, frame: object) -> None:  # as in `cnn-image`
        raise SystemExit(143)

    due = SystemExit if how == "SIGTERM" else KeyboardInterrupt
    before = signal.signal(signal.SIGTERM, terminated)
    log = Stop()
    try:
        with pytest.raises(due):
            train(easy, TINY, run_dir=tmp_path, observers=[log])
        assert signal.getsignal(signal.SIGTERM) is terminated
    finally:
        signal.signal(signal.SIGTERM, before)
    assert isinstance(log.reason, due)
    assert log.trained is None
    checkpoint = load_checkpoint(tmp_path)
    assert checkpoint is not None
    assert checkpoint.epoch == 2


@pytest.mark.slow
def test_another_runs_checkpoint_is_refused_and_left_alone(easy: Dataset, tmp_path: Path) -> None:
    train(easy, replace(TINY, epochs=1), run_dir=tmp_path, seed=1)
    before = (tmp_path / "checkpoint.npz").read_bytes()
    for recipe, seed in ((replace(TINY, epochs=1), 2), (TINY, 1)):
        with pytest.raises(TrainingError, match="checkpoint of another run"):
            train(easy, recipe, run_dir=tmp_path, seed=seed)
    assert (tmp_path / "checkpoint.npz").read_bytes() == before


@pytest.mark.slow
def test_what_cutout_covers_is_not_learned(easy: Dataset, tmp_path: Path) -> None:
    recipe = replace(TINY, epochs=1, cutout=64)
    images = easy.train.images
    other = replace(easy, train=replace(easy.train, images=255 - images))
    first = train(easy, recipe, run_dir=tmp_path / "a", seed=1)
    second = train(other, recipe, run_dir=tmp_path / "b", seed=1)
    for mine, others in zip(weights(first), weights(second), strict=True):
        np.testing.assert_array_equal(mine, others)


@pytest.mark.slow
def test_a_step_is_compiled_once_and_a_large_batch_fits_small_data(easy: Dataset, tmp_path: Path) -> None:
    from model.training.trainer import Trainer

    trainer = Trainer(easy, replace(TINY, batch_size=160), 0)
    trainer.train_epoch(1)
    trainer.train_epoch(2)
    assert trainer.compiled_steps == 1
    result = train(easy, replace(TINY, epochs=1, batch_size=10_000), run_dir=tmp_path)
    assert result.recipe.batch_size == 320


@pytest.mark.slow
def test_mixed_precision_trains_and_hands_over_float32(
    easy: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from model.training import train as module
    from model.training.device import Device

    gpu = Device("GPU", "as on a GPU", "mixed_bfloat16")
    monkeypatch.setattr(module, "prepare_device", lambda **_: gpu)
    result = train(easy, TINY, run_dir=tmp_path, seed=3)
    assert result.metrics["val_accuracy"] > 0.9
    assert {layer.compute_dtype for layer in result.network.layers if layer.weights} == {"float32"}


@pytest.mark.slow
def test_a_required_gpu_that_is_not_there_ends_training(easy: Dataset, tmp_path: Path) -> None:
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        pytest.skip("there is a GPU")
    with pytest.raises(TrainingError, match="asked for a GPU and TensorFlow finds none"):
        train(easy, TINY, run_dir=tmp_path / "run", require_gpu=True)
    assert not (tmp_path / "run").exists()


def test_recipes_are_overridden_by_epochs_and_batch_size() -> None:
    assert QUICK.override() == QUICK
    changed = QUICK.override(epochs=2, batch_size=16)
    assert (changed.epochs, changed.batch_size) == (2, 16)
    assert replace(changed, epochs=QUICK.epochs, batch_size=QUICK.batch_size) == QUICK
    assert {"quick": QUICK, "best": BEST} == RECIPES


def test_a_short_training_has_a_teacher_as_short() -> None:
    assert BEST.teacher is not None
    assert BEST.override(epochs=200).teacher == BEST.teacher
    assert BEST.override(epochs=2) == replace(BEST, epochs=2, teacher=replace(BEST.teacher, epochs=2))


@pytest.mark.parametrize("wrong", [{"epochs": -1}, {"batch_size": -3}])
def test_recipes_that_make_no_sense_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(TrainingError, match="at least 1"):
        QUICK.override(**wrong)
