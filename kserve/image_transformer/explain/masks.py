"""Random masks over a picture, and what a classifier's answers to them tell about its pixels.

RISE (Petsiuk, Das, Saenko: Randomized Input Sampling for Explanation of Black-box Models, BMVC 2018,
arXiv:1806.07421): half of a coarse grid's points are hidden at random, what is between them by degrees, and
the grid is moved by a random part of a cell. Where the paper weighs the masks with the answers, the answers
are regressed on each pixel here: the same in the limit, and with a few hundred masks a clearer map
(docs/explain.md).
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from image_transformer.codecs.tensors import Pixels

CELLS: Final = 8
"""Of the grid, across the picture."""
_SHOWN: Final = 0.5
_SEED: Final = 0  # the same masks for every picture: the same picture has the same map

Masks = NDArray[np.float32]
"""FP32 `[masks, size, size]`: 1 where the picture is seen, 0 where it is hidden."""


class Grids:
    """So many masks of one size, made when they are asked for: as pixels all of them would take megabytes."""

    def __init__(self, size: int, count: int) -> None:
        """Draws them.

        Args:
            size: Side of the picture in pixels.
            count: How many masks.
        """
        random = np.random.default_rng(_SEED)
        points = CELLS + 2  # so many are needed for the cells of a grid that is moved
        self._points = (random.random((count, points, points)) < _SHOWN).astype(np.float32)
        self._moved = random.random((count, 2, 1))
        self._places = (np.arange(size) + 0.5) * (CELLS / size)

    def masks(self, start: int, stop: int) -> Masks:
        """Returns some of them, by their numbers."""
        rows, columns = (self._weights(self._moved[start:stop, axis]) for axis in (0, 1))
        masks: Masks = (rows @ self._points[start:stop] @ columns.transpose(0, 2, 1)).astype(np.float32)
        return masks

    def _weights(self, moved: NDArray[np.float64]) -> NDArray[np.float32]:
        """How much each of a grid's points counts for each pixel along an axis: `[masks, size, points]`."""
        points = self._points.shape[1]
        apart = np.abs((self._places + moved)[:, :, None] - np.arange(points))
        weights: NDArray[np.float32] = np.maximum(0, 1 - apart).astype(np.float32)
        return weights


def hidden(picture: Pixels, masks: Masks) -> Pixels:
    """Returns the picture under each mask, UINT8 `[masks, size, size, 3]`: where hidden, its mean colour.

    Args:
        picture: UINT8 `[size, size, 3]`.
        masks: Over it.
    """
    mean = picture.mean(axis=(0, 1), dtype=np.float32)
    shown = masks[..., None] * (picture - mean)
    shown += mean + np.float32(0.5)
    pixels: Pixels = shown.astype(np.uint8)
    return pixels


class Slopes:
    """By how much a probability rises where a pixel is seen and not hidden: a line through all answers.

    Attributes:
        count: How many answers were taken.
    """

    def __init__(self, size: int) -> None:
        self.count = 0
        self._masks = np.zeros((size, size))
        self._squares = np.zeros((size, size))
        self._products = np.zeros((size, size))
        self._answers = self._answers_squared = 0.0
        self._first = 0.0

    def add(self, masks: Masks, answers: NDArray[np.float32]) -> None:
        """Takes answers in.

        Args:
            masks: Some.
            answers: FP32 `[masks]`, the probability that each has left of the class.
        """
        if not self.count:
            self._first = float(answers[0])
        # No slope depends on it; and where all answers are alike nothing is left that rounding could tilt.
        # In double precision, or the last digit would say how many were asked for at once.
        above, seen = answers.astype(np.float64) - self._first, masks.astype(np.float64)
        self.count += len(masks)
        self._masks += seen.sum(axis=0)
        self._squares += np.einsum("nyx,nyx->yx", seen, seen)
        self._products += np.tensordot(above, seen, axes=1)
        self._answers += float(above.sum())
        self._answers_squared += float(np.square(above).sum())

    def map(self) -> tuple[NDArray[np.float32], float]:
        """Returns the map, and how sure it is.

        Returns:
            FP32 `[size, size]`, in probability: 0.3 where the class is that much more probable with the pixel
            seen than with it hidden, below 0 where it is less; and the standard error of these numbers, the
            root of their mean square.
        """
        if self.count < 3:  # a line through two points is sure of itself
            return np.zeros(self._masks.shape, np.float32), 0.0
        spread = np.maximum(self._squares - self._masks**2 / self.count, 1e-9)
        slopes = (self._products - self._masks * (self._answers / self.count)) / spread
        left = self._answers_squared - self._answers**2 / self.count - slopes**2 * spread
        errors = np.maximum(left, 0) / (self.count - 2) / spread
        return slopes.astype(np.float32), float(np.sqrt(errors.mean()))
