"""Which pictures are learned from, which choose and which judge: decided once, and kept by every retrain.

    bytes known → their split; else the source's own; nearly the same as one of these, or of its group → that one's;
    else a hash of the file, or of the group

docs/splits.md says it for users, with what was measured.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.data.decision import SPLIT_NAMES, Conflict, Decision, Leak, Pair
from model.data.pictures import LeftOut, Picture, SplitName
from model.data.relations import Relations
from model.data.split_memory import BITS, Splits, remember, strongest
from model.data.split_shares import Unit, by_hash, top_up

__all__ = ["Conflict", "Decision", "Leak", "Pair", "Splits", "decide"]

_TAKEN_FROM_TRAIN: Final[tuple[SplitName, ...]] = ("validation", "test")
_CALLED: Final[dict[SplitName, str]] = {"train": "training", "validation": "validation", "test": "test"}


def decide(
    pictures: Sequence[Picture], earlier: Splits | None = None, *, drop_leaks: bool = False
) -> Decision:
    """Decide what becomes of each picture. The order of the pictures does not matter, nor does a known one's name.

    Args:
        pictures: All of a source that could be decoded.
        earlier: What the predecessor's `Decision.splits` was; None for a first version.
        drop_leaks: Whether the training one is left out, too, where the source itself gives like pictures different
            splits, or where pictures of one group are in two already.
    """
    return _Deciding(pictures, earlier, drop_leaks).decision()


class _Deciding:
    """One decision, step by step: what is settled, what leaks, what is new, what is left out."""

    def __init__(self, pictures: Sequence[Picture], earlier: Splits | None, drop_leaks: bool) -> None:
        self.pictures = pictures
        self.earlier = earlier
        self.files = Relations(pictures, earlier)
        self.file_of: list[int] = self.files.file_of.tolist()
        self.labels_of = [{pictures[p].label for p in members} for members in self.files.pictures_of]
        given = {picture.given for picture in pictures}
        self.taken = tuple(s for s in _TAKEN_FROM_TRAIN if "train" in given and s not in given)
        self.component = self.files.components(np.ones(len(self.files), bool), by_group=True)
        self.keys = self._keys()
        self.settled = self._settle()
        self.bits_around = _gathered(self.component, self.settled)
        self.units = self._new_units()
        self.leaks = self._find_leaks(drop_leaks)
        self._fill_units()

    def _keys(self) -> dict[int, bytes]:
        """What each component is known by: the least of its groups, or of its files where there is none."""
        groups: defaultdict[int, list[bytes]] = defaultdict(list)
        digests: defaultdict[int, list[bytes]] = defaultdict(list)
        for file, component in enumerate(self.component.tolist()):
            groups[component].extend(self.files.groups.get(file, ()))
            digests[component].append(self.files.digests[file])
        return {component: min(groups[component] or digests[component]) for component in digests}

    def _settle(self) -> NDArray[np.uint8]:
        """The bits of the splits of each file that is known, like a known one, or has its split of the source."""
        everything = np.ones(len(self.files), bool)
        like_known = _gathered(self.files.components(everything, by_group=False), self.files.known)
        settled = self.files.known.copy()
        soft: set[int] = set()  # training pictures that may be taken for another split
        for picture, file in zip(self.pictures, self.file_of, strict=True):
            if picture.given is None or self.files.known[file]:
                continue
            like = int(like_known[file])
            if like.bit_count() == 1:
                settled[file] = like
            elif picture.given == "train" and self.taken and not like:
                soft.add(file)
            else:
                settled[file] |= BITS[picture.given]
        around = _gathered(self.component, settled)
        free = (0, BITS["train"], *(BITS[split] for split in self.taken))
        for file in soft:
            if around[file] not in free:
                settled[file] |= BITS["train"]
        return settled

    def _new_units(self) -> dict[int, Unit]:
        """What hangs together and has no split yet, by component."""
        units: dict[int, Unit] = {}
        for picture, file in zip(self.pictures, self.file_of, strict=True):
            component = int(self.component[file])
            if self.bits_around[file] == 0:
                allowed = SPLIT_NAMES if picture.given is None else ("train", *self.taken)
                before = units.get(component)
                if before is None or not before.allowed <= set(allowed):
                    allowed = tuple(s for s in allowed if before is None or s in before.allowed)
                    units[component] = by_hash(self.keys[component], allowed)
        return units

    def split_of(self, position: int) -> SplitName | None:
        """The split of a picture; None of a new one that would belong to two."""
        file, given = self.file_of[position], self.pictures[position].given
        settled, around = int(self.settled[file]), int(self.bits_around[file])
        if settled:
            return given if given is not None and settled & BITS[given] else strongest(settled)
        if around == 0:
            return self.units[int(self.component[file])].split
        return strongest(around) if around.bit_count() == 1 else None

    def _find_leaks(self, drop_leaks: bool) -> dict[int, Leak]:
        """By position: settled pictures whose like is in a stronger split, new ones that would be in two."""
        mask = self.settled > 0
        by_near = self.files.components(mask, by_group=False)
        by_group = self.files.components(mask, by_group=True)
        near_bits, group_bits = _gathered(by_near, self.settled), _gathered(by_group, self.settled)
        suspects: list[tuple[int, SplitName | None, SplitName, NDArray[np.int64]]] = []
        for position, file in enumerate(self.file_of):
            if mask[file]:
                split = self.split_of(position)
                for bits, component in ((near_bits, by_near), (group_bits, by_group)):
                    top = strongest(int(bits[file]))
                    if split is not None and top is not None and BITS[split] < BITS[top]:
                        suspects.append((position, split, top, component))
                        break
            elif self.bits_around[file].bit_count() > 1:
                top = strongest(int(self.bits_around[file]))
                if top is not None:
                    suspects.append((position, None, top, self.component))
        if not suspects:
            return {}
        return self._explained(suspects, by_near, drop_leaks)

    def _explained(
        self,
        suspects: Sequence[tuple[int, SplitName | None, SplitName, NDArray[np.int64]]],
        by_near: NDArray[np.int64],
        drop_leaks: bool,
    ) -> dict[int, Leak]:
        neighbours: defaultdict[int, list[int]] = defaultdict(list)
        for first, second in zip(
            self.files.near.first.tolist(), self.files.near.second.tolist(), strict=True
        ):
            neighbours[first].append(second)
            neighbours[second].append(first)
        members: defaultdict[tuple[int, int, SplitName | None], list[int]] = defaultdict(list)
        components = {id(component): component for *_, component in suspects}
        for name, component in components.items():
            for position, file in enumerate(self.file_of):
                if self.settled[file]:
                    members[name, int(component[file]), self.split_of(position)].append(position)
        leaks: dict[int, Leak] = {}
        for position, split, top, component in suspects:
            file = self.file_of[position]
            inside = members[id(component), int(component[file]), top]
            likes = [
                other
                for other in inside
                if self.file_of[other] == file or self.file_of[other] in neighbours[file]
            ]
            other = min(likes or inside, key=lambda other: self.pictures[other].name, default=None)
            same = bool(self.settled[file] & BITS[top])
            near = component is by_near or (split is None and bool(neighbours[file]))
            stated = self.pictures[position].given is not None and self.pictures[position].given == split
            removed = split is None or drop_leaks or (near and not stated)
            leaks[position] = Leak(
                position, split, other, top, "same" if same else "near" if near else "group", removed
            )
        return leaks

    def _is_out(self, position: int) -> bool:
        leak = self.leaks.get(position)
        return len(self.labels_of[self.file_of[position]]) > 1 or (leak is not None and leak.removed)

    def _fill_units(self) -> None:
        """Tell the new units which classes they have, and let no class go without a split."""
        settled: defaultdict[str, set[tuple[SplitName, int]]] = defaultdict(set)
        labels: defaultdict[int, set[str]] = defaultdict(set)
        for position, picture in enumerate(self.pictures):
            component = int(self.component[self.file_of[position]])
            if not self._is_out(position):
                split = self.split_of(position)
                if component in self.units:
                    labels[component].add(picture.label)
                elif split is not None:
                    settled[picture.label].add((split, component))
        for component, names in labels.items():
            self.units[component].labels = frozenset(names)
        top_up(
            list(self.units.values()),
            {label: Counter(split for split, _ in places) for label, places in settled.items()},
        )

    def decision(self) -> Decision:
        """Put together what was decided."""
        outcomes = self._outcomes()
        known = (self.files.row_of >= 0).tolist()
        same = [tuple(members) for members in self.files.pictures_of if len(members) > 1]
        counts = {label: dict.fromkeys(SPLIT_NAMES, 0) for label in sorted({p.label for p in self.pictures})}
        for picture, outcome in zip(self.pictures, outcomes, strict=True):
            if not isinstance(outcome, LeftOut):
                counts[picture.label][outcome] += 1
        in_order = list(zip(range(len(self.pictures)), self.pictures, self.file_of, strict=True))
        return Decision(
            outcomes=outcomes,
            groups=tuple(self.keys[c][:16].hex() for c in self.component[self.files.file_of].tolist()),
            grouped=any(picture.group is not None for picture in self.pictures),
            splits=self._remembered(),
            exact=tuple(same),
            near=self._near(),
            conflicts=self._conflicts(),
            leaks=tuple(leak for _, leak in sorted(self.leaks.items())),
            moved=tuple(
                position
                for position, picture, file in in_order
                if self.settled[file]
                and self.split_of(position) != picture.given
                and picture.given not in {None, *("train" for _ in self.taken)}
            ),
            relabelled=tuple(
                position
                for position, picture, file in in_order
                if self.earlier is not None
                and known[file]
                and self.earlier.classes[self.earlier.labels[self.files.row_of[file]]] != picture.label
            ),
            inherited=sum(known[file] for file in self.file_of),
            joined=sum(
                not self.settled[file] and self.bits_around[file].bit_count() == 1 for file in self.file_of
            ),
            taken=self.taken,
            counts=counts,
        )

    def _outcomes(self) -> tuple[SplitName | LeftOut, ...]:
        kept: dict[tuple[int, SplitName | None], int] = {}
        for position, file in enumerate(self.file_of):
            place = file, self.split_of(position)
            if not self._is_out(position):
                kept[place] = min(kept.get(place, position), position, key=self._rank)
        return tuple(self._outcome(position, kept) for position in range(len(self.pictures)))

    def _rank(self, position: int) -> tuple[bool, str, str]:
        """Of the same file the first is kept: one with a group, whatever it is called, before others."""
        picture = self.pictures[position]
        return picture.group is None, picture.group or "", picture.name

    def _outcome(self, position: int, kept: dict[tuple[int, SplitName | None], int]) -> SplitName | LeftOut:
        picture, file = self.pictures[position], self.file_of[position]
        if len(self.labels_of[file]) > 1:
            others = [self.pictures[p] for p in self.files.pictures_of[file]]
            other = min((p for p in others if p.label != picture.label), key=lambda p: p.name)
            return LeftOut(
                picture.name,
                picture.label,
                "two classes",
                f"The same file is {other.name}, in the class {other.label}; keep the one that is right.",
            )
        leak = self.leaks.get(position)
        if leak is not None and leak.removed:
            return LeftOut(picture.name, picture.label, "leak", self._leak_sentence(leak))
        split = self.split_of(position)
        first = kept[file, split]
        if first != position:
            return LeftOut(
                picture.name,
                picture.label,
                "duplicate",
                f"The same file is {self.pictures[first].name}, which is kept.",
            )
        if split is None:
            raise AssertionError("a picture without a split is a leak")
        return split

    def _leak_sentence(self, leak: Leak) -> str:
        other = "a picture of an earlier version" if leak.other is None else self.pictures[leak.other].name
        like = {"same": "the same file as", "near": "nearly the same as", "group": "of one group with"}[
            leak.by
        ]
        sentence = f"It is {like} {other}, in the {_CALLED[leak.other_split]} split"
        if leak.split is None:
            return f"{sentence}, and has its like in another split, too; it can be in neither."
        return f"{sentence}; it was in the {_CALLED[leak.split]} split."

    def _near(self) -> tuple[Pair, ...]:
        """Of each file here the closest other one, a pair of them once."""
        near, here = self.files.near, [bool(members) for members in self.files.pictures_of]
        paired: set[int] = set()
        pairs: list[Pair] = []
        for row in np.argsort(near.distance, kind="stable").tolist():
            first, second = int(near.first[row]), int(near.second[row])
            if here[first] and here[second] and not (first in paired and second in paired):
                paired |= {first, second}
                ends = sorted(min(self.files.pictures_of[f], key=self._rank) for f in (first, second))
                pairs.append(Pair(ends[0], ends[1], int(near.distance[row])))
        return tuple(pairs)

    def _conflicts(self) -> tuple[Conflict, ...]:
        found = [
            Conflict(tuple(self.files.pictures_of[file]), True)
            for file, labels in enumerate(self.labels_of)
            if len(labels) > 1
        ]
        for first, second in zip(
            self.files.near.first.tolist(), self.files.near.second.tolist(), strict=True
        ):
            ones, others = self.labels_of[first], self.labels_of[second]
            if len(ones) == len(others) == 1 and ones != others:
                ends = (min(self.files.pictures_of[f], key=self._rank) for f in (first, second))
                found.append(Conflict(tuple(sorted(ends)), False))
        return tuple(found)

    def _remembered(self) -> Splits:
        bits = self.files.known.copy()
        labels: list[str | None] = [None] * len(self.files)
        for position, file in enumerate(self.file_of):
            split = self.split_of(position)
            if split is not None and self.files.known[file] == 0:
                bits[file] |= BITS[split]
            labels[file] = min(labels[file] or self.pictures[position].label, self.pictures[position].label)
        if self.earlier is not None:
            for file, row in enumerate(self.files.row_of.tolist()):
                if labels[file] is None:
                    labels[file] = self.earlier.classes[self.earlier.labels[row]]
        return remember(
            self.files.digests, self.files.hashes, self.files.thumbs, bits, labels, self.files.groups
        )


def _gathered(component: NDArray[np.int64], bits: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """For each file the bits of all files of its component."""
    gathered = np.zeros(len(component), np.uint8)
    np.bitwise_or.at(gathered, component, bits)
    return gathered[component]
