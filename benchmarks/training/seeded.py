"""Seeds of one recipe on pictures of any kind, each judged once by the test split, as a table.

Written seed by seed; those of an earlier call stay in the table.
"""

import argparse
import contextlib
import hashlib
import json
import statistics
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.serving import machine
from benchmarks.training.seeds import RESULTS, Say
from model.contract import NETWORKS, SIZES
from model.data.dataset import Dataset
from model.data.findings import counted
from model.network.cnn import classifier
from model.report.evaluate import evaluate
from model.training.finetune import FINE_TUNE
from model.training.fitting import fit_recipe
from model.training.recipe import Recipe
from model.training.runs import RUN_FILE, Run, load_run, save_run
from model.training.train import RECIPES, train

_CHANCE: Final = 1000  # draws of right and wrong answers, to know a calibrated model's own ECE
_HEAD: Final = (
    "| network | size | seed | test accuracy (95 % interval) | wrong | ECE | by chance, 95 % below | epochs "
    "| minutes | CPU minutes |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
)


def parser(description: str | None, size: int) -> argparse.ArgumentParser:
    """The flags that every such benchmark takes.

    Args:
        description: Of the benchmark.
        size: Side of the network's input where none is named.
    """
    flags = argparse.ArgumentParser(description=description)
    flags.add_argument("--size", type=int, choices=SIZES, default=size)
    flags.add_argument("--network", choices=NETWORKS, default="cnn")
    flags.add_argument("--seeds", type=int, nargs="+", default=list(range(5)))
    flags.add_argument("--recipe", choices=RECIPES, default="quick")
    flags.add_argument("--epochs", type=int)
    flags.add_argument("--results", type=Path, default=RESULTS)
    flags.add_argument(
        "--state", type=Path, help="where runs are kept, so that a killed one goes on; nowhere if not named"
    )
    return flags


def chance_ece(probs: NDArray[np.float32], classes: tuple[str, ...]) -> float:
    """The ECE below which 95 of 100 perfectly calibrated models stay that answer these probabilities."""
    rng = np.random.default_rng(0)
    reached = probs.cumsum(axis=1)
    drawn = [(rng.random((len(probs), 1)) * reached[:, -1:] > reached).sum(axis=1) for _ in range(_CHANCE)]
    return float(np.quantile([evaluate(probs, labels, classes).ece for labels in drawn], 0.95))


def recipe_of(dataset: Dataset, arguments: argparse.Namespace) -> Recipe:
    """The recipe of a network for a data set."""
    recipe: Recipe = RECIPES[arguments.recipe]
    if arguments.network != "cnn":
        recipe = replace(FINE_TUNE, pretrained=arguments.network)
    return fit_recipe(recipe, dataset, epochs=arguments.epochs)


def measure(dataset: Dataset, arguments: argparse.Namespace, seed: int, name: str) -> dict[str, Any]:
    """Train one seed, and judge it on the test split."""
    recipe = recipe_of(dataset, arguments)
    with contextlib.ExitStack() as until:
        if arguments.state:
            folder = run_folder(arguments.state, name, dataset, recipe, seed)
        else:
            folder = Path(until.enter_context(tempfile.TemporaryDirectory(prefix="cnn-image-")))
        run = trained_run(dataset, recipe, folder, seed)
        network = run.network()
    test = dataset.test
    probs = classifier(network, run.temperature, run.contract)(test.images)
    judged = evaluate(probs, test.labels, dataset.classes)
    return {
        "network": arguments.network,
        "size": dataset.size,
        "seed": seed,
        "images": [len(split) for split in (dataset.train, dataset.validation, test)],
        "epochs": len(run.history["loss"]),
        "accuracy": judged.accuracy,
        "interval": judged.interval,
        "wrong": round((1 - judged.accuracy) * len(test)),
        "ece": judged.ece,
        "chance_ece": chance_ece(probs, dataset.classes),
        "nll": judged.nll,
        "minutes": run.metrics["seconds"] / 60,
        "cpu_minutes": run.metrics["cpu_seconds"] / 60,
    }


def run_folder(state: Path, name: str, dataset: Dataset, recipe: Recipe, seed: int) -> Path:
    """Where a seed of a benchmark's is kept."""
    about = json.dumps([asdict(recipe), dataset.digest], sort_keys=True)
    return state / f"{name}-{hashlib.sha256(about.encode()).hexdigest()[:16]}-seed-{seed}"


def trained_run(dataset: Dataset, recipe: Recipe, folder: Path, seed: int) -> Run:
    """The finished run in a folder; one that is not finished, or not there, is trained to its end."""
    if (folder / RUN_FILE).is_file():
        return load_run(folder)
    trained = train(dataset, recipe, run_dir=folder, seed=seed, observers=[Say(f"seed {seed}")])
    return save_run(folder, trained, dataset)


def _kind(one: dict[str, Any]) -> tuple[str, int]:
    """Network and size of a result; the first ones were all of the cnn."""
    return one.get("network", "cnn"), one["size"]


def _page(results: list[dict[str, Any]], title: str, command: str) -> str:
    lines = [f"# {title}", ""]
    for network, size in sorted({_kind(one) for one in results}):
        accuracies = [one["accuracy"] for one in results if _kind(one) == (network, size)]
        spread = f", standard deviation {statistics.stdev(accuracies):.4f}" if len(accuracies) > 1 else ""
        lines.append(
            f"- {network}, {size} pixels, {counted(len(accuracies), 'seed')}: "
            f"{statistics.mean(accuracies):.4f}{spread}"
        )
    lines += ["", f"Written by `{command}`.", "", _HEAD]
    lines += [
        f"| {one.get('network', 'cnn')} | {one['size']} | {one['seed']} "
        f"| {one['accuracy']:.4f} ({one['interval'][0]:.3f}–{one['interval'][1]:.3f}) | {one['wrong']} "
        f"| {one['ece']:.4f} | {one['chance_ece']:.4f} | {one['epochs']} | {one['minutes']:.1f} "
        f"| {one['cpu_minutes']:.1f} |"
        for one in results
    ]
    return "\n".join([*lines, ""])


def run(dataset: Dataset, arguments: argparse.Namespace, *, name: str, title: str, command: str) -> None:
    """Train, judge and write the seeds that are asked for.

    Args:
        dataset: What is learned.
        arguments: What `parser` made of the command line.
        name: Of the files of results.
        title: Of the page.
        command: That writes it.
    """
    record = arguments.results / f"{name}.json"
    kept = json.loads(record.read_text())["results"] if record.is_file() else []
    for seed in arguments.seeds:
        this = (arguments.network, arguments.size)
        kept = [one for one in kept if (_kind(one), one["seed"]) != (this, seed)]
        kept.append(measure(dataset, arguments, seed, name))
        kept.sort(key=lambda one: (*_kind(one), one["seed"]))
        arguments.results.mkdir(parents=True, exist_ok=True)
        record.write_text(json.dumps({"machine": machine.describe(), "results": kept}, indent=1) + "\n")
        (arguments.results / f"{name}.md").write_text(_page(kept, title, command))
    print(_page(kept, title, command))
