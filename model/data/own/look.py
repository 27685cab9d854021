"""Own pictures as they would be learned from, with all that is wrong with them; nothing is learned yet."""

import dataclasses
from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from model.data.check import Alike, DataCheck
from model.data.dataset import Dataset
from model.data.errors import DataError
from model.data.findings import counted, named
from model.data.own.gather import Gathered
from model.data.own.loading import class_names, decided, divided, mistakes, too_small, wished
from model.data.own.takeover import Progress, silent
from model.data.own.wishes import Wishes
from model.data.pictures import LeftOut, Picture
from model.data.sources import find_data
from model.data.splits.decision import Decision


@dataclasses.dataclass(frozen=True)
class Look:
    """What a source of own pictures holds, and what becomes of it.

    Attributes:
        gathered: The pictures, their classes as the user wants them.
        decision: What became of each.
        wishes: What the user asks.
        mistakes: Why nothing can be learned from them, a sentence each; most often none.
    """

    gathered: Gathered
    decision: Decision
    wishes: Wishes
    mistakes: tuple[str, ...]

    @cached_property
    def check(self) -> DataCheck:
        """What is in it, in figures."""
        gathered, decision = self.gathered, self.decision
        kept = [
            (picture, outcome, group)
            for picture, outcome, group in zip(
                gathered.pictures, decision.outcomes, decision.groups, strict=True
            )
            if not isinstance(outcome, LeftOut)
        ]
        return DataCheck(
            source=gathered.source,
            pictures=[picture for picture, _, _ in kept],
            splits=[outcome for _, outcome, _ in kept],
            left_out=[*gathered.left_out, *decision.left_out],
            alike=_alike(gathered.pictures, decision),
            units=[group for _, _, group in kept] if decision.grouped else None,
            classes=class_names(gathered.classes, self.wishes.classes),
            size=gathered.size,
            fit=gathered.fit,
        )

    @cached_property
    def dataset(self) -> Dataset:
        """What is learned from.

        Raises:
            DataError: Nothing can be.
        """
        for mistake in self.mistakes:
            raise DataError(mistake)
        return divided(self.gathered, self.decision, self.wishes)

    def pixels(self, name: str) -> NDArray[np.uint8] | None:
        """A picture as the network sees it, uint8 `[size, size, 3]`; None where none is called so."""
        position = self._positions.get(name)
        return None if position is None else self.gathered.pixels([position])[0]

    @property
    def notes(self) -> tuple[str, ...]:
        """What people should know, in sentences; nothing of it is wrong."""
        decision, notes = self.decision, list(self.gathered.notes)
        alike: dict[str, list[str]] = {}
        for name in self.gathered.classes:
            alike.setdefault(name.casefold(), []).append(name)
        notes.extend(
            f"{' and '.join(map(repr, names))} differ in capitals alone and are classes of their own; "
            "give them one name if they are one."
            for names in alike.values()
            if len(names) > 1
        )
        if decision.taken:
            absent = " and no ".join(decision.taken)
            notes.append(
                f"The source has no {absent} split, so pictures are taken out of the training split for it."
            )
        if moved := self._names(decision.moved):
            notes.append(
                f"{counted(len(moved), 'picture')} stood in another split for an earlier version, and that "
                f"is kept: {named(moved)}."
            )
        if relabelled := self._names(decision.relabelled):
            notes.append(
                f"{counted(len(relabelled), 'picture')} had another class for an earlier version: "
                f"{named(relabelled)}."
            )
        return tuple(notes)

    def _names(self, positions: Sequence[int]) -> list[str]:
        return [self.gathered.pictures[position].name for position in positions]

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {picture.name: position for position, picture in enumerate(self.gathered.pictures)}


def look(source: str, wishes: Wishes, progress: Progress = silent) -> Look | Dataset:
    """Look at a source; CIFAR-10's own files are their data set at once.

    Args:
        source: As `model.data.sources.load_dataset` takes it.
        wishes: What the user asks.
        progress: Is told how many files are decoded, and of how many.

    Raises:
        DataAwayError: A bucket cannot be reached at present.
        DataError: There is not one picture, or the source cannot be read at all.
    """
    found = find_data(source, wishes, progress)
    if isinstance(found, Dataset):
        return found
    gathered = _by_name(wished(found, wishes))
    wrong = mistakes(gathered, wishes.classes)
    if not gathered.pictures:
        raise DataError(wrong[0])
    decision = decided(gathered, wishes)
    wrong = wrong or too_small(decision)
    try:
        decision.check()
    except DataError as error:
        wrong = wrong or (str(error),)
    return Look(gathered, decision, wishes, wrong)


def _by_name(gathered: Gathered) -> Gathered:
    """The same in the order of the names: the order of the cache changes with the first loading."""
    order = sorted(range(len(gathered.pictures)), key=lambda position: gathered.pictures[position].name)
    return dataclasses.replace(
        gathered, pictures=[gathered.pictures[position] for position in order], rows=gathered.rows[order]
    )


def _alike(pictures: Sequence[Picture], decision: Decision) -> list[Alike]:
    """Each pair of pictures once, by the worst that can be said of it."""
    pairs: dict[frozenset[int], Alike] = {}
    for conflict in decision.conflicts:
        first, *others = conflict.pictures
        for other in others:
            found = Alike(pictures[other].name, pictures[first].name, "conflicts", conflict.same)
            pairs.setdefault(frozenset((first, other)), found)
    for leak in decision.leaks:
        if leak.other is not None and leak.by != "group":
            names = pictures[leak.picture].name, pictures[leak.other].name
            found = Alike(*names, "leaks", leak.by == "same")
            pairs.setdefault(frozenset((leak.picture, leak.other)), found)
    for near in decision.near:
        found = Alike(pictures[near.second].name, pictures[near.first].name, "near-duplicates", exact=False)
        pairs.setdefault(frozenset((near.first, near.second)), found)
    return list(pairs.values())
