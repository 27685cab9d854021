"""Which difference a test split can show, and the margin and the floors that follow from that.

A margin that the test split cannot resolve refuses most versions that are exactly as good as the champion. So
it is one point where an equally good version passes nine times in ten, else the smallest with which it does,
and five points at the very most: where not even those are resolved, the evidence is weak.

How many answers flip between two equally good versions decides it, since each adds noise. What is expected
comes from the champion's history or is assumed; a candidate has no say in the margin that it is held to.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from jobs.gate.evidence import CONFIDENCE, share_bound

MARGIN: Final = 0.01
"""So much lower may the candidate's accuracy be, at worst, where the test split can show it: one point."""

MARGIN_AT_MOST: Final = 0.05
"""No test split, however small, makes more of it."""

POWER: Final = 0.90
"""How often a version exactly as good as the champion is to show that it is not worse by the margin."""

FLIPS: Final = 0.10
"""Share of the answers that is expected to turn right or wrong where no history says so."""

GROUP_CORRELATION: Final = 0.25
"""Of the flips within a group, at least: answers that agree with 0.5 on a normal scale."""

ONE_POINT_FROM: Final = 5_000
"""With so many images, each standing for itself, the margin is one point until a history speaks for more."""

ENOUGH_GROUPS: Final = 30
"""With fewer groups in the test split their spread is hardly known, and the evidence is weak."""

FLOOR_SHARE: Final = 0.25
"""A first version must have gone a quarter of the way from guessing to always right."""


@dataclass(frozen=True)
class Expected:
    """What is expected to flip between two versions that are equally good.

    Attributes:
        flips: Share of the answers.
        design_effect: So many times more does the difference scatter than if no image belonged to another;
            None where that is not known.
        verdicts: So many earlier verdicts say so; 0 where it is assumed.
    """

    flips: float = FLIPS
    design_effect: float | None = None
    verdicts: int = 0


ASSUMED: Final = Expected()


@dataclass(frozen=True)
class Resolution:
    """What a test split can show.

    Attributes:
        margin: What a candidate is held to.
        smallest: The smallest difference that it resolves, which may be more than the margin.
        expected: What that was computed from.
        images: Images it was computed for.
        groups: Groups among them; None where each image stands for itself.
    """

    margin: float
    smallest: float
    expected: Expected
    images: int
    groups: int | None

    @property
    def weak(self) -> bool:
        """Whether not even the widest margin is resolved, or the groups are too few to know."""
        return self.smallest > MARGIN_AT_MOST or (self.groups is not None and self.groups < ENOUGH_GROUPS)


def resolution(images: int, groups: NDArray[np.int64] | None, expected: Expected = ASSUMED) -> Resolution:
    """The smallest difference that so many images resolve, and the margin that follows.

    Args:
        images: Test images that are compared.
        groups: Which of them belong together, `[N]`; None where each stands for itself.
        expected: Flips between two versions that are equally good.
    """
    from scipy import special

    sizes = np.ones(images) if groups is None else np.unique(groups, return_counts=True)[1]
    number = None if groups is None else len(sizes)
    if len(sizes) < 2:
        return Resolution(MARGIN_AT_MOST, 1.0, expected, images, number)
    weighty = float((sizes**2).sum()) / images  # the size of the group that an image is in, on average
    effect = 1.0
    if groups is not None:
        # A history of few groups knows their spread badly: it may lift what is assumed, not lower it.
        effect = max(1 + (weighty - 1) * GROUP_CORRELATION, expected.design_effect or 1)
    sure, often = special.stdtrit(images / weighty - 1, (CONFIDENCE, POWER))
    spread = np.sqrt(expected.flips * effect / images)
    smallest = min(1.0, float((sure + often) * spread))
    if groups is not None and smallest * (1 - smallest) >= expected.flips:
        # The bound takes the error for as many flips as the loss that it excludes; see `difference_bound`.
        smallest = share_bound(often * spread, sure**2 * effect / images)
    margin = min(max(smallest, MARGIN), MARGIN_AT_MOST)
    if images >= ONE_POINT_FROM and groups is None and not expected.verdicts:
        margin = MARGIN
    return Resolution(margin, smallest, expected, images, number)


@dataclass(frozen=True)
class Floors:
    """What a first version must reach.

    Attributes:
        accuracy: On all images.
        classes: On the images of each class, by class id.
    """

    accuracy: float
    classes: NDArray[np.float64]

    @classmethod
    def of(cls, labels: NDArray[np.int64], learned: Collection[int], count: int) -> "Floors":
        """Floors a quarter of the way from guessing, which finds the largest class at best, to always right.

        Args:
            labels: Of the test images.
            learned: The class ids that the version has learned.
            count: Of all class ids.
        """
        shares = np.bincount(labels[np.isin(labels, list(learned))], minlength=count) / max(len(labels), 1)
        chance = np.minimum(shares, 1 / len(learned))
        guess = max(float(shares.max()), 1 / len(learned))
        return cls(guess + FLOOR_SHARE * (1 - guess), chance + FLOOR_SHARE * (1 - chance))
