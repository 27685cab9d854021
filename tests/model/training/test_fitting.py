"""Recipes by the number of images, their size and their classes."""

from dataclasses import replace

import numpy as np
import pytest

from model.data.dataset import Dataset, Split
from model.training.finetune import FINE_TUNE
from model.training.fitting import fit_recipe
from model.training.recipe import FineTuneRecipe, PictureRecipe, Recipe
from model.training.train import BEST, QUICK


def pictures(images: int, size: int = 32, *, rare: int | None = None) -> Dataset:
    labels = np.arange(images, dtype=np.int64) % 4
    if rare is not None:
        labels[labels == 3] = 0
        labels[:rare] = 3
    blank = np.broadcast_to(np.uint8(0), (images, size, size, 3))
    split = Split(blank, labels, ("a", "b", "c", "d"))
    return Dataset(split, split, split, "somewhere", "images")


def own(recipe: Recipe) -> PictureRecipe:
    assert isinstance(recipe, PictureRecipe)
    return recipe


@pytest.mark.parametrize("kind", ["cifar10", "sample"])
@pytest.mark.parametrize("recipe", [QUICK, BEST])
def test_the_default_data_has_the_default_recipes(kind: str, recipe: Recipe) -> None:
    data = replace(pictures(2300), kind=kind)  # type: ignore[arg-type] # one of them
    assert fit_recipe(recipe, data) == recipe
    assert type(fit_recipe(recipe, data)) is Recipe
    asked = fit_recipe(recipe, data, epochs=2, batch_size=5000)
    assert asked == recipe.override(epochs=2, batch_size=2300)


def test_few_images_get_steps_enough_and_many_no_needless_epochs() -> None:
    passes, steps = [], []
    for images in (60, 400, 1500, 23_000, 100_000, 10_000_000):
        recipe = fit_recipe(QUICK, pictures(images))
        passes.append(recipe.epochs)
        steps.append(recipe.epochs * (images // recipe.batch_size))
    assert passes == sorted(passes, reverse=True)
    assert steps == sorted(steps)
    assert passes[3] == QUICK.epochs
    assert (passes[0], passes[-1]) == (200, 6)
    assert steps[0] >= 600


def test_a_fine_tuning_is_not_ended_before_its_second_half() -> None:
    passes = []
    for images in (80, 1500, 23_000):
        recipe = fit_recipe(FINE_TUNE, pictures(images, 128))
        assert isinstance(recipe, FineTuneRecipe)
        assert recipe.patience >= max(FINE_TUNE.patience, recipe.epochs // 2)
        passes.append(recipe.epochs)
    assert passes == sorted(passes, reverse=True)
    assert passes[1] == FINE_TUNE.epochs


def test_what_is_asked_for_is_taken_whatever_the_number() -> None:
    recipe = fit_recipe(BEST, pictures(1500), epochs=3, batch_size=100, mirror=False)
    assert (recipe.epochs, recipe.batch_size, recipe.flip) == (3, 100, False)
    assert recipe.teacher is not None
    assert (recipe.teacher.epochs, recipe.teacher.flip) == (3, False)
    assert fit_recipe(QUICK, pictures(20), batch_size=100).batch_size == 20


def test_shifts_grow_with_the_size_and_larger_images_are_turned() -> None:
    small, large = (own(fit_recipe(BEST, pictures(1500, size))) for size in (32, 96))
    assert (small.shift, small.turn, small.zoom, small.brightness) == (QUICK.shift, 0, 0, 0)
    assert large.shift == 3 * QUICK.shift
    assert large.turn > 0
    assert large.zoom > 0
    assert large.teacher is not None
    assert BEST.teacher is not None
    assert own(large.teacher).turn == large.turn
    assert large.teacher.cutout == 3 * BEST.teacher.cutout


def test_images_are_weighted_where_classes_are_uneven() -> None:
    assert own(fit_recipe(QUICK, pictures(1500))).balance == 0
    assert own(fit_recipe(QUICK, pictures(1500, rare=40))).balance > 0
