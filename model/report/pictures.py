"""The pictures of a run, as matplotlib figures: curves, confusion, calibration, what the filters see."""

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from model.contract import CLASSES, FILTER_BANK
from model.data.dataset import Split
from model.network.filters import KERNELS
from model.report.evaluate import CalibrationBin, Evaluation
from model.report.robustness import Robustness

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_BLUE, _ORANGE, _GREY = "#1f6feb", "#d9730d", "#8b949e"


def curves(history: Mapping[str, Sequence[float]]) -> "Figure":
    """Loss and accuracy by epoch, training and validation."""
    figure = _figure(9, 3.2)
    for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        epochs = range(1, len(history[name]) + 1)
        axes.plot(epochs, history[name], color=_GREY, label="training (augmented, dropout on)")
        axes.plot(epochs, history[f"val_{name}"], color=_BLUE, label="validation (averaged weights)")
        axes.set(xlabel="epoch", ylabel=name)
        axes.grid(alpha=0.3)
        axes.legend(frameon=False, fontsize=8)
    return figure


def confusion_matrix(evaluation: Evaluation) -> "Figure":
    """Right class against answer: counts, coloured by the row's share."""
    figure = _figure(4.6, 4)
    axes = figure.subplots()
    counts = evaluation.confusion
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(counts.shape):
        colour = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, f"{counts[row, column]}", ha="center", va="center", color=colour, fontsize=9)
    axes.set_xticks(range(len(CLASSES)), CLASSES, rotation=30, ha="right")
    axes.set_yticks(range(len(CLASSES)), CLASSES)
    axes.set(xlabel="answer", ylabel="right class")
    return figure


def reliability(bins: Sequence[CalibrationBin], ece: float) -> "Figure":
    """Reliability diagram: accuracy by confidence, the count of each bin below."""
    figure = _figure(4.6, 4.4)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    middles = [(each.low + each.high) / 2 for each in bins]
    width = bins[0].high - bins[0].low
    top.bar(middles, [each.accuracy for each in bins], width * 0.95, color=_BLUE, label="accuracy")
    means = [each.confidence for each in bins]
    top.plot([0, 1], [0, 1], color=_GREY, lw=1, label="as right as confident")
    top.plot(means, means, "o", color=_ORANGE, ms=3, label="mean confidence of a bin")
    top.set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1), title=f"expected calibration error {ece:.3f}")
    top.legend(frameon=False, fontsize=8)
    bottom.bar(middles, [each.count for each in bins], width * 0.95, color=_GREY)
    bottom.set(xlabel="confidence", ylabel="images")
    return figure


def robustness(measured: Robustness) -> "Figure":
    """Accuracy by strength, one small plot a degradation."""
    figure = _figure(9, 2.6)
    grid = figure.subplots(1, len(measured.degraded), sharey=True)
    for axes, (name, by_strength) in zip(grid, measured.degraded.items(), strict=True):
        labels = [f"{strength:g}" for strength in by_strength] if len(by_strength) > 1 else [""]
        axes.bar(labels, list(by_strength.values()), color=_BLUE, width=min(0.8, 0.2 * len(labels)))
        axes.margins(x=0.1 if len(labels) > 1 else 2)
        line = axes.axhline(measured.plain, color=_ORANGE, lw=1, label="as they are")
        axes.set_title(name, fontsize=9)
        axes.tick_params(labelsize=7)
        axes.set_ylim(0, 1)
    grid[0].set_ylabel("accuracy")
    figure.legend(handles=[line], loc="outside lower right", frameon=False, fontsize=8)
    return figure


def filters_seen(split: Split) -> "Figure":
    """What each filter makes of one image a class: the middle one, for a split is sorted by its pixels."""
    figure = _figure(6.4, 8)
    grid = figure.subplots(len(CLASSES), len(FILTER_BANK))
    for label, row in enumerate(grid):
        rows = np.flatnonzero(split.labels == label)
        image = split.images[rows[len(rows) // 2]]
        for name, axes in zip(FILTER_BANK, row, strict=True):
            axes.imshow(np.clip(_filtered(image, name), 0, 1), interpolation="nearest")
            axes.set_xticks([])
            axes.set_yticks([])
            if label == 0:
                axes.set_title(name.replace("_", " "), fontsize=9)
        row[0].set_ylabel(CLASSES[label], fontsize=9)
    return figure


def _filtered(image: NDArray[np.uint8], name: str) -> NDArray[np.float32]:
    """One image, uint8 `[32, 32, 3]`, through one filter: float32 `[32, 32, 3]`, as the graph computes it."""
    padded = np.pad(image.astype(np.float32) / 255, ((1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(0, 1))
    seen: NDArray[np.float32] = np.einsum("yxcij,ij->yxc", windows, KERNELS[name])
    return seen


def png(figure: "Figure") -> bytes:
    """Draw it."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def _figure(width: float, height: float) -> "Figure":
    # A Figure of its own, not pyplot's: no window system, no global state, any thread.
    from matplotlib.figure import Figure

    return Figure((width, height), layout="constrained")
