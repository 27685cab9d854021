"""Which pictures are learned from, which choose and which judge: decided once, and kept by every retrain.

    bytes known → their split; nearly the same as a known one, or of a known group → that one's split;
    else the source's own split; else a hash of the file, or of the group

docs/splits.md says it for users, with what was measured.
"""

from typing import Final

from model.data.pictures import SplitName
from model.data.split_memory import Splits

__all__ = ["Conflict", "Decision", "Leak", "Pair", "Splits", "check_decision", "decide"]

SPLITS: Final[tuple[SplitName, ...]] = ("train", "validation", "test")
