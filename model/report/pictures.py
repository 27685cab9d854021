"""The pictures of a run, as matplotlib figures: curves, confusion, calibration, what the filters see."""

import io
import unicodedata
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from model.contract import FILTER_BANK
from model.data.dataset import Split
from model.network.filters import KERNELS
from model.report.evaluate import CalibrationBin, Evaluation
from model.report.robustness import Robustness

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_NAMED: Final = 30
"""Classes up to which a confusion matrix has names and counts."""

SMALL: Final = 9
"""Classes whose names and counts fit into a confusion matrix of half a page's width."""

MOST_FILTERED: Final = 8
"""Classes of which an image is shown through the filters."""

_LETTERS: Final = 10
"""Of a name for which a confusion matrix has room as it is."""

_MOST_LETTERS: Final = 24
_BLUE, _ORANGE, _GREY = "#1f6feb", "#d9730d", "#8b949e"


def curves(history: Mapping[str, Sequence[float]]) -> "Figure":
    """Loss and accuracy by epoch, training and validation."""
    figure = figure_of(9, 3.2)
    for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        epochs = range(1, len(history[name]) + 1)
        axes.plot(epochs, history[name], color=_GREY, label="training (augmented, dropout on)")
        axes.plot(epochs, history[f"val_{name}"], color=_BLUE, label="validation (averaged weights)")
        axes.set(xlabel="epoch", ylabel=name)
        axes.grid(alpha=0.3)
        axes.legend(frameon=False, fontsize=8)
    return figure


def confusion_matrix(evaluation: Evaluation) -> "Figure":
    """Right class against answer: counts, coloured by the row's share.

    Of more than `MOST_NAMED` classes the colours alone, without names and counts, which nobody could read.
    """
    shown = seen_classes(evaluation)
    counts = evaluation.confusion[np.ix_(shown, shown)]
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    named = len(shown) <= MOST_NAMED
    more = max(0, len(shown) - SMALL) if named else 10
    labels = [drawn_name(evaluation.classes, label) for label in shown] if named else []
    letters = max([_LETTERS, *map(len, labels)]) - _LETTERS
    figure = figure_of(4.6 + 0.32 * more + 0.08 * letters, 4 + 0.32 * more + 0.08 * letters)
    axes = figure.subplots()
    axes.set(xlabel="answer", ylabel="right class")
    if not named:
        axes.imshow(np.sqrt(shares), cmap="Blues", vmin=0, vmax=1)
        axes.set(xticks=[], yticks=[])
        axes.set_title("colour: square root of the share, so that rare answers are seen", fontsize=8)
        return figure
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(counts.shape):
        colour = "white" if shares[row, column] > 0.5 else "black"
        count = f"{counts[row, column]}" if not more or counts[row, column] else ""
        axes.text(column, row, count, ha="center", va="center", color=colour, fontsize=7 if more else 9)
    # A dollar sign in a name begins no formula.
    axes.set_xticks(range(len(shown)), labels, rotation=90 if more else 30, ha="right", parse_math=False)
    axes.set_yticks(range(len(shown)), labels, parse_math=False)
    if more:
        for tick in axes.get_xticklabels():
            tick.set(ha="center")
    return figure


def seen_classes(evaluation: Evaluation) -> NDArray[np.intp]:
    """The class ids that are right or given anywhere, ascending: what a confusion matrix has to show."""
    counts = evaluation.confusion
    return np.flatnonzero(counts.sum(axis=0) + counts.sum(axis=1))


def drawn_name(classes: Sequence[str], label: int) -> str:
    """What a picture calls a class: its name, cut short; its id where the font lacks a letter of it."""
    name = unicodedata.normalize("NFC", classes[label])
    if not set(map(ord, name)) <= _letters():
        return f"#{label}"
    return name if len(name) <= _MOST_LETTERS else f"{name[: _MOST_LETTERS - 1]}…"


@cache
def _letters() -> frozenset[int]:
    """What matplotlib's own font can draw, which is there wherever matplotlib is."""
    from matplotlib import font_manager, ft2font

    return frozenset(ft2font.FT2Font(font_manager.findfont("DejaVu Sans")).get_charmap())


def reliability(bins: Sequence[CalibrationBin], ece: float) -> "Figure":
    """Reliability diagram: accuracy by confidence, the count of each bin below."""
    figure = figure_of(4.6, 4.4)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    middles = [(each.low + each.high) / 2 for each in bins]
    width = bins[0].high - bins[0].low
    top.bar(middles, [each.accuracy for each in bins], width * 0.95, color=_BLUE, label="accuracy")
    means = [each.confidence for each in bins]
    top.plot([0, 1], [0, 1], color=_GREY, lw=1, label="as right as confident")
    top.plot(means, means, "o", color=_ORANGE, ms=3, label="mean confidence of a bin")
    top.set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1), title=f"expected calibration error {ece:.3f}")
    top.legend(framealpha=0.9, edgecolor="none", fontsize=8)
    bottom.bar(middles, [each.count for each in bins], width * 0.95, color=_GREY)
    bottom.set(xlabel="confidence", ylabel="images")
    return figure


def robustness(measured: Robustness) -> "Figure":
    """Accuracy by strength, one small plot a degradation."""
    figure = figure_of(9, 2.6)
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
    """What each filter makes of one image a class: the middle one, for a split is sorted by its pixels.

    Of the first `MOST_FILTERED` classes that have images.
    """
    labels = np.unique(split.labels)[:MOST_FILTERED]
    figure = figure_of(6.4, 1.6 * len(labels))
    grid = figure.subplots(len(labels), len(FILTER_BANK), squeeze=False)
    for number, (label, row) in enumerate(zip(labels, grid, strict=True)):
        rows = np.flatnonzero(split.labels == label)
        image = split.images[rows[len(rows) // 2]]
        for name, axes in zip(FILTER_BANK, row, strict=True):
            axes.imshow(np.clip(_filtered(image, name), 0, 1), interpolation="nearest")
            axes.set_xticks([])
            axes.set_yticks([])
            if number == 0:
                axes.set_title(name.replace("_", " "), fontsize=9)
        row[0].set_ylabel(drawn_name(split.classes, label), fontsize=9, parse_math=False)
    return figure


def _filtered(image: NDArray[np.uint8], name: str) -> NDArray[np.float32]:
    """One image, uint8 `[S, S, 3]`, through one filter: float32 `[S, S, 3]`, as the graph computes it."""
    padded = np.pad(image.astype(np.float32) / 255, ((1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(0, 1))
    seen: NDArray[np.float32] = np.einsum("yxcij,ij->yxc", windows, KERNELS[name])
    return seen


def png(figure: "Figure") -> bytes:
    """Draw it."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def figure_of(width: float, height: float) -> "Figure":
    """An empty one, in inches."""
    # A Figure of its own, not pyplot's: no window system, no global state, any thread.
    from matplotlib.figure import Figure

    return Figure((width, height), layout="constrained")
