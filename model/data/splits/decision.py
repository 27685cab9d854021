"""What was decided about the pictures of a source, and what was found out about them on the way."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from model.data.errors import DataError
from model.data.pictures import LeftOut, SplitName
from model.data.splits.memory import Splits

SPLIT_NAMES: Final[tuple[SplitName, ...]] = ("train", "validation", "test")


class Pair(NamedTuple):
    """Two pictures that are nearly the same.

    Attributes:
        first: Position in the source's pictures.
        second: Likewise, greater.
        distance: Bits in which their hashes differ.
    """

    first: int
    second: int
    distance: int


class Conflict(NamedTuple):
    """One picture under two classes or more.

    Attributes:
        pictures: Positions, ascending.
        same: Whether they are the very same file, and all left out; else they are nearly the same, and kept.
    """

    pictures: tuple[int, ...]
    same: bool


class Leak(NamedTuple):
    """A picture whose like is in a split that must not have it.

    Attributes:
        picture: Its position.
        split: Where it is, or was; None of a new one that would belong to two splits.
        other: The position of its like; None where the source does not have that one any more.
        other_split: Where that one is.
        by: Whether it is the same file, nearly the same picture, or of the same group.
        removed: Whether it is left out.
    """

    picture: int
    split: SplitName | None
    other: int | None
    other_split: SplitName
    by: Literal["same", "near", "group"]
    removed: bool


@dataclass(frozen=True)
class Decision:
    """What becomes of each picture; "position" is one in the pictures that were given to `decide`.

    Attributes:
        outcomes: The split of each picture, or why it is left out.
        groups: What each picture belongs to, 32 hex digits: the same for those of one group, for near
            duplicates, and for whatever hangs together by both.
        grouped: Whether the source has groups; else `groups` only tells near duplicates.
        splits: To be written beside the version, and given to the next `decide`.
        exact: Positions of files that are the same byte for byte, two or more each.
        near: Near duplicates: of each picture that has any the closest.
        conflicts: Pictures under two classes.
        leaks: Pictures whose like is in another split.
        moved: Positions of pictures that the source gives another split than they had; they keep theirs.
        relabelled: Positions of pictures whose class is another one than it was.
        inherited: How many pictures were known by their bytes.
        joined: How many new ones follow another one: saved again, nearly the same, or of its group.
        taken: Splits that the source, which gives splits, does not have, and that were taken out of its
            training pictures.
        counts: Pictures that are kept, of each class of the source in each split.
    """

    outcomes: tuple[SplitName | LeftOut, ...]
    groups: tuple[str, ...]
    grouped: bool
    splits: Splits
    exact: tuple[tuple[int, ...], ...]
    near: tuple[Pair, ...]
    conflicts: tuple[Conflict, ...]
    leaks: tuple[Leak, ...]
    moved: tuple[int, ...]
    relabelled: tuple[int, ...]
    inherited: int
    joined: int
    taken: tuple[SplitName, ...]
    counts: Mapping[str, Mapping[SplitName, int]]

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """What is left out, in the order of the pictures."""
        return tuple(outcome for outcome in self.outcomes if isinstance(outcome, LeftOut))

    @property
    def lacking(self) -> tuple[tuple[str, SplitName], ...]:
        """Classes that have no picture in a split."""
        return tuple(
            (label, split)
            for label, splits in self.counts.items()
            for split in SPLIT_NAMES
            if not splits[split]
        )

    def check(self) -> None:
        """Require that something can be learned, chosen and judged.

        Raises:
            DataError: A split has no picture, or fewer than two classes are in the training split.
        """
        learned = [label for label, splits in self.counts.items() if splits["train"]]
        if len(learned) < 2:
            raise DataError(
                f"Of {len(self.counts)} classes {len(learned)} have a picture to learn from; add pictures, "
                f"or see why {len(self.left_out)} of {len(self.outcomes)} are left out."
            )
        for split in SPLIT_NAMES:
            if not any(splits[split] for splits in self.counts.values()):
                raise DataError(
                    f"No picture is in the {split} split: {len(set(self.groups))} "
                    f"{'groups' if self.grouped else 'different pictures'} are too few, or too many are "
                    "left out; add pictures."
                )
