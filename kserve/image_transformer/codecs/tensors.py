"""What goes into the model and what comes out, whichever protocol it came by."""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from model.contract import DEFAULT_CONTRACT, Contract, Fit

Pixels = NDArray[np.uint8]
"""UINT8 `[size, size, 3]`, or a batch of such."""

Shape = tuple[int, int, int]
"""Of one image's pixels."""

Decoding = tuple[int, Fit]
"""What decides which pixels an encoded image becomes: the square's side, and how a picture becomes it."""


@dataclass(slots=True)
class Images:
    """What a request brings.

    Attributes:
        encoded: Encoded images; or
        pixels: UINT8 `[N, size, size, 3]`.
        version: The version the client asks for, if any.
        decoding: How the pixels were decoded, where they were here: only a version that takes pictures so
            may answer.
        decode_seconds: What that has taken.
    """

    encoded: Sequence[bytes] = ()
    pixels: Pixels | None = None
    version: str | None = None
    decoding: Decoding | None = None
    decode_seconds: float = 0.0

    def __len__(self) -> int:
        return len(self.encoded) if self.pixels is None else len(self.pixels)


class Written:
    """The probabilities of one call to Triton as JSON has them, for the requests that shared it.

    They are written once, when the first of these needs them: for each alone, numpy and the encoder take
    longer to begin than to do it.
    """

    __slots__ = ("_best", "_contract", "_probs", "_rows", "_texts")

    def __init__(self, probs: NDArray[np.float32], contract: Contract) -> None:
        """Takes FP32 `[N, classes]`, and what they are of."""
        self._probs = probs
        self._contract = contract
        self._texts: tuple[list[bytes], bytes] | None = None
        self._rows: list[bytes] = []
        self._best: list[int] = []

    def row(self, number: int) -> bytes:
        """Returns an image's numbers, with commas between them."""
        if not self._rows:
            written = orjson.dumps(np.ascontiguousarray(self._probs), option=orjson.OPT_SERIALIZE_NUMPY)
            self._rows = written[2:-2].split(b"],[")
        return self._rows[number]

    def best(self, number: int) -> int:
        """Returns the class that an image most likely is of; of several the first."""
        if not self._best:
            self._best = self._probs.argmax(axis=1).tolist()
        return self._best[number]

    @property
    def texts(self) -> tuple[list[bytes], bytes]:
        """The contract's names of classes, and of its filters."""
        if self._texts is None:
            self._texts = _texts(self._contract)
        return self._texts


@functools.lru_cache(maxsize=16)
def _texts(contract: Contract) -> tuple[list[bytes], bytes]:
    return [orjson.dumps(name) for name in contract.classes], orjson.dumps(contract.filters)


class Probabilities(NamedTuple):
    """What the model makes of images.

    Attributes:
        probs: FP32 `[N, classes]`, in the order of the contract's classes. On its way from Triton also what
            another model's one output holds.
        version: The version that answered.
        contract: That version's.
        scores: FP32 `[N]`, how unlike anything learned each image is; None where the version cannot tell.
        mark_at: Above this score an image is marked.
        written: Where they are part of a call's, that call's.
        first: Number of the first of them in `written`.
    """

    probs: NDArray[np.float32]
    version: str
    contract: Contract = DEFAULT_CONTRACT
    scores: NDArray[np.float32] | None = None
    mark_at: float = math.inf
    written: Written | None = None
    first: int = 0

    def part(self, start: int, end: int) -> "Probabilities":
        """Those of some of a call's images."""
        probs, version, contract, scores, mark_at, written, _ = self
        part = None if scores is None else scores[start:end]
        return Probabilities(probs[start:end], version, contract, part, mark_at, written, start)

    @property
    def marks(self) -> list[bool] | None:
        """Which images are unlike anything learned; None where the version cannot tell."""
        if self.scores is None:
            return None
        return [score > self.mark_at for score in self.scores.tolist()]

    @property
    def told_marks(self) -> str | None:
        """The marks as the header X-Out-Of-Distribution has them."""
        marks = self.marks
        return None if marks is None else ", ".join("true" if mark else "false" for mark in marks)


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
