"""What is in a data set, in figures; nothing here reads a picture."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import chain
from statistics import median_low
from typing import Any, Final, Literal, get_args

from model.data.pictures import LeftOut, Picture, Reason, SplitName
from model.images.header import NAMES

SPLITS: Final[tuple[SplitName, ...]] = get_args(SplitName)


@dataclass(frozen=True, slots=True)
class Alike:
    """Two files that show the same picture, and that people should see side by side.

    Attributes:
        name: Of the one; as in `Picture`.
        other: Of the other, that it was compared with.
        kind: What that makes of them: one picture under two classes, in two splits, or nearly twice in one.
        exact: Whether their bytes are the same; else they look the same.
    """

    name: str
    other: str
    kind: Literal["conflicts", "leaks", "near-duplicates"]
    exact: bool


@dataclass(frozen=True, slots=True)
class ClassCount:
    """How many pictures a class has in each split, and how many files of it were left out."""

    name: str
    train: int
    validation: int
    test: int
    left_out: int

    @property
    def total(self) -> int:
        """Pictures in all splits."""
        return self.train + self.validation + self.test


@dataclass(frozen=True)
class DataCheck:
    """All that is known of a data set.

    Attributes:
        source: As the user named it.
        pictures: What is learned from and judged on.
        splits: The split of each picture.
        left_out: All files that are not, and why.
        alike: Files that show the same picture.
        units: What each picture belongs to as it was settled: its group, or several that share a near
            duplicate; None where the source has no groups.
        classes: Class names by id, also of those that have no picture here.
        size: Side in pixels of what the network sees.
        fit: How a picture becomes that square.
    """

    source: str
    pictures: Sequence[Picture]
    splits: Sequence[SplitName]
    left_out: Sequence[LeftOut]
    alike: Sequence[Alike]
    units: Sequence[str] | None
    classes: Sequence[str]
    size: int
    fit: str

    @cached_property
    def counts(self) -> tuple[ClassCount, ...]:
        """Of each class, in the order of the ids; classes that only files left out are of come last."""
        here = Counter(
            (picture.label, split) for picture, split in zip(self.pictures, self.splits, strict=True)
        )
        out = Counter(left.label for left in self.left_out if left.label is not None)
        names = list(dict.fromkeys(chain(self.classes, sorted(out))))
        return tuple(
            ClassCount(name, here[name, "train"], here[name, "validation"], here[name, "test"], out[name])
            for name in names
        )

    @cached_property
    def imbalance(self) -> float:
        """How many times as many pictures the largest class has as the smallest, of those that have any."""
        totals = [count.total for count in self.counts if count.total]
        return max(totals) / min(totals) if totals else 1.0

    @cached_property
    def reasons(self) -> dict[Reason, tuple[LeftOut, ...]]:
        """What was left out, by why."""
        reasons: dict[Reason, list[LeftOut]] = {}
        for left in self.left_out:
            reasons.setdefault(left.reason, []).append(left)
        return {reason: tuple(lefts) for reason, lefts in sorted(reasons.items())}

    @cached_property
    def groups(self) -> dict[SplitName, int]:
        """How many groups each split has; empty where the source has none."""
        found: dict[SplitName, set[str]] = {split: set() for split in SPLITS}
        for unit, split in zip(self.units or (), self.splits, strict=self.units is not None):
            found[split].add(unit)
        return {} if self.units is None else {split: len(units) for split, units in found.items()}

    @cached_property
    def torn_groups(self) -> tuple[str, ...]:
        """Groups that have pictures in more than one split."""
        where: dict[str, set[SplitName]] = {}
        for picture, split in zip(self.pictures, self.splits, strict=True):
            if picture.group is not None:
                where.setdefault(picture.group, set()).add(split)
        return tuple(sorted(group for group, splits in where.items() if len(splits) > 1))

    def to_json(self) -> dict[str, Any]:
        """All of it but the single pictures, for scripts."""
        return {
            "source": self.source,
            "size": self.size,
            "fit": self.fit,
            "pictures": len(self.pictures),
            "splits": {split: self.splits.count(split) for split in SPLITS},
            "classes": [asdict(count) for count in self.counts],
            "widths": asdict(self.widths),
            "heights": asdict(self.heights),
            "formats": self.formats,
            "bytes": sum(picture.length for picture in self.pictures),
            "groups": self.groups,
            "left_out": {reason: len(lefts) for reason, lefts in self.reasons.items()},
        }

    @cached_property
    def widths(self) -> "Spread":
        """Of the pictures as they lie in their files, in pixels."""
        return Spread.of(picture.width for picture in self.pictures)

    @cached_property
    def heights(self) -> "Spread":
        """Likewise."""
        return Spread.of(picture.height for picture in self.pictures)

    @cached_property
    def formats(self) -> dict[str, int]:
        """How many pictures each format has, the most common first."""
        return dict(Counter(NAMES[picture.format] for picture in self.pictures).most_common())


@dataclass(frozen=True, slots=True)
class Spread:
    """Smallest, middle and largest of some numbers; zeros of none."""

    smallest: int
    median: int
    largest: int

    @classmethod
    def of(cls, numbers: Iterable[int]) -> "Spread":
        """The spread of them."""
        ordered = sorted(numbers)
        return cls(ordered[0], median_low(ordered), ordered[-1]) if ordered else cls(0, 0, 0)
