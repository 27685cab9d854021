"""Own pictures become a data set: fixed, divided into splits, their classes numbered."""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from model.contract import ContractError, check_classes
from model.data.dataset import Dataset, Split
from model.data.errors import DataError
from model.data.own.fixes import fixed
from model.data.own.gather import Gathered
from model.data.own.wishes import Wishes
from model.data.pictures import Picture, SplitName
from model.data.splits.decide import Splits, decide
from model.data.splits.decision import SPLIT_NAMES, Decision

_NAMES_IN_A_SENTENCE: Final = 5


def class_names(found: Iterable[str], known: Sequence[str]) -> tuple[str, ...]:
    """Names by id: those that the model knows keep theirs, new ones get the next, sorted."""
    return (*known, *sorted(set(found) - set(known)))


def wished(gathered: Gathered, wishes: Wishes) -> Gathered:
    """The pictures with their classes as the user wants them: renamed, then fixed.

    Raises:
        DataError: The fixes cannot be read, or name a class that there is not.
    """
    renamed = wishes.renamed
    if renamed:
        here = set(gathered.classes)
        # Where the source itself has the new name by now, there is nothing left to do; nor where the model
        # knows the class and the source has none of it.
        known = here.union(wishes.classes)
        if absent := sorted(old for old, new in renamed.items() if not {old, new} & known):
            raise DataError(
                f"{gathered.source} has no class {_listed(absent)} to rename; write the name that stands in "
                "the source before the new one."
            )
        gathered = dataclasses.replace(
            gathered,
            pictures=[
                dataclasses.replace(picture, label=renamed.get(picture.label, picture.label))
                for picture in gathered.pictures
            ],
            left_out=[
                dataclasses.replace(left, label=renamed.get(left.label, left.label) if left.label else None)
                for left in gathered.left_out
            ],
            classes=tuple(sorted({renamed.get(name, name) for name in gathered.classes})),
        )
    return fixed(gathered, wishes.fixes, wishes.classes) if wishes.fixes else gathered


def mistakes(gathered: Gathered, known: Sequence[str] = ()) -> tuple[str, ...]:
    """Why nothing can be learned from these pictures, a sentence each; most often nothing is wrong.

    Args:
        gathered: The pictures, renamed and fixed.
        known: Names by id that the model knows already.
    """
    source, counts = gathered.source, Counter(picture.label for picture in gathered.pictures)
    if not counts:
        first = next(iter(gathered.left_out), None)
        why = f" ({first.name}: {first.detail.rstrip('.')})" if first else ""
        return (
            f"None of the files in {source} is a picture that can be decoded{why}; bring whole pictures.",
        )
    found = []
    if empty := [name for name in gathered.classes if not counts[name]]:
        found.append(
            f"{source} has no picture that can be decoded of {_classes(empty)}; add some, or remove what is "
            "empty."
        )
    if len(counts) < 2:
        found.append(
            f"{source} has pictures of one class only, {next(iter(counts))!r}; add a second, for there is "
            "nothing to tell apart."
        )
    try:
        if len(counts) > 1:
            check_classes(class_names(gathered.classes, known))
    except ContractError as error:
        found.append(str(error))
    if known and not set(known) & set(counts):
        found.append(
            f"{source} has none of the classes that the model knows ({_listed(known)}), but "
            f"{_listed(sorted(counts))}; name the right data or "
            "another model (--model NAME, before the command), rename classes (--rename old=new), or begin a "
            "new list of them (--new-classes)."
        )
    return tuple(found)


def decided(gathered: Gathered, wishes: Wishes) -> Decision:
    """Which picture is in which split.

    Raises:
        DataError: The earlier splits cannot be read.
    """
    earlier = Splits.from_bytes(wishes.earlier) if wishes.earlier is not None else None
    if earlier is not None and wishes.renamed:
        names = tuple(wishes.renamed.get(name, name) for name in earlier.classes)
        earlier = dataclasses.replace(earlier, classes=names)
    return decide(gathered.pictures, earlier, drop_leaks=wishes.drop_leaks)


def too_small(decision: Decision) -> tuple[str, ...]:
    """Why these splits cannot be learned from and judged by, a sentence each; most often they can."""
    found = []
    for split in ("train", "test"):
        if lacking := [label for label, lacks in decision.lacking if lacks == split]:
            counts = ", ".join(_left(decision, label) for label in lacking[:_NAMES_IN_A_SENTENCE])
            found.append(
                f"The {split} split has no picture of {_classes(lacking)} ({counts} in all, duplicates "
                "aside); add different pictures, or leave the class out."
            )
    return tuple(found)


def _left(decision: Decision, label: str) -> str:
    """How many pictures a class has, and why others that a user sees in its folder count nowhere."""
    has = f"{label!r} has {sum(decision.counts[label].values()):,}"
    reasons = Counter(
        left.reason for left in decision.left_out if left.label == label and left.reason != "duplicate"
    )
    others = ", ".join(f"{count:,} left out: {reason}" for reason, count in sorted(reasons.items()))
    return f"{has} ({others})" if others else has


def dataset_of(gathered: Gathered, wishes: Wishes) -> Dataset:
    """Make a data set of pictures; its images are rows of the file that lies in the cache.

    Raises:
        DataError: A mistake of the user's in the data, with names.
    """
    gathered = wished(gathered, wishes)
    for mistake in mistakes(gathered, wishes.classes):
        raise DataError(mistake)
    decision = decided(gathered, wishes)
    for mistake in too_small(decision):
        raise DataError(mistake)
    return divided(gathered, decision, wishes)


def divided(gathered: Gathered, decision: Decision, wishes: Wishes) -> Dataset:
    """Make a data set of pictures whose splits are decided.

    Args:
        gathered: The pictures, renamed and fixed, with no mistakes in them.
        decision: What became of each.
        wishes: The classes that the model knows already are used.

    Raises:
        DataError: A split is empty.
    """
    decision.check()
    classes = class_names((picture.label for picture in gathered.pictures), wishes.classes)
    rows = {split: _rows(gathered.pictures, decision, split) for split in SPLIT_NAMES}
    ids = {name: number for number, name in enumerate(classes)}
    groups = np.unique(np.asarray(decision.groups), return_inverse=True)[1].astype(np.int64)
    splits = {}
    for split in SPLIT_NAMES:
        pictures = [gathered.pictures[row] for row in rows[split]]
        splits[split] = Split(
            images=gathered.kept.images.picked(gathered.rows[rows[split]]),
            labels=np.asarray([ids[picture.label] for picture in pictures], np.int64),
            classes=classes,
            groups=groups[rows[split]] if decision.grouped else None,
            names=tuple(picture.name for picture in pictures),
        )
    present = {picture.label for picture in gathered.pictures}
    return Dataset(
        **splits,
        source=gathered.source,
        kind="images",
        fit=gathered.fit,
        network=wishes.chosen_network(gathered.size),
        splits=decision.splits.to_bytes(),
        unlearned=tuple(number for number, name in enumerate(classes) if name not in present),
    )


def _rows(pictures: Sequence[Picture], decision: Decision, split: SplitName) -> list[int]:
    """The pictures of a split, by their bytes: the same ones, however shipped or named, stand the same."""
    rows = [row for row, outcome in enumerate(decision.outcomes) if outcome == split]
    return sorted(rows, key=lambda row: (pictures[row].digest, pictures[row].label, pictures[row].name))


def _classes(names: Sequence[str]) -> str:
    return f"the class {names[0]!r}" if len(names) == 1 else f"the classes {_listed(names)}"


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NAMES_IN_A_SENTENCE
    listed = ", ".join(repr(name) for name in names[:_NAMES_IN_A_SENTENCE])
    return f"{listed} and {more:,} more" if more > 0 else listed
