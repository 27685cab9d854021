"""`python -m benchmarks.training.imbalance ARCHIVE`: what weights gain where some classes are rare.

Of the sign digits (see `benchmarks.training.sign_digits`) the even ones keep an eighth of their training and
validation images. The same seeds learn without weights, with those of the recipe and with full ones; the
test split stays as it is.
"""

import argparse
import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.training.seeds import RESULTS, Say
from benchmarks.training.sign_digits import load
from model.contract import IMAGE_SIZE, SIZES
from model.data.dataset import Dataset, Split
from model.network.cnn import classifier
from model.report.evaluate import Evaluation, evaluate
from model.training.fitting import BALANCE, fit_recipe
from model.training.recipe import PictureRecipe
from model.training.train import QUICK, train

KEPT: Final = 8  # of the rare classes, one image in so many
_HEAD: Final = (
    "| weights: power of 1 / frequency | accuracy | accuracy on the rare classes | on the others | ECE "
    "| negative log-likelihood |\n|--:|--:|--:|--:|--:|--:|"
)


def thinned(dataset: Dataset) -> Dataset:
    """The same with fewer images of the even digits to learn from and to choose by."""

    def thin(split: Split) -> Split:
        rare = np.flatnonzero(split.labels % 2 == 0)
        rows = np.setdiff1d(np.arange(len(split)), np.delete(rare, np.s_[::KEPT]))
        groups = None if split.groups is None else split.groups[rows]
        return replace(split, images=split.images[rows], labels=split.labels[rows], groups=groups)

    return replace(dataset, train=thin(dataset.train), validation=thin(dataset.validation))


def judged(dataset: Dataset, balance: float, seeds: list[int]) -> Iterator[Evaluation]:
    """Train each seed with such weights, and judge it."""
    fitted = fit_recipe(QUICK, dataset)
    assert isinstance(fitted, PictureRecipe)
    recipe = replace(fitted, balance=balance)
    for seed in seeds:
        with tempfile.TemporaryDirectory(prefix="cnn-image-") as folder:
            say = Say(f"balance {balance}, seed {seed}")
            trained = train(dataset, recipe, run_dir=Path(folder), seed=seed, observers=[say])
        answer = classifier(trained.network, trained.temperature, trained.contract)
        yield evaluate(answer(dataset.test.images), dataset.test.labels, dataset.classes)


def row(balance: float, seeds: list[Evaluation]) -> str:
    """One line of the table: means over the seeds, and the accuracy's spread."""
    rare, others = (
        statistics.mean(one.per_class[name] for one in seeds for name in one.classes if int(name) % 2 == odd)
        for odd in (0, 1)
    )
    accuracies = [one.accuracy for one in seeds]
    return (
        f"| {balance:g} | {statistics.mean(accuracies):.4f} ± {statistics.stdev(accuracies):.4f} "
        f"| {rare:.4f} | {others:.4f} | {statistics.mean(one.ece for one in seeds):.4f} "
        f"| {statistics.mean(one.nll for one in seeds):.4f} |"
    )


def main() -> None:
    """Train, judge, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archive", type=Path)
    parser.add_argument("--size", type=int, choices=SIZES, default=IMAGE_SIZE)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    dataset = thinned(load(arguments.archive, arguments.size))
    rows = [row(balance, list(judged(dataset, balance, arguments.seeds))) for balance in (0.0, BALANCE, 1.0)]
    page = [
        f"# Weights against imbalance, {arguments.size} pixels, {len(arguments.seeds)} seeds",
        "",
        f"{len(dataset.train):,} training images, of the even digits one in {KEPT}; "
        f"{len(dataset.test):,} test images. Written by `python -m benchmarks.training.imbalance ARCHIVE`.",
        "",
        _HEAD,
        *rows,
        "",
    ]
    (arguments.results / "imbalance.md").write_text("\n".join(page))
    print("\n".join(page))


if __name__ == "__main__":
    main()
