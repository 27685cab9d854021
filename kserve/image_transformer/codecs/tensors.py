"""What goes into the model and what comes out, whichever protocol it came by."""

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
    """

    probs: NDArray[np.float32]
    version: str
    contract: Contract = DEFAULT_CONTRACT


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


class Explanation(NamedTuple):
    """Which parts of an image carry its class.

    Attributes:
        answer: What the image was classified as, by the version that is explained.
        class_id: The class that the map is of: the most probable one.
        masks: Under how many the image was classified again.
        map: FP32 `[size, size]`, in probability: by how much the class is more probable where that pixel is
            seen than where it is hidden.
        error: The standard error of these numbers.
    """

    answer: Probabilities
    class_id: int
    masks: int
    map: NDArray[np.float32]
    error: float
