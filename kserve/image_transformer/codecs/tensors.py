"""What goes into the model and what comes out, whichever protocol it came by."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""UINT8 `[32, 32, 3]`, or a batch of such."""


@dataclass(frozen=True)
class Images:
    """What a request brings.

    Attributes:
        encoded: Encoded images; or
        pixels: UINT8 `[N, 32, 32, 3]`.
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
        probs: FP32 `[N, 5]`, in the order of the contract's classes.
        version: The version that answered.
    """

    probs: NDArray[np.float32]
    version: str
