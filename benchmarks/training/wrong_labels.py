"""`python -m benchmarks.training.wrong_labels ARCHIVE`: how many wrong labels the report lists.

Some labels of the sign digits (see `benchmarks.training.sign_digits`) are made wrong on purpose, in all
splits alike. The network learns them as they are, those of folds do, and the report's list is compared with
what was made wrong.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.serving import machine
from benchmarks.training.seeds import RESULTS, Say
from benchmarks.training.sign_digits import load
from model.contract import SIZES
from model.data.dataset import Dataset, Split
from model.data.pictures import SplitName
from model.network.cnn import classifier
from model.report.disputed import Answered, Disputed, find_doubts
from model.training.fitting import fit_recipe
from model.training.out_of_fold import out_of_fold
from model.training.train import RECIPES, train

SHARE: Final = 0.03

Place = tuple[SplitName, int]
"""Of an image: its split, and the row there."""


def plant(dataset: Dataset, share: float, seed: int) -> tuple[Dataset, set[Place]]:
    """Give a share of each split's images another class's label; return where."""
    rng = np.random.default_rng(seed)
    wrong: set[Place] = set()

    def spoilt(name: SplitName, split: Split) -> Split:
        rows = rng.choice(len(split), round(share * len(split)), replace=False)
        labels, classes = split.labels.copy(), len(split.classes)
        labels[rows] = (labels[rows] + rng.integers(1, classes, len(rows))) % classes
        wrong.update((name, int(row)) for row in rows)
        return replace(split, labels=labels)

    return (
        replace(
            dataset,
            train=spoilt("train", dataset.train),
            validation=spoilt("validation", dataset.validation),
            test=spoilt("test", dataset.test),
        ),
        wrong,
    )


def hits(found: Sequence[Disputed], wrong: set[Place], first: int | None = None) -> int:
    """How many of the first images in a list are among those made wrong."""
    return sum((each.split, each.row) in wrong for each in found[:first])


def measure(dataset: Dataset, arguments: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Spoil, train and look."""
    spoilt, wrong = plant(dataset, SHARE, seed)
    recipe = fit_recipe(RECIPES[arguments.recipe], spoilt, epochs=arguments.epochs, mirror=False)
    with tempfile.TemporaryDirectory(prefix="cnn-image-") as folder:
        say = Say(f"seed {seed}")
        trained = train(spoilt, recipe, run_dir=Path(folder), seed=seed, observers=[say])
        of_train = out_of_fold(spoilt, recipe, run_dir=Path(folder), seed=seed, observers=[say])
    classify = classifier(trained.network, trained.temperature, trained.contract)
    found = find_doubts(
        [
            Answered("train", spoilt.train, of_train),
            Answered("validation", spoilt.validation, classify(spoilt.validation.images)),
            Answered("test", spoilt.test, classify(spoilt.test.images)),
        ]
    ).found
    right = sum(
        getattr(dataset, each.split).labels[each.row] == each.suggested
        for each in found
        if (each.split, each.row) in wrong
    )
    return {
        "size": dataset.size,
        "seed": seed,
        "epochs": recipe.epochs,
        "images": sum(map(len, (dataset.train, dataset.validation, dataset.test))),
        "wrong": len(wrong),
        "listed": len(found),
        "hits": hits(found, wrong),
        "hits_among_as_many": hits(found, wrong, len(wrong)),
        "suggested_right": int(right),
    }


def page(results: Sequence[dict[str, Any]]) -> str:
    """All seeds as a page of Markdown."""
    lines = [
        "# Wrong labels, found",
        "",
        f"{SHARE:.0%} of the sign digits' labels were made wrong on purpose, in all splits.",
        "",
        "Written by `python -m benchmarks.training.wrong_labels`.",
        "",
        "| size | seed | epochs | images | made wrong | listed | of them made wrong "
        "| among the first as were made wrong | suggested class right |",
        "|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    lines += [
        f"| {one['size']} | {one['seed']} | {one['epochs']} | {one['images']:,} | {one['wrong']} "
        f"| {one['listed']} | {one['hits']} | {one['hits_among_as_many']} | {one['suggested_right']} |"
        for one in results
    ]
    return "\n".join([*lines, ""])


def main() -> None:
    """Measure and write; seeds of an earlier call stay in the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archive", type=Path)
    parser.add_argument("--size", type=int, choices=SIZES, default=32)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--recipe", choices=RECIPES, default="quick")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    dataset = load(arguments.archive, arguments.size)
    arguments.results.mkdir(parents=True, exist_ok=True)
    record = arguments.results / "wrong-labels.json"
    kept = json.loads(record.read_text())["results"] if record.is_file() else []
    for seed in arguments.seeds:
        kept = [one for one in kept if (one["size"], one["seed"]) != (arguments.size, seed)]
        kept = sorted([*kept, measure(dataset, arguments, seed)], key=lambda one: (one["size"], one["seed"]))
        record.write_text(json.dumps({"machine": machine.describe(), "results": kept}, indent=1) + "\n")
        (arguments.results / "wrong-labels.md").write_text(page(kept))
    print(page(kept))


if __name__ == "__main__":
    main()
