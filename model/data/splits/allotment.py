"""In which split each picture belongs by what is known of it, of its like and of its group."""

from collections import Counter, defaultdict
from collections.abc import Sequence, Set
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.data.pictures import Picture, SplitName
from model.data.splits.decision import SPLIT_NAMES
from model.data.splits.memory import BITS, Splits, strongest
from model.data.splits.relations import Relations
from model.data.splits.shares import Unit, by_hash, top_up

_TAKEN_FROM_TRAIN: Final[tuple[SplitName, ...]] = ("validation", "test")


class Allotment:
    """The splits of a source's pictures.

    Attributes:
        pictures: Of the source.
        files: The same by their bytes, with those that are remembered.
        file_of: The file of each picture.
        labels_of: The classes of each file; none of those that are only remembered.
        taken: Splits that the source, which gives splits, does not have: taken out of its training pictures.
        component: int64 `[F]`, what hangs together by likeness and by group.
        keys: What each component is known by.
        settled: uint8 `[F]`, the bits of the splits of files that are known, or have theirs of the source.
        around: The bits of all of a file's component.
    """

    def __init__(self, pictures: Sequence[Picture], earlier: Splits | None) -> None:
        self.pictures = pictures
        self.files = Relations(pictures, earlier)
        self.file_of: list[int] = self.files.file_of.tolist()
        self.labels_of = [frozenset(pictures[p].label for p in ps) for ps in self.files.pictures_of]
        given = {picture.given for picture in pictures}
        self.taken = tuple(s for s in _TAKEN_FROM_TRAIN if "train" in given and s not in given)
        self.component = self.files.components(np.ones(len(self.files), bool), by_group=True)
        self.keys = self._keys()
        self.settled = self._settle()
        self.around: list[int] = gathered(self.component, self.settled).tolist()
        self._settled: list[int] = self.settled.tolist()
        self._component: list[int] = self.component.tolist()
        self._units = self._new_units()

    def split_of(self, position: int) -> SplitName | None:
        """The split of a picture; None of a new one that would belong to two."""
        file, given = self.file_of[position], self.pictures[position].given
        settled, around = self._settled[file], self.around[file]
        if settled:
            return given if given is not None and settled & BITS[given] else strongest(settled)
        if around == 0:
            return self._units[self._component[file]].split
        return strongest(around) if around.bit_count() == 1 else None

    def top_up(self, left_out: Set[int]) -> None:
        """Let no class go without a split that it could have; see `model.data.splits.shares.top_up`.

        Args:
            left_out: Positions of the pictures that do not count.
        """
        settled: defaultdict[str, set[tuple[SplitName, int]]] = defaultdict(set)
        labels: defaultdict[int, set[str]] = defaultdict(set)
        for position, (picture, file) in enumerate(zip(self.pictures, self.file_of, strict=True)):
            component = self._component[file]
            if position in left_out:
                continue
            if component in self._units:
                labels[component].add(picture.label)
            elif split := self.split_of(position):
                settled[picture.label].add((split, component))
        for component, names in labels.items():
            self._units[component].labels = frozenset(names)
        top_up(
            list(self._units.values()),
            {label: Counter(split for split, _ in places) for label, places in settled.items()},
        )

    def _keys(self) -> dict[int, bytes]:
        """The least of a component's groups, or of its files where there is none."""
        by_digest: dict[int, bytes] = {}
        by_group: dict[int, bytes] = {}
        for component, digest in zip(self.component.tolist(), self.files.digests, strict=True):
            by_digest[component] = min(by_digest.get(component, digest), digest)
        for file, groups in self.files.groups.items():
            component = int(self.component[file])
            by_group[component] = min(by_group.get(component, groups[0]), groups[0])
        return by_digest | by_group

    def _settle(self) -> NDArray[np.uint8]:
        everything = np.ones(len(self.files), bool)
        like_known = gathered(self.files.components(everything, by_group=False), self.files.known)
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
        around = gathered(self.component, settled)
        free = (0, BITS["train"], *(BITS[split] for split in self.taken))
        for file in soft:
            if around[file] not in free:
                settled[file] |= BITS["train"]
        return settled

    def _new_units(self) -> dict[int, Unit]:
        """What hangs together and has no split yet, by component."""
        allowed: dict[int, frozenset[SplitName]] = {}
        everywhere, of_training = frozenset(SPLIT_NAMES), frozenset(("train", *self.taken))
        for picture, file in zip(self.pictures, self.file_of, strict=True):
            if self.around[file] == 0:
                component = self._component[file]
                may = everywhere if picture.given is None else of_training
                allowed[component] = allowed.get(component, everywhere) & may
        return {component: by_hash(self.keys[component], splits) for component, splits in allowed.items()}


def gathered(component: NDArray[np.int64], bits: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """For each file the bits of all files of its component."""
    together = np.zeros(len(component), np.uint8)
    np.bitwise_or.at(together, component, bits)
    return together[component]
