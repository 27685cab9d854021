"""`python -m benchmarks.gate.pairs`: versions of one recipe, each judged against each of the others.

They are equally good but for their seeds, so most of them should pass. Seeds that were trained are kept in a
state folder, outside the repository; the same command goes on where an earlier one was stopped.
"""

import argparse
import itertools
import os
from collections import Counter
from pathlib import Path
from typing import Final

import numpy as np

from jobs.gate import rules
from jobs.gate.answers import Answers, figures
from jobs.gate.power import ASSUMED, Expected, resolution
from model.contract import SIZES
from model.data.dataset import Dataset, Split
from model.data.own.wishes import Wishes
from model.data.sources import load_dataset
from model.network.cnn import classifier
from model.training.fitting import fit_recipe
from model.training.recipe import Recipe
from model.training.train import QUICK, train

STATE: Final = Path.home() / ".cache" / "cnn-image" / "pairs"


def main() -> None:
    """Train what is not there yet, judge all ordered pairs, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=os.environ.get("CIFAR10_DIR", "sample"))
    parser.add_argument("--size", type=int, choices=SIZES, help="of own pictures; else by the pictures")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=None)
    parser.add_argument("--state", type=Path, default=STATE)
    arguments = parser.parse_args()
    dataset = load_dataset(arguments.data, allow_sample=True, wishes=Wishes(size=arguments.size))
    recipe = fit_recipe(QUICK, dataset, epochs=arguments.epochs)
    folder = arguments.state / f"{dataset.digest[:16]}-{recipe.epochs}"
    print(told([_answers(dataset, recipe, seed, folder) for seed in range(arguments.seeds)], dataset.test))


def _answers(dataset: Dataset, recipe: Recipe, seed: int, folder: Path) -> Answers:
    kept = folder / f"{seed}.npy"
    if not kept.is_file():
        trained = train(dataset, recipe, run_dir=folder / f"run-{seed}", seed=seed)
        np.save(kept, classifier(trained.network, trained.temperature, trained.contract)(dataset.test.images))
    return Answers(seed, np.load(kept))


def told(versions: list[Answers], test: Split) -> str:
    """How many ordered pairs pass, with flips that are assumed and with those of an earlier pair."""
    labels, groups = test.labels, test.groups
    accuracies = [figures(version, labels, test.classes).accuracy for version in versions]
    pairs = list(itertools.permutations(versions, 2))
    flips = [rules.flips(mine, theirs, labels, groups) for mine, theirs in pairs]
    shares = [(one.mended + one.broken) / len(test) for one in flips]
    lines = [
        f"{len(versions)} versions, accuracy {min(accuracies):.3f} to {max(accuracies):.3f} on {len(test):,} "
        f"test images; of two, {min(shares):.1%} to {max(shares):.1%} of the answers flip."
    ]
    best = versions[int(np.argmax(accuracies))]
    for history in (False, True):
        passed, margins, reasons = 0, [], Counter[str]()
        for mine, theirs in pairs:
            third = next(one for one in versions if one.version not in {mine.version, theirs.version})
            seen = rules.flips(theirs, third, labels, groups)  # the champion when it was judged
            known = Expected((seen.mended + seen.broken) / len(test), seen.design_effect, 1)
            margin = resolution(len(test), groups, known if history else ASSUMED).margin
            checks = rules.successor_checks(
                mine, theirs, best, labels, classes=test.classes, groups=groups, margin=margin
            )
            failed = [check.name for check in checks if not check.passed]
            passed += not failed
            margins.append(margin)
            reasons.update(failed)
        lines.append(
            f"{'With' if history else 'Without'} a history: {passed} of {len(pairs)} pairs pass "
            f"({passed / len(pairs):.2f}), at margins of {100 * min(margins):.1f} to "
            f"{100 * max(margins):.1f} points; refused for {dict(reasons)}."
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
