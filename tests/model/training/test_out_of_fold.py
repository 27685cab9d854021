from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from machine import beside
from numpy.typing import NDArray

from benchmarks.training.sign_digits import load
from benchmarks.training.wrong_labels import hits, plant
from model.data.dataset import Dataset
from model.data.images import FileRows
from model.report.disputed import Answered, find_doubts
from model.training import out_of_fold as module
from model.training.fitting import fit_recipe
from model.training.observer import TrainedModel
from model.training.out_of_fold import assign_folds, out_of_fold, shorter
from model.training.recipe import Recipe
from model.training.train import BEST, QUICK, train

SHORT = Recipe("short", epochs=8, batch_size=16, learning_rate=2e-3, warmup=0.1, averaging=0.9, shift=2)


@settings(deadline=None)
@given(
    groups=st.lists(st.integers(0, 40), min_size=1, max_size=200),
    classes=st.integers(2, 12),
    folds=st.integers(2, 4),
    seed=st.integers(0, 9),
)
def test_a_group_lies_in_one_fold(groups: list[int], classes: int, folds: int, seed: int) -> None:
    labels = np.random.default_rng(seed).integers(0, classes, len(groups))
    fold_of = assign_folds(labels, np.array(groups), folds, seed)
    assert set(fold_of.tolist()) <= set(range(folds))
    for group in set(groups):
        assert len(set(fold_of[np.array(groups) == group].tolist())) == 1


def test_each_fold_has_its_share_of_each_class() -> None:
    labels = np.repeat(np.arange(4), [300, 30, 3, 1])
    fold_of = assign_folds(labels, None, 3, seed=5)
    counts = np.array([np.bincount(fold_of[labels == label], minlength=3) for label in range(4)])
    assert counts[:3].tolist() == [[100] * 3, [10] * 3, [1] * 3]
    assert not np.array_equal(fold_of, assign_folds(labels, None, 3, seed=6))
    # People who each show all classes but one.
    groups = np.repeat(np.arange(30), 9)
    shown = np.tile(np.arange(10), 30)[np.tile(np.arange(10), 30) != np.repeat(np.arange(30) % 10, 10)]
    by_person = assign_folds(shown, groups, 3, seed=0)
    for label in range(10):
        assert np.ptp(np.bincount(by_person[shown == label], minlength=3)) <= 3


def test_a_fold_is_trained_for_a_third_as_long_and_without_a_teacher() -> None:
    assert shorter(QUICK) == replace(QUICK, name="quick for a fold", epochs=12)
    assert shorter(BEST).teacher is None
    assert shorter(replace(QUICK, epochs=12)).epochs == 8
    assert shorter(replace(QUICK, epochs=3)).epochs == 3


class _BegunError(Exception):
    """A training would have begun."""


def begins(*_: object, **__: object) -> None:
    raise _BegunError


@dataclass
class Answers:
    """What came of answering `dataset`, and which data sets were learned for it."""

    dataset: Dataset
    folder: Path
    probs: NDArray[np.float32]
    learned: list[set[bytes]]
    in_files: list[bool]


@pytest.fixture(scope="module")
def answered(easy: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Answers:
    """Easy images in a file; all of the last class belong together."""
    folder = tmp_path_factory.mktemp("folds")
    labels = easy.train.labels
    easy.train.images.tofile(folder / "train.u8")
    groups = np.where(labels == 4, 0, np.arange(len(labels)) + 1)
    in_file = FileRows(folder / "train.u8", np.arange(len(labels)), easy.size)
    mapped = replace(easy.train, images=in_file, groups=groups)
    dataset = replace(easy, train=mapped)
    learned, in_files = [], []

    def watched(part: Dataset, recipe: Recipe, **told: Any) -> TrainedModel:
        learned.append({image.tobytes() for image in part.train.images})
        in_files.append(isinstance(part.train.images, FileRows))
        assert not (learned[-1] & {image.tobytes() for image in easy.test.images})
        return train(part, recipe, **told)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "train", watched)
        probs = out_of_fold(dataset, SHORT, run_dir=folder / "run", folds=2)
    return Answers(dataset, folder / "run", probs, learned, in_files)


@pytest.mark.slow
def test_every_image_is_answered_by_a_network_that_has_not_learned_it(answered: Answers) -> None:
    labels = answered.dataset.train.labels
    everything = {image.tobytes() for image in answered.dataset.train.images}
    held = [everything - images for images in answered.learned]
    assert len(held) == 2
    assert sum(map(len, held)) == len(everything), "each is held out once"
    assert set.union(*held) == everything
    known = labels != 4
    assert (answered.probs[known].argmax(axis=1) == labels[known]).mean() > 0.9
    assert answered.probs[known].sum(axis=1) == pytest.approx(1, abs=1e-4)
    assert np.isnan(answered.probs[~known]).all(), "of a class that lies in one fold nobody can say"


@pytest.mark.slow
def test_images_in_a_file_stay_where_they_are(answered: Answers) -> None:
    assert answered.in_files == [True] * 2
    size = answered.dataset.train.images[:].nbytes
    assert all(path.stat().st_size < size / 4 for path in answered.folder.rglob("*")), "none is copied"


@pytest.mark.slow
def test_what_was_answered_is_kept_and_other_data_is_not_taken_for_it(
    answered: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "train", begins)
    again = out_of_fold(answered.dataset, SHORT, run_dir=answered.folder, folds=2)
    np.testing.assert_array_equal(again, answered.probs)
    labels = answered.dataset.train.labels[::-1].copy()
    changed = replace(answered.dataset, train=replace(answered.dataset.train, labels=labels))
    with pytest.raises(_BegunError):
        out_of_fold(changed, SHORT, run_dir=answered.folder, folds=2)


@pytest.mark.slow
def test_labels_made_wrong_on_purpose_are_found(tmp_path: Path) -> None:
    """Of real photographs, by networks that have seen few of them for a short time."""
    dataset, wrong = plant(load(beside("data/sign-digits.tar"), 32), 0.03, seed=0)
    wrong = {place for place in wrong if place[0] == "train"}
    recipe = replace(fit_recipe(QUICK, dataset, epochs=8, mirror=False), batch_size=64)
    probs = out_of_fold(dataset, recipe, run_dir=tmp_path, folds=2)
    found = find_doubts([Answered("train", dataset.train, probs)]).found
    assert hits(found, wrong, len(wrong)) >= len(wrong) / 2
