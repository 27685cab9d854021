"""`python -m benchmarks.training.temperature`: ways to calibrate, on the versions of `benchmarks.gate.pairs`.

Each is fitted on the validation pictures and judged on the test pictures, which no training has seen; then,
since that is one split, also fitted on as many people as the validation has, drawn anew from both.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar

from benchmarks.gate.pairs import STATE
from model.contract import SIZES
from model.data.dataset import Dataset, Split
from model.data.own.wishes import Wishes
from model.data.sources import load_dataset
from model.report.evaluate import evaluate, fit_temperature, softmax
from model.training.checkpoint import load_checkpoint
from model.training.fitting import fit_recipe
from model.training.train import QUICK
from model.training.trainer import Trainer

Logits = NDArray[np.floating]
Labels = NDArray[np.int64]
Calibrated = Callable[[Logits], NDArray[np.float32]]
DRAWS: Final = 12


def _divided(temperature: float) -> Calibrated:
    return lambda logits: softmax(logits, temperature)


def _likeliest(logits: Logits, labels: Labels, weights: NDArray[np.float64] | None = None) -> float:
    def unlikely(log: float) -> float:
        probs = softmax(logits, float(np.exp(log)))[np.arange(len(labels)), labels]
        return -float(np.average(np.log(np.maximum(probs, 1e-12)), weights=weights))

    return float(np.exp(minimize_scalar(unlikely, bounds=np.log((0.05, 20)), method="bounded").x))


def _by_group(logits: Logits, labels: Labels, groups: NDArray[np.int64]) -> float:
    _, which, count = np.unique(groups, return_inverse=True, return_counts=True)
    return _likeliest(logits, labels, 1 / count[which])


def _vector(logits: Logits, labels: Labels, penalty: float) -> Calibrated:
    """A factor and a shift for each class; the penalty holds the factors together and the shifts at 0."""
    number = logits.shape[1]

    def scaled(given: NDArray[np.float64], logits: Logits) -> NDArray[np.float32]:
        return softmax(logits * np.exp(given[:number]) + given[number:])

    def unlikely(given: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        probs, factors, shifts = scaled(given, logits).astype(np.float64), given[:number], given[number:]
        apart = factors - factors.mean()
        wrong = (probs - np.eye(number)[labels]) / len(labels)
        slope = np.concatenate([(wrong * logits).sum(axis=0) * np.exp(factors), wrong.sum(axis=0)])
        likely = np.log(np.maximum(probs[np.arange(len(labels)), labels], 1e-12)).mean()
        held = penalty * float((apart**2).sum() + (shifts**2).sum())
        return held - float(likely), slope + 2 * penalty * np.concatenate([apart, shifts])

    start = np.concatenate([np.full(number, np.log(2.0)), np.zeros(number)])
    found = minimize(unlikely, start, jac=True, method="L-BFGS-B").x
    return lambda logits: scaled(found, logits)


def _answered(dataset: Dataset, folder: Path, seed: int) -> tuple[Logits, Logits]:
    """The logits of the validation and of the test pictures, by a checkpoint."""
    trainer = Trainer(dataset, fit_recipe(QUICK, dataset).fitted(len(dataset.train)), seed)
    kept = load_checkpoint(folder / f"run-{seed}")
    if kept is None:
        raise SystemExit(f"{folder} has no seed {seed}; python -m benchmarks.gate.pairs trains it.")
    trainer.restore(kept.arrays)
    images = dataset.test.images
    tests = [np.asarray(trainer.averaged(images[at : at + 256])) for at in range(0, len(images), 256)]
    return np.asarray(trainer.validation_logits()), np.concatenate(tests)


def told(answers: Sequence[tuple[Logits, Logits]], validation: Split, test: Split) -> str:
    """The table: means over the seeds."""
    groups = validation.groups if validation.groups is not None else np.arange(len(validation))
    ways: dict[str, Callable[[Logits], Calibrated]] = {
        "nothing": lambda _: softmax,
        "the likeliest temperature": lambda of: _divided(_likeliest(of, validation.labels)),
        "the same, each group counting once": lambda of: _divided(_by_group(of, validation.labels, groups)),
        "the temperature without bias": lambda of: _divided(fit_temperature(of, validation.labels)),
        "a factor and a shift for each class": lambda of: _vector(of, validation.labels, 0),
        "the same, held together by a penalty": lambda of: _vector(of, validation.labels, 0.01),
    }
    lines = ["| fitted | nats an image | ECE |", "|---|--:|--:|"]
    for name, fit in ways.items():
        found = [evaluate(fit(mine)(theirs), test.labels, test.classes) for mine, theirs in answers]
        lines.append(
            f"| {name} | {np.mean([o.nll for o in found]):.4f} | {np.mean([o.ece for o in found]):.4f} |"
        )
    return "\n".join([*lines, "", _drawn_anew(answers, validation, test)])


def _drawn_anew(answers: Sequence[tuple[Logits, Logits]], validation: Split, test: Split) -> str:
    """The two temperatures fitted on other people than those that happen to be the validation's."""
    if validation.groups is None or test.groups is None:
        return ""
    labels = np.concatenate([validation.labels, test.labels])
    people, which = np.unique(np.concatenate([validation.groups, test.groups]), return_inverse=True)
    rng, number = np.random.default_rng(0), len(np.unique(validation.groups))
    fits: dict[str, Callable[[Logits, Labels], float]] = {
        "likeliest": _likeliest,
        "without bias": fit_temperature,
    }
    nll: dict[str, list[float]] = {name: [] for name in fits}
    lowest = dict.fromkeys(fits, np.inf)
    for _ in range(DRAWS):
        fitted = np.isin(which, rng.permutation(len(people))[:number])
        for pair in answers:
            logits = np.concatenate(pair)
            for name, fit in fits.items():
                temperature = fit(logits[fitted], labels[fitted])
                judged = evaluate(softmax(logits[~fitted], temperature), labels[~fitted], test.classes)
                nll[name].append(judged.nll)
                lowest[name] = min(lowest[name], temperature)
    return "\n".join(
        f"On {number} people drawn anew, {DRAWS} times: {name} {np.mean(nll[name]):.4f} nats, at worst "
        f"{max(nll[name]):.4f}; the lowest temperature {lowest[name]:.2f}."
        for name in fits
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--size", type=int, choices=SIZES, help="of own pictures; else by the pictures")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--state", type=Path, default=STATE)
    given = parser.parse_args()
    dataset = load_dataset(given.data, allow_sample=True, wishes=Wishes(size=given.size))
    folder = given.state / f"{dataset.digest[:16]}-{fit_recipe(QUICK, dataset).epochs}"
    answers = [_answered(dataset, folder, seed) for seed in range(given.seeds)]
    print(told(answers, dataset.validation, dataset.test))


if __name__ == "__main__":
    main()
