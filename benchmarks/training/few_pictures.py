"""`python -m benchmarks.training.few_pictures ARCHIVE`: ten pictures a class, and everybody else to be told.

Of ARCHIVE (see `benchmarks.training.sign_digits`) ten people who show all ten digits, drawn by the seed: two
choose, eight are learned from, and all others are the test split. Judged are the small network from nothing,
EfficientNet-Lite's features with a softmax fitted to them, and the whole of it fine-tuned.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.serving import machine
from benchmarks.training.seeds import RESULTS
from benchmarks.training.sign_digits import load
from model.contract import LITE_SIZES
from model.data.dataset import Dataset, Split
from model.network.cnn import classifier
from model.network.pretrained.source import find_weights
from model.report.evaluate import evaluate
from model.training.finetune import FINE_TUNE
from model.training.fitting import fit_recipe
from model.training.recipe import Recipe
from model.training.train import QUICK, train
from model.training.trainer import Trainer

PEOPLE: Final = 10
_CHOOSE: Final = 2
WAYS: Final = ("cnn from nothing", "softmax on frozen features", "fine-tuned")


def few(whole: Dataset, seed: int) -> Dataset:
    """The same pictures, all but those of ten people in the test split."""
    parts = (whole.train, whole.validation, whole.test)
    images = np.concatenate([np.asarray(part.images) for part in parts])
    labels = np.concatenate([part.labels for part in parts])
    people = np.concatenate([part.groups for part in parts if part.groups is not None])
    counts = np.bincount(people)
    complete = [person for person in np.flatnonzero(counts == 10) if len(set(labels[people == person])) == 10]
    chosen = np.random.default_rng(seed).permutation(complete)[:PEOPLE]

    def split(rows: NDArray[np.bool_]) -> Split:
        return Split(images[rows], labels[rows], whole.classes, people[rows])

    learned, choosing = np.isin(people, chosen[_CHOOSE:]), np.isin(people, chosen[:_CHOOSE])
    return Dataset(
        split(learned), split(choosing), split(~learned & ~choosing), "ten people of sign digits", "images"
    )


def measure(dataset: Dataset, seed: int) -> dict[str, Any]:
    """Accuracy on the test split by each of `WAYS`, and what each took in seconds of CPU."""
    tuned = fit_recipe(FINE_TUNE, dataset)
    found: dict[str, Any] = {"seed": seed, "size": dataset.size, "images": len(dataset.test)}
    for way in WAYS:
        began = time.process_time()
        found[way] = _frozen(dataset, tuned, seed) if way == WAYS[1] else _trained(dataset, way, tuned, seed)
        found[f"{way}, CPU seconds"] = time.process_time() - began
        print(
            f"seed {seed}, {way}: {found[way]:.4f}, {found[f'{way}, CPU seconds']:.0f} s of CPU", flush=True
        )
    return found


def _frozen(dataset: Dataset, recipe: Recipe, seed: int) -> float:
    trainer = Trainer(dataset, recipe, seed)
    trainer.begin(dataset, find_weights(trainer.contract.network)[0])
    return _accuracy(dataset, classifier(trainer.averaged, 1.0, trainer.contract)(dataset.test.images))


def _trained(dataset: Dataset, way: str, tuned: Recipe, seed: int) -> float:
    recipe = tuned if way == WAYS[2] else fit_recipe(QUICK, dataset)
    with tempfile.TemporaryDirectory(prefix="cnn-image-") as folder:
        trained = train(dataset, recipe, run_dir=Path(folder), seed=seed)
    return _accuracy(
        dataset, classifier(trained.network, trained.temperature, trained.contract)(dataset.test.images)
    )


def _accuracy(dataset: Dataset, probs: NDArray[np.float32]) -> float:
    return evaluate(probs, dataset.test.labels, dataset.classes).accuracy


def page(results: list[dict[str, Any]], title: str, command: str) -> str:
    """The figures as a page."""
    lines = [f"# {title}", ""]
    for way in WAYS:
        values = [one[way] for one in results]
        spread = f", standard deviation {statistics.stdev(values):.4f}" if len(values) > 1 else ""
        lines.append(f"- {way}: {statistics.mean(values):.4f}{spread}")
    lines += ["", f"Written by `{command}`.", ""]
    lines += [
        f"| size | seed | test images | {' | '.join(f'{way} (CPU seconds)' for way in WAYS)} |",
        "|--:|--:|--:|--:|--:|--:|",
    ]
    for one in results:
        figures = " | ".join(f"{one[way]:.4f} ({one[f'{way}, CPU seconds']:.0f})" for way in WAYS)
        lines.append(f"| {one['size']} | {one['seed']} | {one['images']:,} | {figures} |")
    return "\n".join([*lines, ""])


def measure_seeds(
    drawn: Callable[[int], Dataset], seeds: Sequence[int], file: Path, title: str, command: str
) -> None:
    """Measure each seed's data set; written after each.

    Args:
        drawn: The data set of a seed.
        seeds: Those that are asked for.
        file: Of the results, without its ending.
        title: Of the page.
        command: That writes it.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    results: list[dict[str, Any]] = []
    for seed in seeds:
        results.append(measure(drawn(seed), seed))
        record = {"machine": machine.describe(), "results": results}
        file.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n")
        file.with_suffix(".md").write_text(page(results, title, command))
    print(page(results, title, command))


def main() -> None:
    """Train, judge and write the seeds that are asked for."""
    flags = argparse.ArgumentParser(description=__doc__)
    flags.add_argument("archive", type=Path)
    flags.add_argument("--size", type=int, choices=LITE_SIZES, default=LITE_SIZES[0])
    flags.add_argument("--seeds", type=int, nargs="+", default=list(range(3)))
    flags.add_argument("--results", type=Path, default=RESULTS)
    arguments = flags.parse_args()
    whole = load(arguments.archive, arguments.size)
    measure_seeds(
        lambda seed: few(whole, seed),
        arguments.seeds,
        arguments.results / "few-pictures",
        "Ten pictures a class",
        "python -m benchmarks.training.few_pictures ARCHIVE",
    )


if __name__ == "__main__":
    main()
