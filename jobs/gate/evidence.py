"""What a difference found on test images proves: means with confidence bounds, image by image or by group.

Images of one group (one person's, one scene's) go right or wrong together, so that many of them say little
more than one. Where a test split has groups, every error is therefore taken between them: the jackknife of a
mean that leaves out a group at a time (CR3: R. M. Bell, D. F. McCaffrey, Survey Methodology 28:2, 2002), with
the degrees of freedom of as many equal groups as weigh alike (N² / Σn², less one). Where each image stands
for itself that is Student's bound for paired differences, scipy.stats.ttest_1samp.

Where few answers flip, most of them in one direction, that bound is wrong more often than it says: eight
times in a hundred with 3 % of 400 images. So a skew that would flatter is taken off it (N. J. Johnson,
Journal of the American Statistical Association 73:363, 1978); one in the other direction gives nothing.

Of few groups few move at all. Where by chance fewer turned wrong than would in the long run, the error comes
out small together with the loss, and the bound is wrong once more: eight times in a hundred with 42 groups
of ten. But who is worse by so much turns at least so many answers wrong, so no bound of a difference
takes the error for fewer than that; see `difference_bound`.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from model.report.evaluate import CALIBRATION_BINS

CONFIDENCE: Final = 0.95
"""Of every one-sided bound."""

Confidence = float | NDArray[np.float64]
"""Of all parts, or of each, `[P]`."""

_DRAWS: Final = 2_000


@dataclass(frozen=True)
class Means:
    """Means of a value over parts of the images, and how sure they are.

    Attributes:
        value: Of each part, `[P]`; 0 where a part has no image.
        error: Standard error, by group; infinite where a part has fewer than two groups.
        freedom: Degrees of freedom of the error.
        lean: How far the skew moves the mean's distribution: its third moment over six times its second.
        images: Images in each part.
        down: Groups whose sum is below zero; of images that each stand for themselves: answers broken.
        up: Groups whose sum is above zero.
    """

    value: NDArray[np.float64]
    error: NDArray[np.float64]
    freedom: NDArray[np.float64]
    lean: NDArray[np.float64]
    images: NDArray[np.int64]
    down: NDArray[np.int64]
    up: NDArray[np.int64]

    def lower(self, confidence: Confidence = CONFIDENCE) -> NDArray[np.float64]:
        """The one-sided lower bound of each mean, −1 at least."""
        return np.maximum(self.value - self._reach(confidence, np.minimum(self.lean, 0)), -1.0)

    def upper(self, confidence: Confidence = CONFIDENCE) -> NDArray[np.float64]:
        """The one-sided upper bound of each mean, 1 at most."""
        return np.minimum(self.value + self._reach(confidence, np.maximum(self.lean, 0)), 1.0)

    def chance(self) -> NDArray[np.float64]:
        """How likely so many groups of those that moved are down by chance alone: the exact sign test's.

        With images that each stand for themselves it is McNemar's exact test, one-sided.
        """
        from scipy import stats

        return np.asarray(stats.binom.sf(self.down - 1, self.down + self.up, 0.5))

    def _reach(self, confidence: Confidence, lean: NDArray[np.float64]) -> NDArray[np.float64]:
        from scipy import special

        times = special.stdtrit(np.maximum(self.freedom, 1e-3), confidence)
        # Nothing moved, or everything by the same: no spread, no doubt.
        reach = np.zeros_like(self.error)
        np.multiply(times, self.error, out=reach, where=self.error > 0)
        reach += np.abs(lean) * (1 + 2 * times**2)
        return reach


def means(
    values: NDArray[np.float64],
    groups: NDArray[np.int64] | None = None,
    parts: NDArray[np.int64] | None = None,
    count: int = 1,
) -> Means:
    """The mean of a value in each part of the images.

    Args:
        values: Of each image, `[N]`.
        groups: Which images belong together, `[N]`; None where each stands for itself.
        parts: The part that each image is in, 0 to `count` − 1, `[N]`; None for one part.
        count: Number of parts.
    """
    if parts is None:
        parts = np.zeros(len(values), np.int64)
    images = np.bincount(parts, minlength=count)
    value = _divided(np.bincount(parts, values, count), images)
    # A cell is what a part has of a group.
    of_part, size, total = parts, np.ones(len(values), np.int64), values
    if groups is not None:
        ids = np.unique(groups, return_inverse=True)[1]
        cells, cell = np.unique(parts * len(values) + ids, return_inverse=True)
        of_part = cells // len(values)
        size, total = np.bincount(cell).astype(np.int64), np.bincount(cell, values).astype(np.float64)
    groups_in = np.bincount(of_part, minlength=count)
    share = size / np.maximum(images[of_part], 1)
    left_out = _divided(total - size * value[of_part], images[of_part] * (1 - share))
    spread = np.bincount(of_part, left_out**2, count) * _divided(groups_in - 1, groups_in)
    third = np.bincount(of_part, left_out**3, count)
    weight = np.bincount(of_part, share**2, count)
    return Means(
        value=value,
        error=np.where(groups_in > 1, np.sqrt(spread), np.inf),
        freedom=_divided(np.ones(count), weight) - 1,
        lean=_divided(third, 6 * spread),
        images=images,
        down=np.bincount(of_part[total < 0], minlength=count),
        up=np.bincount(of_part[total > 0], minlength=count),
    )


def difference_bound(differences: NDArray[np.float64], groups: NDArray[np.int64] | None = None) -> float:
    """The one-sided lower bound of a paired difference in accuracy.

    By groups it is the score test turned round: each loss that is asked about has the error of as many flips
    as it takes at least, or of those found where they are more (the variance restricted to the hypothesis:
    J. Nam, Biometrics 53:1422, 1997), times the design effect that was found (as the test adjusted for the
    correlation within groups of Z. Yang, X. Sun, J. W. Hardin, Computational Statistics & Data Analysis
    56:1301, 2012), or the one that the correlation within groups makes for groups of such sizes, where that
    is more. So it is another than that of `means` only where that would say that more is lost than flips, or
    where groups of unlike sizes hide how much images of one group go together.

    Args:
        differences: Of each image −1, 0 or 1, `[N]`.
        groups: Which images belong together, `[N]`; None where each stands for itself.
    """
    from scipy import special

    found = means(differences, groups)
    value, error, bound = float(found.value[0]), float(found.error[0]), float(found.lower()[0])
    if groups is None or not 0 < error < np.inf:
        return bound
    images, variance = len(differences), float(np.var(differences))
    even = _design_effect(differences, groups)
    effect = max(error**2 * images / variance, even, 1.0)
    times = float(special.stdtrit(found.freedom[0], CONFIDENCE))
    lost = -value - min(float(found.lean[0]), 0) * (1 + 2 * times**2)
    error = max(error, float(np.sqrt(variance * even / images)))
    bound = min(bound, -lost - times * error)
    if -bound * (1 + bound) * effect > error**2 * images:
        bound = -share_bound(lost, times**2 * effect / images)
    return max(-1.0, bound)


def _design_effect(values: NDArray[np.float64], groups: NDArray[np.int64]) -> float:
    """How many times more a mean scatters than if no image belonged to another, by the correlation in groups.

    Taken by the analysis of variance (A. Donner, J. J. Koval, Biometrics 36:19, 1980), so that groups of all
    sizes have a say; the spread between their sums is that of the few largest, which may all be calm.
    """
    ids = np.unique(groups, return_inverse=True)[1]
    size, images = np.bincount(ids), len(values)
    if len(size) == images:
        return 1.0
    middle = np.bincount(ids, values) / size
    between = float((size * (middle - values.mean()) ** 2).sum()) / (len(size) - 1)
    within = float(((values - middle[ids]) ** 2).sum()) / (images - len(size))
    weighty = float((size**2).sum()) / images
    usual = (images - weighty) / (len(size) - 1)
    correlation = (between - within) / (between + (usual - 1) * within)
    return float(max(1 + correlation * (weighty - 1), 0.0))


def share_bound(share: float, doubt: float) -> float:
    """The upper bound of a share: the x above it with (x − share)² = doubt · x (1 − x).

    Source: E. B. Wilson, Journal of the American Statistical Association 22:209, 1927.

    Args:
        share: What was found.
        doubt: The square of the quantile, divided by how many it was found of.
    """
    middle = share + doubt / 2
    above = (middle + np.sqrt(max(middle**2 - (1 + doubt) * share**2, 0.0))) / (1 + doubt)
    return min(float(above), 1.0)


def calibration_error(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """The expected calibration error, as `model.report.evaluate` has it."""
    return float(np.abs(_gaps(confidence, right)[1]).sum())


def calibration_bound(
    confidence: NDArray[np.float64],
    right: NDArray[np.bool_],
    limit: float,
    groups: NDArray[np.int64] | None = None,
) -> float:
    """A lower bound of the expected calibration error: above the limit, chance alone does not explain it.

    Chance alone drives the error up, since it adds the sizes of deviations: a perfectly calibrated model
    comes to 0.04 on 400 images. So the gaps found are shrunk until their error is the limit, what chance adds
    to that is drawn (a Gaussian multiplier bootstrap of the bins' deviations, over groups where there are
    some), and what it adds at most in 95 of 100 draws is taken off.

    Args:
        confidence: Of each answer, `[N]`.
        right: Whether it is right, `[N]`.
        limit: What the error is held against.
        groups: Which images belong together, `[N]`; None where each stands for itself.

    Returns:
        The bound; the error itself where that is no higher than the limit.
    """
    which, gaps = _gaps(confidence, right)
    error = float(np.abs(gaps).sum())
    if error <= limit:
        return error
    images = len(right)
    count = np.bincount(which, minlength=CALIBRATION_BINS)
    residuals = right - confidence - (_divided(gaps * images, count))[which]
    # An image alone in its bin has no residual; what its confidence says of its spread stands for it.
    alone = count[which] == 1
    residuals[alone] = np.sqrt(confidence * (1 - confidence))[alone]
    residuals[~alone] *= np.sqrt(count / np.maximum(count - 1, 1))[which][~alone]
    ids = np.arange(images) if groups is None else np.unique(groups, return_inverse=True)[1]
    sums = np.zeros((int(ids.max()) + 1, CALIBRATION_BINS))
    np.add.at(sums, (ids, which), residuals / images)
    chance = np.random.default_rng(0).multivariate_normal(
        gaps * (limit / error), sums.T @ sums, _DRAWS, method="svd"
    )
    added = float(np.quantile(np.abs(chance).sum(axis=1), CONFIDENCE)) - limit
    return max(0.0, error - added)


def _gaps(
    confidence: NDArray[np.float64], right: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The bin of each answer, and each bin's share of accuracy − confidence."""
    which = np.minimum((confidence * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
    return which, np.bincount(which, right - confidence, CALIBRATION_BINS) / len(right)


def _divided(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float64]:
    """The quotient; 0 where nothing is divided."""
    quotient = np.zeros(np.broadcast_shapes(np.shape(a), np.shape(b)))
    np.divide(a, b, out=quotient, where=b > 0)
    return quotient
