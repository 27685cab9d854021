"""What is wrong with a data set, or may be: in a sentence each, under the names that `--fail-on` takes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final, Literal, get_args

from model.data.check import DataCheck
from model.data.pictures import Reason

Kind = Literal[
    "broken",
    "too-small",
    "duplicates",
    "near-duplicates",
    "conflicts",
    "leaks",
    "imbalance",
    "small-classes",
    "few-groups",
]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
"""What can be found, by the names that `--fail-on` takes."""

MOST_IMBALANCE: Final = 10
"""How many times as many pictures the largest class may have as the smallest before that is said."""
SMALL_CLASS: Final = 30
"""Pictures; with fewer, chance decides what a class's figures in the test split are."""
FEW_GROUPS: Final = 30
"""In the test split; with fewer the gate's evidence is weak."""

_KIND_OF: Final[dict[Reason, Kind]] = {
    "broken": "broken",
    "not a picture": "broken",
    "path only": "broken",
    "too large": "broken",
    "too small": "too-small",
    "duplicate": "duplicates",
    "two classes": "conflicts",
    "leak": "leaks",
}
_PAIRS: Final[dict[Kind, str]] = {
    "conflicts": "a picture that another class has too",
    "leaks": "a picture that another split has too",
    "duplicates": "a picture that is there already",
    "near-duplicates": "nearly the same as another file of the class",
}
_NAMES_IN_A_SENTENCE: Final = 3


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, or may be.

    Attributes:
        kind: What `--fail-on` calls it.
        count: How many files, classes or groups it is about.
        sentence: For people; with the first names.
        names: All of them.
    """

    kind: Kind
    count: int
    sentence: str
    names: tuple[str, ...]


def find(check: DataCheck) -> tuple[Finding, ...]:
    """What is wrong or may be, the worst first."""
    return tuple(chain(_about_files(check), _about_pairs(check), _about_classes(check), _about_groups(check)))


def _about_files(check: DataCheck) -> Iterable[Finding]:
    broken = [left for left in check.left_out if _KIND_OF.get(left.reason) == "broken"]
    if broken:
        yield _finding("broken", [left.name for left in broken], "no picture that can be read")
    if small := check.reasons.get("too small"):
        yield _finding("too-small", [left.name for left in small], "too small to be learned from")


def _about_pairs(check: DataCheck) -> Iterable[Finding]:
    """Pairs and what was left out for one say the same of a file, which counts once."""
    for kind, what in _PAIRS.items():
        names = dict.fromkeys(
            chain(
                (left.name for left in check.left_out if _KIND_OF.get(left.reason) == kind),
                (pair.name for pair in check.alike if pair.kind == kind),
            )
        )
        if names:
            yield _finding(kind, list(names), what, ("shows", "show"))


def _about_classes(check: DataCheck) -> Iterable[Finding]:
    here = sorted((count for count in check.counts if count.total), key=lambda count: count.total)
    if here and check.imbalance > MOST_IMBALANCE:
        least, most = here[0], here[-1]
        yield Finding(
            "imbalance",
            1,
            f"The largest class, {most.name!r} with {counted(most.total, 'picture')}, has "
            f"{check.imbalance:,.0f} times as many as the smallest, {least.name!r} with {least.total:,}.",
            (most.name, least.name),
        )
    untried = {count.name for count in here if not count.test}
    small = [count for count in here if count.total < SMALL_CLASS or count.name in untried]
    if small:
        without = f"; {len(untried):,} without any in the test split" if untried else ""
        yield Finding(
            "small-classes",
            len(small),
            f"{counted(len(small), 'class', 'classes')} with fewer than {SMALL_CLASS} pictures{without}: "
            f"{named([count.name for count in small])}.",
            tuple(count.name for count in small),
        )


def _about_groups(check: DataCheck) -> Iterable[Finding]:
    if torn := check.torn_groups:
        yield Finding(
            "leaks",
            len(torn),
            f"{counted(len(torn), 'group')} with pictures in more than one split: {named(torn)}.",
            torn,
        )
    if check.groups and check.groups["test"] < FEW_GROUPS:
        yield Finding(
            "few-groups",
            check.groups["test"],
            f"{counted(check.groups['test'], 'group')} in the test split; with fewer than {FEW_GROUPS} "
            "the evidence is weak, however many pictures they have.",
            (),
        )


def counted(number: int, noun: str, nouns: str | None = None) -> str:
    """A number with its noun, in the plural where it is not one."""
    return f"{number:,} {noun if number == 1 else nouns or noun + 's'}"


def _finding(kind: Kind, names: Sequence[str], what: str, verbs: tuple[str, str] = ("is", "are")) -> Finding:
    files = f"{counted(len(names), 'file')} {verbs[len(names) != 1]}"
    return Finding(kind, len(names), f"{files} {what}: {named(names)}.", tuple(names))


def named(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - _NAMES_IN_A_SENTENCE
    listed = ", ".join(repr(name) for name in names[:_NAMES_IN_A_SENTENCE])
    return f"{listed} and {more:,} more" if more > 0 else listed
