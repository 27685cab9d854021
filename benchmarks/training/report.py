"""The race and the profile as a page, a record and a plot."""

import statistics
from dataclasses import asdict
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks.training.result import Result, faster


def page(results: list[Result], profile: dict[str, float], waiting: float, about: dict[str, str]) -> str:
    """The whole of it in Markdown; the first result is the one that the others are compared with."""
    original = results[0]
    return "\n".join(
        [
            "# Training, side by side",
            "",
            "Epochs in turn in one process, one run each. Seconds: building, compiling and training, without "
            "validation. Images a second: median over the epochs after the first; times the original's: by "
            "epoch, median and range. The test split was looked at once, at the end.",
            "",
            *(f"- {name}: {text}" for name, text in about.items() if text),
            "",
            "| recipe | epochs | seconds | images/s | times the original's | compiled | validation "
            "| test (95 % interval) |",
            "|---|--:|--:|--:|--:|--:|--:|--:|",
            *(_row(result, original) for result in results),
            "",
            *(_verdict(result, original) for result in results[1:]),
            "",
            "![accuracy by time](training.svg)",
            "",
            steps(profile, waiting),
            "",
        ]
    )


def steps(profile: dict[str, float], waiting: float) -> str:
    """Where a step's time goes."""
    return "\n".join(
        [
            "| a step of the quick recipe | ms | share |",
            "|---|--:|--:|",
            *(f"| {part} | {ms:.1f} | {ms / profile['whole step']:.0%} |" for part, ms in profile.items()),
            "",
            f"The network waits for data {waiting:.1%} of an epoch.",
        ]
    )


def record(
    results: list[Result], profile: dict[str, float], waiting: float, about: dict[str, str]
) -> dict[str, Any]:
    """The same for programs."""
    race = [
        asdict(result) | {"seconds": result.seconds, "times_original": faster(result, results[0])}
        for result in results
    ]
    return {"machine": about, "profile_ms": profile, "waiting": waiting, "race": race}


def plot(results: list[Result], path: Path) -> None:
    """Validation accuracy by seconds of training."""
    figure = Figure((7, 4), layout="constrained")
    axes = figure.subplots()
    for result in results:
        seconds, times = result.start_seconds, []
        for epoch in result.epoch_seconds:
            seconds += epoch
            times.append(seconds)
        axes.plot(times, result.validation, "o-", ms=3, label=f"{result.name} (test {result.test:.3f})")
    axes.set(xlabel="seconds of building, compiling and training", ylabel="accuracy on the validation split")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    # No date, ids that do not change: the same figures make the same file.
    with mpl.rc_context({"svg.hashsalt": "training"}):
        figure.savefig(path, metadata={"Date": None})


def _row(result: Result, original: Result) -> str:
    ratios = faster(result, original)
    times = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})"
    return (
        f"| {result.name} | {result.epochs} | {result.seconds:.0f} "
        f"| {statistics.median(result.images_per_second):,.0f} | {'–' if result is original else times} "
        f"| {'–' if result.compiled is None else result.compiled} | {result.validation[-1]:.3f} "
        f"| {result.test:.3f} ({result.interval[0]:.3f}–{result.interval[1]:.3f}) |"
    )


def _verdict(result: Result, original: Result) -> str:
    """How it stands to the original, in a sentence."""
    share, points = result.seconds / original.seconds, 100 * (result.test - original.test)
    return f"- {result.name}: {points:+.1f} points of test accuracy in {share:.2f} of the original's time."
