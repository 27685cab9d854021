"""Images whose label the model disputes, by confident learning (Northcutt, Jiang & Chuang 2021).

A class's threshold is the mean probability that its own images get: where another class's probability reaches
its threshold and is above the label's, the label is doubted. The largest margins come first.
https://doi.org/10.1613/jair.1.12125
"""

import csv
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.data.dataset import Split
from model.data.pictures import SplitName
from model.report.evaluate import is_learned
from model.report.gallery import gallery

DISPUTED_FILE: Final = "disputed.csv"
COLUMNS: Final = ("image", "label", "suggested", "probability", "split", "fix")
"""Of the file; `fix` is empty, for people to write the right class or `drop` into."""

MOST: Final = 200
"""Images in the list."""

_SHOWN: Final = 60
_ROUNDING: Final = 1e-6


class Answered(NamedTuple):
    """A split with what networks say of it that have not learned it.

    Attributes:
        name: Of the split.
        split: Its images.
        probs: `[N, C]`; a row of NaN where nobody can say.
    """

    name: SplitName
    split: Split
    probs: NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Disputed:
    """An image whose label is doubted.

    Attributes:
        split: Which split it is in.
        row: Where in that split.
        label: The class id that it has.
        suggested: The class id that it may have.
        probability: Of the suggested class.
        margin: What the label's probability is below that.
    """

    split: SplitName
    row: int
    label: int
    suggested: int
    probability: float
    margin: float


@dataclass(frozen=True)
class Doubts:
    """What was found where.

    Attributes:
        found: The most doubtful first.
        splits: What was looked through.
    """

    found: list[Disputed]
    splits: dict[SplitName, Split]

    def name(self, each: Disputed) -> str:
        """What the user calls the image."""
        names = self.splits[each.split].names
        return names[each.row] if names else f"{each.split} image {each.row}"


def find_doubts(parts: Sequence[Answered], unlearned: Collection[int] = ()) -> Doubts:
    """Find the labels that are doubted in some splits of one data set, with thresholds in common.

    Args:
        parts: The splits.
        unlearned: Class ids that the networks know by name alone; nothing is said of their images.
    """
    probs = np.concatenate([part.probs for part in parts])
    labels = np.concatenate([part.split.labels for part in parts])
    places = [(part.name, row) for part in parts for row in range(len(part.probs))]
    judged = np.isfinite(probs).all(axis=1) & is_learned(labels, unlearned)
    own = np.where(judged, probs[np.arange(len(labels)), labels], 0)
    images = np.bincount(labels[judged], minlength=probs.shape[1])
    sums = np.bincount(labels, weights=own, minlength=probs.shape[1])
    # A class that no image has cannot be suggested.
    thresholds = np.divide(sums, images, out=np.full(len(sums), np.inf), where=images > 0)
    confident = np.where(judged[:, None] & (probs >= thresholds - _ROUNDING), probs, -1)
    suggested = confident.argmax(axis=1)
    best = confident[np.arange(len(labels)), suggested]
    margin = best - own
    rows = np.flatnonzero((best > 0) & (suggested != labels) & (margin > 0))
    found = []
    for row in rows[np.argsort(-margin[rows], kind="stable")]:
        name, place = places[row]
        doubted = int(labels[row]), int(suggested[row]), float(best[row]), float(margin[row])
        found.append(Disputed(name, place, *doubted))
    return Doubts(found, {part.name: part.split for part in parts})


def write_disputed(path: Path, doubts: Doubts) -> None:
    """Write the first `MOST` as a CSV that `cnn-image data --fix` takes once its last column is filled in."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for each in doubts.found[:MOST]:
            classes = doubts.splits[each.split].classes
            label, suggested = classes[each.label], classes[each.suggested]
            writer.writerow((doubts.name(each), label, suggested, f"{each.probability:.3f}", each.split, ""))


def disputed_section(doubts: Doubts) -> str:
    """The most doubtful as a sheet, and how to mend them, in HTML."""
    found, names = doubts.found, list(doubts.splits)
    among = f"{sum(map(len, doubts.splits.values())):,} images ({', '.join(names[:-1])} and {names[-1]})"
    if not found:
        return f'<p class="note">None of {among} has a label that the model doubts.</p>'
    look = "looks" if len(found) == 1 else "look"
    listed = f"the first {MOST} are" if len(found) > MOST else "all are" if len(found) > 1 else "it is"
    return (
        f"<p>Of {among} {len(found):,} {look} like another class to networks that have not learned them; "
        f"{listed} in <code>{DISPUTED_FILE}</code>. Not each is wrong: some are only unlike the others of "
        "their class. Write the right class, or <code>drop</code>, into the column <code>fix</code> of those "
        "that are, and give the file to <code>cnn-image data --fix</code>; what is left empty stays as it "
        f"is.</p>{gallery(_shown(doubts))}"
    )


def _shown(doubts: Doubts) -> Iterator[tuple[NDArray[np.uint8], str, str, str]]:
    for each in doubts.found[:_SHOWN]:
        split = doubts.splits[each.split]
        says = (
            f"labelled {split.classes[each.label]}, looks like {split.classes[each.suggested]} "
            f"({each.probability:.0%} sure)"
        )
        yield split.images[each.row], f"{each.split} image {each.row}", says, doubts.name(each)
