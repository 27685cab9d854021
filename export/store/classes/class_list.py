"""Class ids: given once, in an append-only list, so that an id never changes its meaning.

Two trainings that learn new classes at once give no name two ids and no id two names, and whether a version
that learned a class is refused, rolled back or pruned does not matter here. A new list can be begun; the
older ones stay, and a version says which it follows.
"""

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Protocol

from export.errors import ExistsError, IntegrityError, StoreError
from export.store.blobs import Blobs
from export.store.classes.events import Action, ClassEvent, Names, UnfitError, replay
from export.store.numbered import NumberedList
from model.contract import MAX_CLASSES, ContractError, check_class


class Followed(Protocol):
    """What a version says of its classes; its manifest does."""

    @property
    def class_list(self) -> int:
        """Which list it follows."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Its names by id."""


class ClassList:
    """The lists in a place for objects.

    Names are compared and kept in Unicode's composed form, NFC. A class that was renamed is known by each of
    its former names too, so that a source which still has the old one gives it no new id.

    Where a method takes `number`, it is which list, and None is the one in use: that of the version that is
    served, else of the newest one; where there is no version, the list begun last.
    """

    def __init__(self, blobs: Blobs, in_use: Callable[[], Followed | None] = lambda: None) -> None:
        """Nothing is asked of the place yet.

        Args:
            blobs: The place.
            in_use: The version that is served, or the newest. A store that has versions but no list, as all
                had before there were lists, begins its first one with the classes of that version.
        """
        self._url = blobs.url
        self._in_use = in_use
        self._events = NumberedList(blobs, "classes/", ClassEvent, "change of classes")

    @property
    def number(self) -> int:
        """Which list is in use; 1 where there is none yet."""
        return self._number(self.events())

    def names(self, number: int | None = None) -> tuple[str, ...]:
        """The names by id, as they are called now; empty where nothing has classes yet.

        Raises:
            StoreError: There is no list of that number.
        """
        return self.names_now_and_before(number)[0]

    def names_now_and_before(self, number: int | None = None) -> tuple[tuple[str, ...], dict[str, str]]:
        """The names by id as above, and what renamed classes were called before → what they are called now.

        Raises:
            StoreError: There is no list of that number.
        """
        found = self._look(number)[2]
        before = {name: found.names[id_] for name, id_ in found.ids.items() if found.names[id_] != name}
        return tuple(found.names), before

    def learn(self, names: Iterable[str], *, by: str, number: int | None = None) -> tuple[str, ...]:
        """Give those names an id that have none yet, in the given order.

        Args:
            names: Of the classes that are to be known; in any form, former ones too.
            by: The user or the service account.
            number: Which list.

        Returns:
            The whole list, as its classes are called now.

        Raises:
            ContractError: A name cannot be one, or there would be too many.
            StoreError: There is no list of that number, or the store could not be written.
        """
        wanted = _composed(names)
        while True:
            events, which, found = self._look(number)
            unknown = [name for name in wanted if name not in found.ids]
            if not unknown:
                return tuple(found.names)
            _check_count(len(found.names) + len(unknown))
            if not events:
                self._append(events, "begin", which, found.names or unknown, by)
            else:
                self._append(events, "add", which, unknown, by)

    def rename(self, old: str, new: str, *, by: str, number: int | None = None) -> tuple[str, ...]:
        """Call a class something else; its id stays. Done again, nothing changes.

        Returns:
            The whole list, as its classes are called now.

        Raises:
            ContractError: A name cannot be one.
            StoreError: There is no class of the old name, or another one of the new.
        """
        (old,), (new,) = _composed([old]), _composed([new])
        while True:
            events, which, found = self._look(number)
            id_ = found.ids.get(old)
            if id_ is None:
                raise StoreError(f"There is no class {old!r} to rename; there {_are(found.names)}.")
            if found.names[id_] == new:
                return tuple(found.names)
            if found.names[id_] != old:
                raise StoreError(f"The class {old!r} is called {found.names[id_]!r} now; rename that one.")
            if found.ids.get(new, id_) != id_:
                raise StoreError(f"There is or was another class {new!r}; choose a name that is free.")
            if not events:
                self._append(events, "begin", which, found.names, by)
            else:
                self._append(events, "rename", which, [old, new], by)

    def begin_anew(self, names: Iterable[str], *, by: str) -> int:
        """Begin a new list; a version of it has nothing to do with the classes of older ones.

        Done again with the same names in the same order, it is the same list.

        Returns:
            Its number.

        Raises:
            ContractError: A name cannot be one, or there are too many.
            StoreError: The store could not be written.
        """
        wanted = _composed(names)
        _check_count(len(wanted))
        while True:
            events = self.events()
            lists = self._lists(events)
            if lists and lists[-1].names == wanted:
                return len(lists)
            before = self._first_names() if not events else []
            self._append(events, "begin", len(lists) + 1, before or wanted, by)

    def events(self) -> list[ClassEvent]:
        """All changes, the oldest first.

        Raises:
            IntegrityError: One is missing or not what was written.
        """
        return self._events.entries()

    def _look(self, number: int | None) -> tuple[list[ClassEvent], int, Names]:
        """All changes, which list is meant, and that list."""
        events = self.events()
        lists = self._lists(events)
        which = self._number(events) if number is None else number
        if 1 <= which <= len(lists):
            return events, which, lists[which - 1]
        if lists or which != 1:
            raise StoreError(f"There is no list {which} of classes in {self._url}, but {len(lists)}.")
        first = Names()
        first.add(self._first_names())
        return events, which, first

    def _number(self, events: Sequence[ClassEvent]) -> int:
        version = self._in_use()
        begun = sum(event.action == "begin" for event in events)
        return version.class_list if version else max(begun, 1)

    def _first_names(self) -> list[str]:
        version = self._in_use()
        return _composed(version.classes) if version else []

    def _lists(self, events: Sequence[ClassEvent]) -> list[Names]:
        try:
            return replay(events)
        except UnfitError as error:
            raise IntegrityError(
                f"{self._events.key(error.number)} in {self._url} does not follow from those before it "
                f"({error}); restore it from a backup."
            ) from None

    def _append(
        self, events: Sequence[ClassEvent], action: Action, which: int, names: Sequence[str], by: str
    ) -> None:
        """Write the next change, unless someone else was first: the caller looks again in either case."""
        event = ClassEvent(
            number=len(events) + 1,
            action=action,
            class_list=which,
            names=tuple(names),
            by=by,
            at=datetime.now(UTC),
        )
        try:
            self._events.append(event)
        except ExistsError:
            return


def _composed(names: Iterable[str]) -> list[str]:
    """The names in NFC, each once, in their order.

    Raises:
        ContractError: One of them cannot be a name.
    """
    composed = list(dict.fromkeys(unicodedata.normalize("NFC", name) for name in names))
    for name in composed:
        check_class(name)
    return composed


def _check_count(count: int) -> None:
    if count > MAX_CLASSES:
        raise ContractError(
            f"The list of classes would have {count} names, and at most {MAX_CLASSES} can be told apart; "
            "leave some out, or begin a new list with --new-classes."
        )


def _are(names: Sequence[str]) -> str:
    some = ", ".join(repr(name) for name in names[:10])
    return "are none" if not names else f"are {some}{' …' if len(names) > 10 else ''}"
