"""Pictures whose like is in a split that must not have it."""

from collections import defaultdict
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.data.pictures import SplitName
from model.data.splits.allotment import Allotment, gathered
from model.data.splits.decision import Leak
from model.data.splits.memory import BITS, strongest

CALLED: Final[dict[SplitName, str]] = {"train": "training", "validation": "validation", "test": "test"}


class _Suspect(NamedTuple):
    position: int
    split: SplitName | None
    top: SplitName  # of its like
    by_near: bool


def find_leaks(allotment: Allotment, *, drop_leaks: bool) -> dict[int, Leak]:
    """Find pictures whose like is in a split that must stay cleaner, and new ones that would be in two.

    Left out are the new ones, and of two that are nearly the same the one in the weaker split, unless the
    source itself puts it there. Groups that are in two splits are only told: who begins to name groups would
    lose nearly all training pictures.

    Args:
        allotment: What each picture's split is.
        drop_leaks: Whether all of them are left out.

    Returns:
        By position.
    """
    mask = allotment.settled > 0
    by_near = allotment.files.components(mask, by_group=False)
    by_group = allotment.files.components(mask, by_group=True)
    near_top, group_top = (gathered(c, allotment.settled).tolist() for c in (by_near, by_group))
    suspects: list[_Suspect] = []
    for position, file in enumerate(allotment.file_of):
        split = allotment.split_of(position)
        if split is None:
            top = strongest(allotment.around[file])
            suspects.append(_Suspect(position, None, top or "test", by_near=False))
        elif mask[file]:
            for by, tops in ((True, near_top), (False, group_top)):
                top = strongest(tops[file])
                if top is not None and BITS[split] < BITS[top]:
                    suspects.append(_Suspect(position, split, top, by))
                    break
    return _explained(allotment, suspects, by_near, drop_leaks) if suspects else {}


def leak_sentence(allotment: Allotment, leak: Leak) -> str:
    """Why a picture is left out, for people."""
    other = "a picture of an earlier version" if leak.other is None else allotment.pictures[leak.other].name
    like = {"same": "the same file as", "near": "nearly the same as", "group": "of one group with"}[leak.by]
    sentence = f"It is {like} {other}, in the {CALLED[leak.other_split]} split"
    if leak.split is None:
        return f"{sentence}, and has its like in another split, too; it can be in neither."
    return f"{sentence}; it was in the {CALLED[leak.split]} split."


def _explained(
    allotment: Allotment, suspects: list[_Suspect], by_near: NDArray[np.int64], drop_leaks: bool
) -> dict[int, Leak]:
    files, pictures = allotment.files, allotment.pictures
    neighbours: defaultdict[int, set[int]] = defaultdict(set)
    for first, second in zip(files.near.first.tolist(), files.near.second.tolist(), strict=True):
        neighbours[first].add(second)
        neighbours[second].add(first)
    # Where each component has its pictures of a split: near ones by one numbering, groups by the other.
    members: defaultdict[tuple[bool, int, SplitName | None], list[int]] = defaultdict(list)
    for position, file in enumerate(allotment.file_of):
        split = allotment.split_of(position)
        if split is not None:
            members[True, int(by_near[file]), split].append(position)
            members[False, int(allotment.component[file]), split].append(position)
    leaks: dict[int, Leak] = {}
    for suspect in suspects:
        file, given = allotment.file_of[suspect.position], pictures[suspect.position].given
        component = by_near if suspect.by_near else allotment.component
        inside = members[suspect.by_near, int(component[file]), suspect.top]
        direct = [
            p for p in inside if allotment.file_of[p] == file or allotment.file_of[p] in neighbours[file]
        ]
        other = min(direct or inside, key=lambda p: pictures[p].name, default=None)
        near = suspect.by_near or (suspect.split is None and bool(neighbours[file]))
        same = suspect.by_near and bool(allotment.settled[file] & BITS[suspect.top])
        stated = given is not None and given == suspect.split
        removed = drop_leaks or suspect.split is None or (near and not stated)
        leaks[suspect.position] = Leak(
            suspect.position,
            suspect.split,
            other,
            suspect.top,
            "same" if same else "near" if near else "group",
            removed,
        )
    return leaks
