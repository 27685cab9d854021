"""Which pictures are learned from, which choose and which judge: decided once, and kept by every retrain.

    bytes known → their split; else the source's own; nearly the same as one of these, or of its group →
    that one's; else a hash of the file, or of the group

docs/splits.md says it for users, with what was measured.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from model.data.pictures import LeftOut, Picture, SplitName
from model.data.splits.allotment import Allotment
from model.data.splits.decision import SPLIT_NAMES, Conflict, Decision, Leak, Pair
from model.data.splits.leaks import find_leaks, leak_sentence
from model.data.splits.memory import BITS, Splits, remember

__all__ = ["Conflict", "Decision", "Leak", "Pair", "Splits", "decide"]


def decide(
    pictures: Sequence[Picture], earlier: Splits | None = None, *, drop_leaks: bool = False
) -> Decision:
    """Decide what becomes of each picture.

    The order of the pictures does not matter, nor what a file is called.

    Args:
        pictures: All of a source that could be decoded.
        earlier: What the predecessor's `Decision.splits` was; None for a first version.
        drop_leaks: Whether pictures are left out, too, where the source itself gives their like another
            split, or where their group is in two splits already.
    """
    allotment = Allotment(pictures, earlier)
    leaks = find_leaks(allotment, drop_leaks=drop_leaks)
    left_out = {
        position
        for position, file in enumerate(allotment.file_of)
        if len(allotment.labels_of[file]) > 1 or (position in leaks and leaks[position].removed)
    }
    allotment.top_up(left_out)
    outcomes = _outcomes(allotment, leaks, left_out)
    files = allotment.files
    counts = {label: dict.fromkeys(SPLIT_NAMES, 0) for label in sorted({p.label for p in pictures})}
    for picture, outcome in zip(pictures, outcomes, strict=True):
        if not isinstance(outcome, LeftOut):
            counts[picture.label][outcome] += 1
    return Decision(
        outcomes=outcomes,
        groups=tuple(allotment.keys[c][:16].hex() for c in allotment.component[files.file_of].tolist()),
        grouped=any(picture.group is not None for picture in pictures),
        splits=_remembered(allotment, earlier),
        exact=tuple(tuple(members) for members in files.pictures_of if len(members) > 1),
        near=_near(allotment),
        conflicts=_conflicts(allotment),
        leaks=tuple(leaks[position] for position in sorted(leaks)),
        moved=_moved(allotment),
        relabelled=_relabelled(allotment, earlier),
        inherited=int((files.known[files.file_of] > 0).sum()),
        joined=_joined(allotment),
        taken=allotment.taken,
        counts=counts,
    )


def _outcomes(
    allotment: Allotment, leaks: Mapping[int, Leak], left_out: set[int]
) -> tuple[SplitName | LeftOut, ...]:
    pictures, outcomes = allotment.pictures, list[SplitName | LeftOut]()
    splits = [allotment.split_of(position) for position in range(len(pictures))]
    kept: dict[tuple[int, SplitName | None], int] = {}
    for position, place in enumerate(zip(allotment.file_of, splits, strict=True)):
        if position not in left_out:
            kept[place] = _first(pictures, [kept.get(place, position), position])
    for position, (picture, file, split) in enumerate(zip(pictures, allotment.file_of, splits, strict=True)):
        if len(allotment.labels_of[file]) > 1:
            same = (pictures[p] for p in allotment.files.pictures_of[file])
            other = min((p for p in same if p.label != picture.label), key=lambda p: p.name)
            detail = f"The same file is {other.name}, in the class {other.label}; keep the one that is right."
            outcomes.append(LeftOut(picture.name, picture.label, "two classes", detail))
        elif split is None or position in left_out:
            detail = leak_sentence(allotment, leaks[position])
            outcomes.append(LeftOut(picture.name, picture.label, "leak", detail))
        elif kept[file, split] != position:
            detail = f"The same file is {pictures[kept[file, split]].name}, which is kept."
            outcomes.append(LeftOut(picture.name, picture.label, "duplicate", detail))
        else:
            outcomes.append(split)
    return tuple(outcomes)


def _first(pictures: Sequence[Picture], positions: Sequence[int]) -> int:
    """Which of the same files is kept: one with a group before others, then by name."""
    return min(
        positions, key=lambda p: (pictures[p].group is None, pictures[p].group or "", pictures[p].name)
    )


def _near(allotment: Allotment) -> tuple[Pair, ...]:
    """Of each file here the closest other one, a pair of them once."""
    near, members = allotment.files.near, allotment.files.pictures_of
    paired: set[int] = set()
    pairs: list[Pair] = []
    for row in np.argsort(near.distance, kind="stable").tolist():
        ends = int(near.first[row]), int(near.second[row])
        if all(members[file] for file in ends) and not paired.issuperset(ends):
            paired.update(ends)
            first, second = sorted(_first(allotment.pictures, members[file]) for file in ends)
            pairs.append(Pair(first, second, int(near.distance[row])))
    return tuple(sorted(pairs))


def _conflicts(allotment: Allotment) -> tuple[Conflict, ...]:
    labels, members, near = allotment.labels_of, allotment.files.pictures_of, allotment.files.near
    found = [Conflict(tuple(members[file]), True) for file, names in enumerate(labels) if len(names) > 1]
    for ends in zip(near.first.tolist(), near.second.tolist(), strict=True):
        one, other = (labels[file] for file in ends)
        if len(one) == len(other) == 1 and one != other:
            pair = sorted(_first(allotment.pictures, members[file]) for file in ends)
            found.append(Conflict(tuple(pair), False))
    return tuple(found)


def _moved(allotment: Allotment) -> tuple[int, ...]:
    return tuple(
        position
        for position, picture in enumerate(allotment.pictures)
        if picture.given is not None
        and (split := allotment.split_of(position)) not in {None, picture.given}
        and not (picture.given == "train" and split in allotment.taken)
    )


def _relabelled(allotment: Allotment, earlier: Splits | None) -> tuple[int, ...]:
    if earlier is None:
        return ()
    rows = allotment.files.row_of[allotment.files.file_of].tolist()
    return tuple(
        position
        for position, (picture, row) in enumerate(zip(allotment.pictures, rows, strict=True))
        if row >= 0 and earlier.classes[earlier.labels[row]] != picture.label
    )


def _joined(allotment: Allotment) -> int:
    """New pictures that follow another one: nearly the same, or of its group."""
    return sum(
        not allotment.files.known[file]
        and allotment.around[file].bit_count() == 1
        and (picture.given is None or allotment.split_of(position) != picture.given)
        for position, (picture, file) in enumerate(zip(allotment.pictures, allotment.file_of, strict=True))
    )


def _remembered(allotment: Allotment, earlier: Splits | None) -> Splits:
    """What the next decision is told: all that is known, and the new ones that have a split."""
    files = allotment.files
    bits = files.known.copy()
    labels = [
        "" if earlier is None or row < 0 else earlier.classes[earlier.labels[row]] for row in files.row_of
    ]
    for file, names in enumerate(allotment.labels_of):
        labels[file] = min(names, default=labels[file])
    for position, file in enumerate(allotment.file_of):
        split = allotment.split_of(position)
        if split is not None and not files.known[file]:
            bits[file] |= BITS[split]
    return remember(files.digests, files.hashes, files.thumbs, bits, labels, files.groups)
