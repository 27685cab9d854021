"""`python -m benchmarks.training.sign_digits ARCHIVE`: the quick recipe on people whom it has never seen.

ARCHIVE is Ankara Ayrancı Anadolu High School's Sign Language Digits (arXiv:2011.08927) as a tar, files
`Dataset/<digit>/IMG_<number>.JPG`. By rising numbers a person is a run of rising digits; the last 40 people
are the test split, as in an earlier trial, every ninth of the others the validation split. The test split is
looked at once a seed, when it is trained.
"""

import argparse
import io
import json
import re
import statistics
import tarfile
import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.serving import machine
from benchmarks.training.seeds import RESULTS, Say
from model.contract import SIZES
from model.data.dataset import Dataset, Split
from model.network.cnn import classifier
from model.report.evaluate import evaluate
from model.training.fitting import fit_recipe
from model.training.train import RECIPES, train

TEST_PEOPLE: Final = 40
VALIDATION: Final = 9
_CHANCE: Final = 1000  # draws of right and wrong answers, to know a calibrated model's own ECE
_HEAD: Final = (
    "| size | seed | test accuracy (95 % interval) | wrong | ECE | by chance, 95 % below | epochs "
    "| minutes | CPU minutes |\n|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
)


def load(archive: Path, size: int) -> Dataset:
    """Read the pictures, squeezed into squares of `size` pixels, and split them by person."""
    found = []
    with tarfile.open(archive) as tar:
        for member in tar:
            named = re.fullmatch(r"Dataset/(\d)/IMG_(\d+)\.JPG", member.name)
            file = tar.extractfile(member)
            if named and file:
                picture = Image.open(io.BytesIO(file.read())).convert("RGB")
                shrunk = picture.resize((size, size), Image.Resampling.BOX, reducing_gap=None)
                found.append((int(named[2]), int(named[1]), np.asarray(shrunk)))
    found.sort(key=lambda one: one[:2])
    labels = np.asarray([label for _, label, _ in found], np.int64)
    images = np.stack([pixels for *_, pixels in found])
    people = np.cumsum(np.diff(labels, prepend=labels[0]) <= 0) - 1
    others = people.max() + 1 - TEST_PEOPLE
    test = people >= others
    validation = ~test & (people % VALIDATION == VALIDATION - 1)

    def split(rows: NDArray[np.bool_]) -> Split:
        return Split(images[rows], labels[rows], tuple("0123456789"), people[rows])

    return Dataset(
        split(~test & ~validation), split(validation), split(test), "Sign Language Digits", "images"
    )


def chance_ece(probs: NDArray[np.float32], classes: tuple[str, ...]) -> float:
    """The ECE below which 95 of 100 perfectly calibrated models stay that answer these probabilities."""
    rng = np.random.default_rng(0)
    reached = probs.cumsum(axis=1)
    drawn = [(rng.random((len(probs), 1)) * reached[:, -1:] > reached).sum(axis=1) for _ in range(_CHANCE)]
    return float(np.quantile([evaluate(probs, labels, classes).ece for labels in drawn], 0.95))


def measure(dataset: Dataset, arguments: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Train one seed, and judge it on the test split."""
    recipe = fit_recipe(RECIPES[arguments.recipe], dataset, epochs=arguments.epochs)
    with tempfile.TemporaryDirectory(prefix="cnn-image-") as folder:
        trained = train(dataset, recipe, run_dir=Path(folder), seed=seed, observers=[Say(f"seed {seed}")])
    test = dataset.test
    probs = classifier(trained.network, trained.temperature, trained.contract)(test.images)
    judged = evaluate(probs, test.labels, dataset.classes)
    return {
        "size": dataset.size,
        "seed": seed,
        "images": [len(split) for split in (dataset.train, dataset.validation, test)],
        "epochs": trained.recipe.epochs,
        "accuracy": judged.accuracy,
        "interval": judged.interval,
        "wrong": round((1 - judged.accuracy) * len(test)),
        "ece": judged.ece,
        "chance_ece": chance_ece(probs, dataset.classes),
        "minutes": trained.metrics["seconds"] / 60,
        "cpu_minutes": trained.metrics["cpu_seconds"] / 60,
    }


def page(results: list[dict[str, Any]]) -> str:
    """All seeds as a page of Markdown."""
    lines = ["# Sign digits, by person", ""]
    for size in sorted({one["size"] for one in results}):
        accuracies = [one["accuracy"] for one in results if one["size"] == size]
        spread = f", standard deviation {statistics.stdev(accuracies):.4f}" if len(accuracies) > 1 else ""
        lines.append(f"- {size} pixels, {len(accuracies)} seeds: {statistics.mean(accuracies):.4f}{spread}")
    lines += ["", "Written by `python -m benchmarks.training.sign_digits`.", "", _HEAD]
    lines += [
        f"| {one['size']} | {one['seed']} "
        f"| {one['accuracy']:.4f} ({one['interval'][0]:.3f}–{one['interval'][1]:.3f}) | {one['wrong']} "
        f"| {one['ece']:.4f} | {one['chance_ece']:.4f} | {one['epochs']} | {one['minutes']:.1f} "
        f"| {one['cpu_minutes']:.1f} |"
        for one in results
    ]
    return "\n".join([*lines, ""])


def main() -> None:
    """Train, judge and write the seeds that are asked for; those of an earlier call stay in the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archive", type=Path)
    parser.add_argument("--size", type=int, choices=SIZES, default=64)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(5)))
    parser.add_argument("--recipe", choices=RECIPES, default="quick")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    dataset = load(arguments.archive, arguments.size)
    record = arguments.results / "sign-digits.json"
    kept = json.loads(record.read_text())["results"] if record.is_file() else []
    for seed in arguments.seeds:
        kept = [one for one in kept if (one["size"], one["seed"]) != (arguments.size, seed)]
        kept = sorted([*kept, measure(dataset, arguments, seed)], key=lambda one: (one["size"], one["seed"]))
        arguments.results.mkdir(parents=True, exist_ok=True)
        record.write_text(json.dumps({"machine": machine.describe(), "results": kept}, indent=1) + "\n")
        (arguments.results / "sign-digits.md").write_text(page(kept))
    print(page(kept))


if __name__ == "__main__":
    main()
