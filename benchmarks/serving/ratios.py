"""Ratios of measurements that took turns: the median over the rounds, and how far they spread."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """A median with the lowest and the highest value it came from."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f}–{self.high:.2f})"


def spread(values: Sequence[float]) -> Spread:
    """Returns median, lowest and highest.

    Raises:
        ValueError: there are none.
    """
    if not values:
        raise ValueError("no measurements")
    return Spread(statistics.median(values), min(values), max(values))


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Returns the spread of ours over theirs, round by round.

    Each round's two measurements were taken within a minute of each other, so what else the machine did
    weighs on both; comparing sums over all rounds would not cancel it.
    """
    return spread([one / other for one, other in zip(ours, theirs, strict=True)])
