"""Which pictures are learned from, which choose and which judge: decided once, and kept by every retrain.

    bytes known → their split; nearly the same as a known one, or of a known group → that one's split;
    else the source's own split; else a hash of the file, or of the group

docs/splits.md says it for users, with what was measured.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from model.data.duplicates import NearPairs, near_pairs
from model.data.errors import DataError
from model.data.pictures import LeftOut, Picture, SplitName
from model.data.split_memory import BITS, GROUP_BYTES, Splits, group_hash, strongest
from model.data.split_shares import Unit, by_hash, top_up

__all__ = ["Conflict", "Decision", "Leak", "Pair", "Splits", "check_decision", "decide"]

SPLITS: Final[tuple[SplitName, ...]] = ("train", "validation", "test")
