"""What a version says of its score of what is unlike anything learned: where it marks, and where it refuses.

It is evidence of the version, named in its manifest by its digest, so that releases from before there was a
score read the manifest as ever; and it stands in config.pbtxt's parameter `unlike`, for who serves it.
"""

from typing import Annotated, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from export.store.lineage import Record
from model.report.alarms import LEAST, threshold

UNLIKE: Final = "unlike.json"
"""The evidence's name."""

MARKED: Final = 0.05
"""Of usual pictures, the share that is marked by mistake."""

REFUSED: Final = 0.001
"""Of usual pictures, the share that is refused by mistake where unlike ones are refused."""


class Unlike(Record):
    """Thresholds of a version's own scores, higher where a picture is more unlike.

    Attributes:
        images: Validation pictures that they are from.
        mark_at: `MARKED` of such pictures score above it.
        mark_interval: Where it lies with 95 % certainty.
        mark_fitted: Whether by a fitted tail, as with fewer than 1,000 pictures.
        refuse_at: `REFUSED` of such pictures score above it.
        refuse_interval: Where it lies with 95 % certainty.
        refuse_fitted: Whether by a fitted tail, as with fewer than 50,000 pictures.
    """

    images: Annotated[int, Field(ge=LEAST)]
    mark_at: float
    mark_interval: tuple[float, float]
    mark_fitted: bool
    refuse_at: float
    refuse_interval: tuple[float, float]
    refuse_fitted: bool


def unlike_of(scores: NDArray[np.floating]) -> Unlike:
    """The thresholds that the scores of validation pictures give, `[N]`.

    Raises:
        ValueError: They are too few.
    """
    mark, refuse = threshold(scores, MARKED), threshold(scores, REFUSED)
    return Unlike(
        images=len(scores),
        mark_at=mark.at,
        mark_interval=(mark.low, mark.high),
        mark_fitted=mark.fitted,
        # No picture is refused that is not marked, however few tell where that is.
        refuse_at=max(refuse.at, mark.at),
        refuse_interval=(refuse.low, refuse.high),
        refuse_fitted=refuse.fitted,
    )
