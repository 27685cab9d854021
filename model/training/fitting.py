"""A recipe fitted to one's own pictures: their number, their size, and how many each class has.

The recipes were made for 23,000 images of 32 pixels, the one for fine-tuning for fewer and larger ones. For
CIFAR-10 and the sample they stay as they are.
"""

from dataclasses import replace
from typing import Final

import numpy as np

from model.contract import IMAGE_SIZE
from model.data.dataset import Dataset
from model.training.classes import class_counts
from model.training.recipe import FineTuneRecipe, PictureRecipe, Recipe

_MADE_FOR: Final = 23_000
_EPOCHS: Final = (6, 200)
"""At least and at most, whatever the number of images."""

_TUNED_FOR: Final = (1500, 128)
"""Images and pixels a side that the recipe for fine-tuning was made for."""

_TUNED_EPOCHS: Final = (4, 120)

_FEW: Final = 4096
_VERY_FEW: Final = 512
"""Below them a batch is a half and a quarter, so that an epoch has steps enough."""

_LARGE: Final = 160
"""From this size on a batch is a half: what a step keeps grows with the pixels."""

TURN: Final = 15.0
ZOOM: Final = 0.1
BRIGHTNESS: Final = 0.1

_IMBALANCED: Final = 2.0
"""Times that the largest class may have the smallest one's images before images are weighted."""

BALANCE: Final = 0.5


def fit_recipe(
    recipe: Recipe,
    dataset: Dataset,
    *,
    epochs: int | None = None,
    batch_size: int | None = None,
    mirror: bool = True,
) -> Recipe:
    """Return the recipe by which a data set is trained.

    Args:
        recipe: One of `model.training.train.RECIPES`, or `model.training.finetune.FINE_TUNE`.
        dataset: Only one's own pictures change the recipe; any may make the batch smaller.
        epochs: To be taken whatever the number of images; None takes what fits.
        batch_size: The same.
        mirror: False where left and right differ; else the recipe says it.
    """
    if isinstance(recipe, FineTuneRecipe):
        recipe = _for_fine_tuning(recipe, dataset)
    elif dataset.kind == "images":
        recipe = _for_pictures(recipe, dataset)
    flip = None if mirror else False
    return recipe.override(epochs=epochs, batch_size=batch_size, flip=flip).fitted(len(dataset.train))


def _for_pictures(recipe: Recipe, dataset: Dataset) -> PictureRecipe:
    images, size = len(dataset.train), dataset.size
    smaller = 4 if images < _VERY_FEW else 2 if images < _FEW else 1
    if size >= _LARGE:
        smaller *= 2
    # A third more passes over half as many images: fewer need more, though not in proportion.
    epochs = round(recipe.epochs * (_MADE_FOR / images) ** (1 / 3))
    resampled = size > IMAGE_SIZE  # at 32 pixels it blurs what there is
    return PictureRecipe(
        **vars(recipe)
        | {
            "epochs": int(np.clip(epochs, *_EPOCHS)),
            "batch_size": max(1, recipe.batch_size // smaller),
            # AdamW's steps are as long whatever the gradient: fewer images, more noise, shorter steps.
            "learning_rate": recipe.learning_rate / smaller**0.5,
            "shift": round(recipe.shift * size / IMAGE_SIZE),
            "cutout": round(recipe.cutout * size / IMAGE_SIZE),
            "teacher": _for_pictures(recipe.teacher, dataset) if recipe.teacher else None,
        },
        turn=TURN if resampled else 0.0,
        zoom=ZOOM if resampled else 0.0,
        brightness=BRIGHTNESS if resampled else 0.0,
        balance=_balance(dataset),
    )


def _for_fine_tuning(recipe: FineTuneRecipe, dataset: Dataset) -> FineTuneRecipe:
    images, size = len(dataset.train), dataset.size
    made_for, its_size = _TUNED_FOR
    smaller = (2 if images < _VERY_FEW else 1) * (2 if size >= _LARGE else 1)
    epochs = int(np.clip(round(recipe.epochs * (made_for / images) ** 0.5), *_TUNED_EPOCHS))
    return replace(
        recipe,
        epochs=epochs,
        # The second half, at rates that fall, gains most; and a loss over few images rises by chance.
        patience=max(recipe.patience, epochs // 2),
        batch_size=max(1, recipe.batch_size // smaller),
        learning_rate=recipe.learning_rate / smaller**0.5,
        shift=round(recipe.shift * size / its_size),
        balance=_balance(dataset),
    )


def _balance(dataset: Dataset) -> float:
    counts = class_counts(dataset)
    counts = counts[counts > 0]
    return BALANCE if counts.max() > _IMBALANCED * counts.min() else 0.0
