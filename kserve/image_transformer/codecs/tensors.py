"""What goes into the model and what comes out, whichever protocol it came by."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.contract import DEFAULT_CONTRACT, Contract

Pixels = NDArray[np.uint8]
"""UINT8 `[size, size, 3]`, or a batch of such."""

Shape = tuple[int, int, int]
"""Of one image's pixels."""


@dataclass(frozen=True)
class Images:
    """What a request brings.

    Attributes:
        encoded: Encoded images; or
        pixels: UINT8 `[N, size, size, 3]`.
        version: The version the client asks for, if any.
    """

    encoded: Sequence[bytes] = ()
    pixels: Pixels | None = None
    version: str | None = None

    def __len__(self) -> int:
        return len(self.encoded) if self.pixels is None else len(self.pixels)


class Probabilities(NamedTuple):
    """What the model makes of images.

    Attributes:
        probs: FP32 `[N, classes]`, in the order of the contract's classes. On its way from Triton also what
            another model's one output holds.
        version: The version that answered.
        contract: That version's.
        scores: FP32 `[N]`, how unlike anything learned each image is; None where the version cannot tell.
        mark_at: Above this score an image is marked.
    """

    probs: NDArray[np.float32]
    version: str
    contract: Contract = DEFAULT_CONTRACT
    scores: NDArray[np.float32] | None = None
    mark_at: float = math.inf

    def part(self, start: int, end: int) -> "Probabilities":
        """Those of some of the images."""
        scores = self.scores
        return Probabilities(
            self.probs[start:end],
            self.version,
            self.contract,
            None if scores is None else scores[start:end],
            self.mark_at,
        )

    @property
    def marks(self) -> list[bool] | None:
        """Which images are unlike anything learned; None where the version cannot tell."""
        if self.scores is None:
            return None
        return [score > self.mark_at for score in self.scores.tolist()]


class Filtered(NamedTuple):
    """What the filter bank makes of images.

    Attributes:
        channels: FP32 `[N, size, size, channels]`: the image itself, then what each filter
            makes of it, three channels each.
        version: The version that answered.
        contract: That version's.
    """

    channels: NDArray[np.float32]
    version: str
    contract: Contract = DEFAULT_CONTRACT
