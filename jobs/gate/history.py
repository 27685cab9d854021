"""What earlier verdicts say of how many answers flip between two versions that are equally good."""

from collections.abc import Iterator, Sequence
from typing import Final

from export.errors import AbsentError, IntegrityError
from export.store.ledger import Entry, champions
from export.store.versions import Store
from jobs.gate.attached import last_verdict
from jobs.gate.power import ASSUMED, Expected
from jobs.gate.verdict import Flips, Verdict

_LAST: Final = 5
"""Verdicts that are looked at, the newest."""

_DIFFERENT: Final = 0.05
"""Below this McNemar's p-value two versions are not taken for equally good."""


def expected_flips(store: Store, entries: Sequence[Entry], candidate: int) -> Expected:
    """The flips by which the champions were told from their predecessors, all together.

    Only versions that were promoted count, so that a candidate that was refused for being another has no say;
    nor does the candidate itself, which may have served before.

    Args:
        store: Where versions and verdicts are.
        entries: Of the ledger.
        candidate: The version that is judged.

    Returns:
        What is assumed where there is no history.
    """
    past = list(_past(store, champions(entries), candidate))[:_LAST]
    if not past:
        return ASSUMED
    images = sum(number for number, _ in past)
    flipped = sum(_of_equals(flips) for _, flips in past)
    effect = sum(_of_equals(flips) * flips.design_effect for _, flips in past) / flipped
    return Expected(flipped / images, effect, len(past))


def _past(store: Store, served: Sequence[int], candidate: int) -> Iterator[tuple[int, Flips]]:
    """Images and flips of each promoted version's verdict, the newest first."""
    for number in reversed(served):
        if number == candidate:
            continue
        try:
            verdict = last_verdict(store, number)
        except IntegrityError:  # a damaged one says nothing; who looks at that version is told
            continue
        if verdict is None or verdict.flips is None or not _independent(store, verdict):
            continue
        images = verdict.flips.images or verdict.test_images
        if _of_equals(verdict.flips):  # none at all: the same model once more
            yield images, verdict.flips


def _of_equals(flips: Flips) -> int:
    """How many would have flipped had both been equally good: where one truly is better, twice the fewer."""
    if flips.p_value < _DIFFERENT:
        return 2 * min(flips.mended, flips.broken)
    return flips.mended + flips.broken


def _independent(store: Store, verdict: Verdict) -> bool:
    """Whether a version and what it was judged against come from two trainings.

    An int8 twin answers as the version it was made from does.
    """
    trainings = []
    for number in (verdict.version, verdict.judged_against or 0):
        try:
            trainings.append(store.manifest(number).quantized_from or number)
        except (AbsentError, IntegrityError):  # pruned: whether it was a twin is not known any more
            trainings.append(number)
    return trainings[0] != trainings[1]
