"""What networks say of the training images that did not learn them: for labels that may be wrong.

A network has learned the labels of its own training images, the wrong ones too. So the training split is cut
into folds, and each fold is answered by a network that learned the others.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.data.dataset import Dataset, Split
from model.data.images import FileRows
from model.network.cnn import classifier
from model.training.checkpoint import Checkpoint, load_checkpoint, remove_checkpoint, save_checkpoint
from model.training.observer import Observer
from model.training.recipe import Recipe, StaleCheckpointError
from model.training.train import train

FOLDS: Final = 3
SHARE_OF_EPOCHS: Final = 1 / 3
"""Of the recipe's: with two thirds of the images each, all folds together cost two thirds of a training."""

_FEWEST_EPOCHS: Final = 8
_ANSWERS: Final = "out-of-fold.npz"
_ROWS: Final = 512  # images read and answered at a time


def shorter(recipe: Recipe) -> Recipe:
    """The recipe of a fold: a third of the epochs, and no teacher, which would have seen every label."""
    epochs = min(recipe.epochs, max(_FEWEST_EPOCHS, round(recipe.epochs * SHARE_OF_EPOCHS)))
    return replace(recipe, name=f"{recipe.name} for a fold", epochs=epochs, teacher=None)


def out_of_fold(
    dataset: Dataset,
    recipe: Recipe,
    *,
    run_dir: Path,
    seed: int = 0,
    folds: int = FOLDS,
    observers: Sequence[Observer] = (),
    require_gpu: bool = False,
    weights: Path | None = None,
) -> NDArray[np.float32]:
    """Answer each training image by a network that has learned neither it nor one of its group.

    What a fold has answered is kept below `run_dir`, so that a call that was interrupted goes on.

    Args:
        dataset: Its validation split fits each network's temperature; its test split is not touched.
        recipe: By which the run itself was trained; see `shorter`.
        run_dir: The run's folder.
        seed: Of the folds and of each network.
        folds: How many.
        observers: Told of each epoch, fold after fold.
        require_gpu: End at once when there is no GPU.
        weights: See `model.training.train.train`.

    Returns:
        Calibrated probabilities, float32 `[N, C]`. A row is NaN where nobody can say: all other images of its
        class lie in the same fold.

    Raises:
        TrainingError: No GPU where one is required.
        KeyboardInterrupt: It was asked to stop by Ctrl-C.
    """
    labels = dataset.train.labels
    fold_of = assign_folds(labels, dataset.train.groups, folds, seed)
    probs = np.full((len(labels), len(dataset.classes)), np.nan, np.float32)
    for fold in range(folds):
        held, others = np.flatnonzero(fold_of == fold), np.flatnonzero(fold_of != fold)
        learned = np.unique(labels[others])
        if not len(held) or len(learned) < 2 or not np.isin(dataset.validation.labels, learned).any():
            continue
        folder = run_dir / f"fold-{fold + 1}"
        part = (dataset, shorter(recipe), held, others, folder)
        answers = _answers(*part, seed, observers, require_gpu, weights)
        answers[~np.isin(labels[held], learned)] = np.nan
        probs[held] = answers
    return probs


def assign_folds(
    labels: NDArray[np.int64], groups: NDArray[np.int64] | None, folds: int, seed: int
) -> NDArray[np.int64]:
    """Deal images out, whole groups at a time, so that every fold has its share of each class.

    The largest groups come first, each to the fold that has least of its classes so far.

    Args:
        labels: `[N]`.
        groups: `[N]`; None where each image stands for itself.
        folds: How many.
        seed: Of the order among groups of one size.

    Returns:
        The fold of each image, `[N]`, 0 to `folds` - 1.
    """
    if groups is None:
        groups = np.arange(len(labels))
    _, group_of = np.unique(groups, return_inverse=True)
    by_group = np.argsort(group_of, kind="stable")
    sizes = np.bincount(group_of)
    ends = np.cumsum(sizes)
    shuffled = np.random.default_rng(seed).permutation(len(sizes))
    in_class = np.bincount(labels)
    have = np.zeros((folds, len(in_class)))
    fold_of = np.empty(len(labels), np.int64)
    for group in shuffled[np.argsort(-sizes[shuffled], kind="stable")]:
        rows = by_group[ends[group] - sizes[group] : ends[group]]
        counts = Counter(labels[rows].tolist())
        classes, wanted = list(counts), np.array(list(counts.values()))
        shares = (have[:, classes] * wanted / in_class[classes]).sum(axis=1)
        fold = np.lexsort((have.sum(axis=1), shares))[0]
        have[fold, classes] += wanted
        fold_of[rows] = fold
    return fold_of


def _answers(
    dataset: Dataset,
    recipe: Recipe,
    held: NDArray[np.intp],
    others: NDArray[np.intp],
    folder: Path,
    seed: int,
    observers: Sequence[Observer],
    require_gpu: bool,
    weights: Path | None,
) -> NDArray[np.float32]:
    """One fold's answers, `[len(held), C]`: those kept in `folder`, or of a network trained now."""
    about = {"recipe": asdict(recipe), "seed": seed, "data": dataset.digest, "images": len(held)}
    folder.mkdir(parents=True, exist_ok=True)
    try:
        kept = load_checkpoint(folder, _ANSWERS)
    except StaleCheckpointError:
        kept = None
    if kept and kept.fingerprint == about:
        answers: NDArray[np.float32] = kept.arrays[0]
        return answers
    # The validation split in place of the test split, which a training does not touch, but has a digest.
    part = _part(dataset.train, others)
    fold = replace(dataset, train=part, test=dataset.validation, splits=None)
    learn = partial(
        train,
        fold,
        recipe,
        run_dir=folder,
        seed=seed,
        observers=observers,
        require_gpu=require_gpu,
        weights=weights,
    )
    try:
        trained = learn()
    except StaleCheckpointError:  # damaged, or begun with other data
        remove_checkpoint(folder)
        trained = learn()
    classify = classifier(trained.network, trained.temperature, trained.contract)
    images = dataset.train.images
    answers = np.concatenate(
        [classify(images[held[row : row + _ROWS]]) for row in range(0, len(held), _ROWS)]
    )
    save_checkpoint(folder, Checkpoint(about, recipe.epochs, trained.history, [answers]), _ANSWERS)
    remove_checkpoint(folder)
    return answers


def _part(split: Split, rows: NDArray[np.intp]) -> Split:
    """Some images of a split; those in a file stay there."""
    images = split.images
    some = images.picked(rows) if isinstance(images, FileRows) else images[rows]
    groups = None if split.groups is None else split.groups[rows]
    return replace(split, images=some, labels=split.labels[rows], groups=groups, names=None)
