"""From what was gathered and decided to what is shown of it."""

from collections.abc import Iterator, Sequence

from model.data.check import Alike, DataCheck
from model.data.decision import Decision
from model.data.own.gather import Gathered
from model.data.pictures import LeftOut, Picture


def check_of(gathered: Gathered, decision: Decision, classes: Sequence[str]) -> DataCheck:
    """What is in a source of own pictures.

    Args:
        gathered: The pictures, and what was passed over.
        decision: What became of each.
        classes: Names by class id.
    """
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
        alike=list(_alike(gathered.pictures, decision)),
        units=[group for _, _, group in kept] if decision.grouped else None,
        classes=classes,
        size=gathered.size,
        fit=gathered.fit,
    )


def _alike(pictures: Sequence[Picture], decision: Decision) -> Iterator[Alike]:
    """Each pair of pictures once, by the worst that can be said of it."""
    seen: set[tuple[int, int]] = set()

    def first_time(one: int, other: int) -> bool:
        pair = min(one, other), max(one, other)
        return not (pair in seen or seen.add(pair))

    for conflict in decision.conflicts:
        first, *others = conflict.pictures
        for other in others:
            if first_time(first, other):
                yield Alike(pictures[other].name, pictures[first].name, "conflicts", conflict.same)
    for leak in decision.leaks:
        if leak.other is not None and leak.by != "group" and first_time(leak.picture, leak.other):
            names = pictures[leak.picture].name, pictures[leak.other].name
            yield Alike(*names, "leaks", leak.by == "same")
    for near in decision.near:
        if first_time(near.first, near.second):
            yield Alike(pictures[near.second].name, pictures[near.first].name, "near-duplicates", exact=False)
