"""`python -m benchmarks.training.seeds`: a recipe from several seeds, a result file each and a table.

The same command goes on where an earlier one was stopped, however often: epochs done are kept in a state
folder, outside the repository. The test split is looked at once a seed, when it is trained. What
an earlier recipe of that name came to is removed.
"""

import argparse
import hashlib
import json
import os
import statistics
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

from benchmarks.serving import machine
from model.data.dataset import Dataset
from model.data.sources import load_dataset
from model.network.cnn import classifier
from model.report.evaluate import evaluate
from model.training.finetune import FINE_TUNE
from model.training.observer import Observer, Plan
from model.training.runs import RUN_FILE, Run, load_run, save_run
from model.training.train import BEST, RECIPES, Recipe, train

RESULTS: Final = Path(__file__).parents[1] / "results" / "training"
STATE: Final = Path.home() / ".cache" / "cnn-image" / "seeds"
TEACHERS: Final = "teacher"

# The same network by a teacher that knows ImageNet's photographs: EfficientNet-Lite0, fine-tuned on the same
# images at 128 pixels (`benchmarks.training.cifar10_five --size 128 --epochs 8 --teach`). Its labels were
# smoothed, so that its answers are softer to begin with.
DISTILLED: Final = replace(BEST, name="distilled", teacher=replace(FINE_TUNE, epochs=8), softening=1.5)
_CHOICES: Final = RECIPES | {DISTILLED.name: DISTILLED}


class Say(Observer):
    """A line an epoch."""

    def __init__(self, name: str) -> None:
        self._name = name

    def started(self, plan: Plan) -> None:
        print(f"{self._name}: from epoch {plan.first_epoch} on {plan.device}", flush=True)

    def epoch_ended(self, epoch: int, metrics: dict[str, float]) -> None:
        print(
            f"{self._name}: epoch {epoch}, validation {metrics['val_accuracy']:.4f} "
            f"(loss {metrics['val_loss']:.4f}), training {metrics['accuracy']:.3f}, "
            f"{metrics['seconds']:.0f} s, {metrics['cpu_seconds']:.0f} s of CPU",
            flush=True,
        )


def main() -> None:
    """Train, judge and write what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", default=os.environ.get("CIFAR10_DIR"), help="folder, archive or s3:// address"
    )
    parser.add_argument("--recipe", choices=_CHOICES, default="best")
    parser.add_argument("--seeds", type=int, default=5, help="seeds 0 to one less than this")
    parser.add_argument("--state", type=Path, default=STATE, help="where unfinished runs are kept")
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    dataset, recipe = load_dataset(arguments.data, allow_sample=False), _CHOICES[arguments.recipe]
    arguments.results.mkdir(parents=True, exist_ok=True)
    for file in arguments.results.glob(f"{recipe.name}-seed-*.json"):
        if json.loads(file.read_text())["recipe"] != asdict(recipe):
            file.unlink()
    for seed in range(arguments.seeds):
        file = arguments.results / f"{recipe.name}-seed-{seed}.json"
        if not file.is_file():
            run = _trained(dataset, recipe, seed, arguments.state)
            part = file.with_suffix(".part")
            part.write_text(json.dumps(_result(run, dataset), indent=1) + "\n")
            part.replace(file)
        page = table(arguments.results, recipe.name, arguments.seeds)
        (arguments.results / f"{recipe.name}.md").write_text(page)
    print(page)


def _trained(dataset: Dataset, recipe: Recipe, seed: int, state: Path) -> Run:
    digest = hashlib.sha256(json.dumps(asdict(recipe), sort_keys=True).encode()).hexdigest()[:16]
    folder = state / f"{recipe.name}-{digest}-seed-{seed}"
    if (folder / RUN_FILE).is_file():
        return load_run(folder)
    trained = train(
        dataset,
        recipe,
        run_dir=folder,
        seed=seed,
        observers=[Say(f"seed {seed}")],
        teacher_dir=state / TEACHERS,
        teacher_observers=[Say("teacher")],
    )
    return save_run(folder, trained, dataset)


def _result(run: Run, dataset: Dataset) -> dict[str, Any]:
    """What one seed came to."""
    judged = evaluate(classifier(run.network(), run.temperature)(dataset.test.images), dataset.test.labels)
    return {
        "recipe": run.recipe,
        "seed": run.seed,
        "data": run.data,
        "accuracy": judged.accuracy,
        "interval": judged.interval,
        "per_class": judged.per_class,
        "ece": judged.ece,
        "nll": judged.nll,
        "val_accuracy": run.metrics["val_accuracy"],
        "val_loss": run.metrics["val_loss"],
        "temperature": run.temperature,
        "minutes": run.metrics["seconds"] / 60,
        "cpu_minutes": run.metrics["cpu_seconds"] / 60,
        "teacher": {name: value for name, value in run.metrics.items() if name.startswith("teacher_")},
        "commit": run.commit,
        "finished": run.created,
        "machine": machine.describe(),
    }


def table(results: Path, recipe: str, wanted: int) -> str:
    """The seeds that are done of a recipe, their mean and spread, as a page of Markdown."""
    files = sorted(results.glob(f"{recipe}-seed-*.json"))
    done = [json.loads(file.read_text()) for file in files]
    accuracies = [one["accuracy"] for one in done]
    spread = f", standard deviation {statistics.stdev(accuracies):.4f}" if len(done) > 1 else ""
    rows = [
        f"| {one['seed']} | {one['accuracy']:.4f} ({one['interval'][0]:.3f}–{one['interval'][1]:.3f}) "
        f"| {min(one['per_class'], key=one['per_class'].get)} {min(one['per_class'].values()):.3f} "
        f"| {one['ece']:.4f} | {one['nll']:.3f} | {one['val_accuracy']:.4f} "
        f"| {one['cpu_minutes']:.0f} | {one['minutes']:.0f} | `{(one['commit'] or 'unknown')[:12]}` |"
        for one in done
    ]
    return "\n".join(
        [
            f"# The recipe `{recipe}`, {len(done)} of {wanted} seeds",
            "",
            f"Accuracy on the test images: mean {statistics.mean(accuracies):.4f}{spread}. "
            "Written by `python -m benchmarks.training.seeds`; each seed's file lies beside this one.",
            "",
            "| seed | test accuracy (95 % interval) | weakest class | ECE | NLL | validation | CPU minutes "
            "| minutes | commit |",
            "|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
            *rows,
            "",
        ]
    )


if __name__ == "__main__":
    main()
