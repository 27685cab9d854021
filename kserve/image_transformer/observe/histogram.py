"""Prometheus' histograms without a lock: one thread counts."""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray
from prometheus_client.core import HistogramMetricFamily


class Histogram:
    """Values in buckets."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def add(self, value: float) -> None:
        """Counts one value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def add_all(self, values: NDArray[np.float32]) -> None:
        """Counts values `[N]`; what is no number counts as the highest, and has no part in the sum."""
        places = np.searchsorted(self._bounds, values)
        found = np.bincount(places, minlength=len(self._counts)).tolist()
        self._counts = [before + more for before, more in zip(self._counts, found, strict=True)]
        self._sum += float(values.sum(where=np.isfinite(values), dtype=np.float64))

    def sample(self) -> tuple[list[tuple[str, float]], float]:
        """Returns Prometheus' cumulative buckets, and the sum of all values."""
        bounds = [*(format(bound, "g") for bound in self._bounds), "+Inf"]
        return list(zip(bounds, accumulate(map(float, self._counts)), strict=True)), self._sum

    def family(self, name: str, text: str) -> HistogramMetricFamily:
        """Returns it as the one series of a metric.

        Args:
            name: The metric's.
            text: What it is about.
        """
        buckets, total = self.sample()
        return HistogramMetricFamily(name, text, buckets=buckets, sum_value=total)
