"""In which split a picture comes that nothing is known of: by its hash, and the same on any day."""

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

from model.data.pictures import SplitName

SHARES: Final[Mapping[SplitName, float]] = {"test": 0.20, "validation": 0.08, "train": 0.72}
"""What part of the pictures each split gets, about."""

# What a class should have first, second and third.
_WANTED: Final[tuple[SplitName, ...]] = ("train", "test", "validation")


@dataclass
class Unit:
    """Pictures that stay together: one alone, near duplicates, a group.

    Attributes:
        key: What it is known by whatever else there is; its hash decides.
        labels: The classes of its pictures that are kept.
        allowed: The splits that it can come in.
        place: Where its hash puts it among all, 0 to 1.
        split: The one that it is in.
    """

    key: bytes
    labels: frozenset[str]
    allowed: frozenset[SplitName]
    place: float
    split: SplitName


def by_hash(key: bytes, allowed: frozenset[SplitName]) -> Unit:
    """A unit in the split that its hash says; see `SHARES`, of which the allowed ones keep their relation.

    Its classes are to be filled in.
    """
    place = int.from_bytes(hashlib.sha256(b"split\0" + key).digest()[:8], "big") / 2**64
    parts = _parts(allowed)
    unit = Unit(key, frozenset(), allowed, place, "train")
    unit.split = min(parts, key=lambda split: _distance(unit, split))
    return unit


def top_up(units: list[Unit], settled: Mapping[str, Mapping[SplitName, int]]) -> None:
    """Move units so that no class goes without a split that it could have.

    A class of one unit is learned, one of two is also tested, one of three is in every split. Moved is the
    unit whose hash is the nearest to that split's part, and never one that another class needs where it is.
    Large classes are in every split by chance, so next to nothing is moved there.

    Args:
        units: The new ones; their `split` changes.
        settled: How many units of each class are in which split for good.
    """
    have: dict[str, Counter[SplitName]] = {label: Counter(splits) for label, splits in settled.items()}
    members: dict[str, list[Unit]] = {}
    for unit in units:
        for label in unit.labels:
            have.setdefault(label, Counter())[unit.split] += 1
            members.setdefault(label, []).append(unit)
    moved: set[int] = set()
    for label in sorted(members, key=lambda label: (have[label].total(), label)):
        for wanted in _WANTED[: have[label].total()]:
            if have[label][wanted]:
                continue
            free = [
                unit
                for unit in members[label]
                if id(unit) not in moved and wanted in unit.allowed and not _needed(unit, have)
            ]
            if not free:
                continue
            unit = min(free, key=lambda unit: (_distance(unit, wanted), unit.key))
            for other in unit.labels:
                have[other][unit.split] -= 1
                have[other][wanted] += 1
            unit.split = wanted
            moved.add(id(unit))


def _needed(unit: Unit, have: Mapping[str, Counter[SplitName]]) -> bool:
    """Whether a class of it would have no other unit in the split where it is."""
    return any(
        have[label][unit.split] == 1 and unit.split in _WANTED[: have[label].total()] for label in unit.labels
    )


def _distance(unit: Unit, split: SplitName) -> float:
    begin, end = _parts(unit.allowed)[split]
    return max(begin - unit.place, unit.place - end, 0.0)


@cache
def _parts(allowed: frozenset[SplitName]) -> Mapping[SplitName, tuple[float, float]]:
    """Which part of 0 to 1 belongs to each of the allowed splits, ascending."""
    whole = sum(share for split, share in SHARES.items() if split in allowed)
    parts: dict[SplitName, tuple[float, float]] = {}
    begin = 0.0
    for split, share in SHARES.items():
        if split in allowed:
            parts[split] = begin, begin + share / whole
            begin = parts[split][1]
    return parts
