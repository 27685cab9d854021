"""A whole training on one's own pictures: another size, uneven classes, one known by name alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model.contract import Contract
from model.data.dataset import Dataset, Split
from model.network.cnn import classifier
from model.training.fitting import fit_recipe
from model.training.recipe import PictureRecipe
from model.training.runs import load_run, save_run
from model.training.train import QUICK, train

pytestmark = pytest.mark.slow

CLASSES = ("dark", "unseen", "grey", "bright")


def split(labels: list[int], seed: int) -> Split:
    noise = np.random.default_rng(seed).integers(0, 40, (len(labels), 48, 48, 3))
    shades = 50 * np.asarray(labels)[:, None, None, None]
    return Split((noise + shades).astype(np.uint8), np.asarray(labels, np.int64), CLASSES)


@pytest.fixture(scope="module")
def pictures() -> Dataset:
    train_labels = [0] * 80 + [2] * 40 + [3] * 10
    # The validation and test splits have images of the class that training has none of.
    return Dataset(
        split(train_labels, 1), split([0, 1, 2, 3] * 8, 2), split([0, 1, 2, 3] * 8, 3), "here", "images"
    )


def test_they_are_learned_and_the_unseen_class_stays_at_0(pictures: Dataset, tmp_path: Path) -> None:
    recipe = fit_recipe(QUICK, pictures, epochs=12)
    assert isinstance(recipe, PictureRecipe)
    assert recipe.balance > 0
    trained = train(pictures, recipe, run_dir=tmp_path, model="shades")
    assert trained.contract == Contract(CLASSES, 48, unlearned=(1,), model="shades")
    assert trained.metrics["val_accuracy"] > 0.9  # of the images whose class was learned
    assert trained.metrics["val_loss"] < 1
    assert 0.05 < trained.temperature < 20
    # Nothing moved what leads to the unseen class.
    assert np.asarray(trained.network.get_layer("logits").bias)[1] == 0

    saved = save_run(tmp_path, trained, pictures)
    loaded = load_run(tmp_path)
    assert loaded.contract == saved.contract == trained.contract
    images, labels = pictures.test.images, pictures.test.labels
    probs = classifier(loaded.network(), loaded.temperature, loaded.contract)(images)
    assert (probs[:, 1] == 0).all()
    assert (probs.argmax(axis=1) == labels)[labels != 1].mean() > 0.9


def test_an_image_of_a_rare_class_counts_for_more(pictures: Dataset) -> None:
    from model.training.trainer import Trainer

    recipe = fit_recipe(QUICK, pictures)
    assert isinstance(recipe, PictureRecipe)
    recipe = replace(recipe, batch_size=10, turn=0.0, zoom=0.0, brightness=0.0, shift=0)
    rows = np.full(10, 120, np.int32)  # a bright one
    drawn = np.zeros((10, 2), np.int32), np.zeros(10, np.int32)
    even, weighted = (
        float(Trainer(pictures, replace(recipe, balance=balance), 1).step(rows, *drawn)[0])
        for balance in (0.0, 1.0)
    )
    # 80, 40 and 10 images would have weights as 1 to 2 to 8; 8 is cut to 5. Their mean over images is 1.
    assert weighted / even == pytest.approx(5 * 130 / (80 * 1 + 40 * 2 + 10 * 5), rel=1e-3)
