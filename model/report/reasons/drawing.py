"""Where the trained network's answers come from: some test pictures with their gradient maps over them."""

from collections.abc import Collection
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from model.data.dataset import Split
from model.report.evaluate import is_learned
from model.report.html import inline
from model.report.pictures import drawn_name, figure_of
from model.report.reasons.gradients import class_maps

if TYPE_CHECKING:
    import keras
    from matplotlib.figure import Figure

_SHOWN: Final = 8
"""Pictures that are answered right, and as many mistakes: 2 seconds of CPU at 32 pixels, some 50 at most."""

_SAYS: Final = (
    "Above, pictures that are answered right, one of each class; below, the worst mistakes: first what "
    "speaks for the class that was given, then what speaks for the right one. Red speaks for the class "
    "that is named above it, blue against it, by the network's own gradients on the way from one colour to "
    "the picture (integrated gradients). Colours are scaled for each picture. They say where in the picture "
    "a class comes from, not why; the version that is served, int8 too, explains its own answers."
)


def reasons(
    network: "keras.Model", test: Split, probs: NDArray[np.float32], unlearned: Collection[int]
) -> "Figure | None":
    """Draw maps of pictures that are answered right, of one of each class, and of the worst mistakes.

    Of the mistakes the map of the class that was given, and that of the right one.

    Args:
        network: uint8 image to logits.
        test: The test split.
        probs: `[N, C]`, what its images are answered with.
        unlearned: Class ids that the network knows by name alone.

    Returns:
        The figure; None where no test image is of a class that was learned.
    """
    given, judged = probs.argmax(axis=1), is_learned(test.labels, unlearned)
    right, wrong = np.flatnonzero(judged & (given == test.labels)), judged & (given != test.labels)
    worst = np.flatnonzero(wrong)
    worst = worst[np.argsort(-probs[worst, given[worst]], kind="stable")][:_SHOWN]
    # One of each class, the middle one, for a split is sorted by its pixels.
    by_class = [right[given[right] == label] for label in np.unique(given[right])[:_SHOWN]]
    usual = np.array([rows[len(rows) // 2] for rows in by_class], np.intp)
    if not len(usual) and not len(worst):
        return None
    rows = np.concatenate([usual, worst, worst])
    classes = np.concatenate([given[usual], given[worst], test.labels[worst]])
    maps = class_maps(network, np.stack([test.images[row] for row in rows]), classes)
    of_usual, of_given, of_right = np.split(maps, [len(usual), len(usual) + len(worst)])
    heights = [2] * bool(len(usual)) + [3] * bool(len(worst))
    columns = max(len(usual), len(worst))
    figure = figure_of(1.15 * max(columns, 4), 1.3 * sum(heights))
    grid = figure.subplots(sum(heights), columns, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for column, row in enumerate(usual):
        _draw(grid[:2, column], test.images[row], [of_usual[column]], [_name(test, given[row])])
    for column, row in enumerate(worst):
        names = [_name(test, given[row]), _name(test, test.labels[row])]
        _draw(
            grid[-3:, column],
            test.images[row],
            [of_given[column], of_right[column]],
            names,
            ("given: ", "right: "),
        )
    return figure


def section(png: bytes) -> str:
    """The figure and what it shows, as HTML."""
    picture = f'<img src="{inline(png)}" alt="Pictures and their gradient maps">'
    return f'<h2>What answers rest on</h2><p>{picture}</p><p class="note">{_SAYS}</p>'


def _draw(
    places: "NDArray[np.object_]",
    image: NDArray[np.uint8],
    maps: list[NDArray[np.float32]],
    names: list[str],
    before: tuple[str, ...] = ("",),
) -> None:
    """A picture, and below it the same in grey under each of its maps."""
    strongest = max(float(np.abs(each).max()) for each in maps) or 1.0
    places[0].imshow(image, interpolation="nearest")
    for axes, values, name, prefix in zip(places[1:], maps, names, before, strict=True):
        axes.imshow(image.mean(axis=-1), cmap="gray", vmin=0, vmax=255)
        axes.imshow(values, cmap="bwr", vmin=-strongest, vmax=strongest, alpha=0.5)
        axes.set_title(prefix + name, fontsize=7, parse_math=False, pad=2)


def _name(test: Split, label: int) -> str:
    return drawn_name(test.classes, label)
