"""Above which score a share of usual pictures lies, and how sure that is."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

LEAST: Final = 20
"""Usual pictures without which nothing can be said."""

_ENOUGH: Final = 50  # pictures above a threshold; with fewer, their tail is fitted
_TAIL: Final = 0.2  # of the pictures, the highest, which a tail is fitted to
_DRAWS: Final = 500
_SURE: Final = 0.95


@dataclass(frozen=True)
class Threshold:
    """A score that a share of usual pictures is above.

    Attributes:
        at: It.
        low: Where it lies with 95 % certainty, by drawing as many pictures again.
        high: The other end.
        fitted: Whether a tail was fitted, since too few pictures lie above.
    """

    at: float
    low: float
    high: float
    fitted: bool


def threshold(scores: NDArray[np.floating], share: float) -> Threshold:
    """Find the score that a share of usual pictures is above.

    With 50 pictures or more above it, it is their quantile: for one in twenty from 1,000 pictures on. With
    fewer, a generalized Pareto distribution is fitted to the highest fifth of them (Pickands 1975), by
    probability-weighted moments, which few values determine well (Hosking and Wallis 1987).

    Args:
        scores: Of pictures that the weights were not fitted to, `[N]`.
        share: Of them that may lie above, 0 to 1.

    Raises:
        ValueError: There are fewer than `LEAST`.
    """
    if len(scores) < LEAST:
        raise ValueError(f"{len(scores)} pictures tell nothing of a share of them; {LEAST} are needed")
    fitted = len(scores) * share < _ENOUGH
    find = _of_tail if fitted else _of_all
    rng = np.random.default_rng(0)
    values = np.sort(scores.astype(np.float64))
    drawn = [find(np.sort(rng.choice(values, len(values))), share) for _ in range(_DRAWS)]
    low, high = np.quantile(drawn, [(1 - _SURE) / 2, (1 + _SURE) / 2])
    return Threshold(find(values, share), float(low), float(high), fitted)


def _of_all(values: NDArray[np.float64], share: float) -> float:
    return float(np.quantile(values, 1 - share))


def _of_tail(values: NDArray[np.float64], share: float) -> float:
    """By the tail of sorted values."""
    count = max(10, round(len(values) * _TAIL))
    start, above = values[-count - 1], values[-count:] - values[-count - 1]
    first = above.mean()
    second = (above * (count - np.arange(1, count + 1)) / (count - 1)).mean() if first > 0 else 0.0
    if first <= 2 * second or first <= 0:  # all alike, or no tail that has a mean
        return _of_all(values, share)
    shape = 2 - first / (first - 2 * second)
    scale = 2 * first * second / (first - 2 * second)
    part = share * len(values) / count
    beyond = -scale * np.log(part) if abs(shape) < 1e-9 else scale * (part**-shape - 1) / shape
    return float(start + beyond)
