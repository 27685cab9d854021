"""What the gate says of classes, against the champion's and against a floor, however many there are."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from jobs.gate.answers import Answers
from jobs.gate.evidence import CONFIDENCE, means
from jobs.gate.power import Floors
from jobs.gate.verdict import Check

CLASS_MARGIN: Final = 0.03
"""So much lower may the accuracy on a class be: three points of the class's own images."""

ENOUGH_OF_A_CLASS: Final = 200
"""A class of so many images is held to its floor by what was found; one of fewer, on evidence."""

SHOWN: Final = 12
"""So many classes have a row of their own: of more, those nearest to their limit; the rest share one."""

_NAMED: Final = 5


def against_champion(
    candidate: NDArray[np.bool_],
    champion: NDArray[np.bool_],
    labels: NDArray[np.int64],
    classes: Sequence[str],
    groups: NDArray[np.int64] | None,
    version: int,
) -> list[Check]:
    """A check for each class that both know: no drop beyond `CLASS_MARGIN`, on evidence.

    Args:
        candidate: Which of its answers are right, `[N]`, of images of classes that both know.
        champion: The same of the champion.
        labels: The right answers, `[N]`.
        classes: Names by class id.
        groups: Which images belong together, `[N]`; None where each stands for itself.
        version: The champion's number.
    """
    known, parts = np.unique(labels, return_inverse=True)
    difference = candidate.astype(np.float64) - champion
    found = means(difference, groups, parts, len(known))
    # All classes together are wrong once in twenty: each has a part of that by its share of the images.
    sure = 1 - (1 - CONFIDENCE) * found.images / len(labels)
    # So few answers may flip in a class that the bound knows no spread; the sign test still does.
    bound = np.where(found.chance() > 1 - sure, np.maximum(found.upper(sure), 0), found.upper(sure))
    passed = bound >= -CLASS_MARGIN
    against = f"against version {version}"
    rows = range(len(known)) if len(known) <= SHOWN else np.argsort(bound, kind="stable")[:SHOWN]

    def meaning(row: int) -> str:
        told = f"{against} on the images of this class"
        if np.isinf(found.error[row]):
            few = (
                "its one image"
                if found.images[row] == 1
                else f"its {found.images[row]} images, of one group,"
            )
            return f"{told}; not judged, since {few} can show nothing"
        if passed[row] and found.value[row] <= -CLASS_MARGIN:
            return f"{told}; by chance perhaps, it may be {bound[row]:+.4f}"
        return told

    checks = [
        Check(
            name=shown(classes[known[row]]),
            value=float(found.value[row]),
            limit=-CLASS_MARGIN,
            bound=float(bound[row]),
            passed=bool(passed[row]),
            meaning=meaning(row),
        )
        for row in rows
    ]
    rest = np.setdiff1d(np.arange(len(known)), list(rows))
    if len(rest):
        fallen = int((~passed[rest]).sum())
        checks.append(
            Check(
                name=f"the other {len(rest):,} classes",
                value=float(found.value[rest].min()),
                limit=-CLASS_MARGIN,
                bound=float(bound[rest].min()),
                passed=not fallen,
                meaning=f"{against}, the lowest of them; {fallen or 'none'} of them beyond chance",
            )
        )
    return checks


def shown(name: str) -> str:
    """A class's name among figures and words: one that is a number stands in quotes."""
    return repr(name) if name.isdecimal() else name


def kept(candidate: Answers, champion: Answers, classes: Sequence[str]) -> list[Check]:
    """A check that fails where the champion knows classes that the candidate does not; none otherwise.

    Args:
        candidate: Its answers.
        champion: The champion's.
        classes: Names by class id, of all that the champion knows.
    """
    lost = sorted(champion.learned - candidate.learned)
    if not lost:
        return []
    # Of another list of classes, which may drop some, the champion's own have no id here.
    names = [shown(classes[number]) if number < len(classes) else f"class {number}" for number in lost]
    told = ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else "")
    return [
        Check(
            name="classes lost",
            value=len(lost),
            limit=0,
            passed=False,
            meaning=f"version {champion.version} knows {told}; promote against the gate if they shall go",
        )
    ]


def above_floor(
    candidate: Answers,
    labels: NDArray[np.int64],
    classes: Sequence[str],
    groups: NDArray[np.int64] | None,
    floors: Floors,
    *,
    among: frozenset[int],
    title: str,
) -> list[Check]:
    """A check of the weakest class; none where no image is of one of them.

    Args:
        candidate: Its answers.
        labels: The right answers, `[N]`.
        classes: Names by class id.
        groups: Which images belong together, `[N]`; None where each stands for itself.
        floors: What each class must reach.
        among: The class ids that are looked at.
        title: What the check is called; the class's name is added.
    """
    rows = np.isin(labels, list(among))
    if not rows.any():
        return []
    known, parts = np.unique(labels[rows], return_inverse=True)
    right = candidate.right(labels)[rows].astype(np.float64)
    found = means(right, groups[rows] if groups is not None else None, parts, len(known))
    floor = floors.classes[known]
    sure = 1 - (1 - CONFIDENCE) / len(known)
    failed = found.value < floor
    judged = failed & ((found.images < ENOUGH_OF_A_CLASS) | (groups is not None))
    failed[judged] = _beyond_chance(found.value, found.images, floor, sure)[judged]
    if groups is not None:
        failed &= found.upper(sure) < floor
    weakest = int(np.lexsort((found.value - floor, ~failed))[0])
    meaning = "no class may be left unlearnt"
    if failed.sum() > 1:
        meaning = f"{meaning}; {int(failed.sum()):,} of {len(known):,} are"
    elif found.value[weakest] < floor[weakest] and not failed[weakest]:
        meaning = f"{meaning}; its {found.images[weakest]} images do not prove that it is"
    return [
        Check(
            name=f"{title} ({shown(classes[known[weakest]])})",
            value=float(found.value[weakest]),
            limit=float(floor[weakest]),
            passed=not failed.any(),
            meaning=meaning,
        )
    ]


def _beyond_chance(
    share: NDArray[np.float64], images: NDArray[np.int64], floor: NDArray[np.float64], sure: float
) -> NDArray[np.bool_]:
    """Where so few right answers are too few for chance to explain (the exact binomial test)."""
    from scipy import stats

    chance = stats.binom.cdf(np.round(share * images), images, floor)
    return np.asarray(chance <= 1 - sure)
