"""The changes that class ids come from, and the lists that follow from them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from export.store.numbered import Numbered

Action = Literal["begin", "add", "rename"]


class ClassEvent(Numbered):
    """One change of the lists.

    Attributes:
        action: `begin` a new list with these names, `add` names to a list, or `rename` one class.
        class_list: Which list, from 1; that of a `begin` follows the last one begun.
        names: Of `begin` and `add`, names in the order of their ids; of `rename`, the old one and the new.
        by: The user or the service account.
        at: When.
    """

    action: Action
    class_list: Annotated[int, Field(ge=1)]
    names: tuple[str, ...]
    by: str
    at: AwareDatetime


@dataclass
class Names:
    """A list as its events made it: the names by id, and the id of every name that a class ever had."""

    names: list[str] = field(default_factory=list)
    ids: dict[str, int] = field(default_factory=dict)

    def add(self, names: Iterable[str]) -> None:
        """Give new names the next ids.

        Raises:
            ValueError: A class has or had one of them.
        """
        for name in names:
            if name in self.ids:
                raise ValueError(f"the class {name!r} is there already")
            self.ids[name] = len(self.names)
            self.names.append(name)

    def rename(self, old: str, new: str) -> None:
        """Call a class something else.

        Raises:
            KeyError: No class has or had the old name.
            ValueError: Another one has or had the new.
        """
        if self.ids.setdefault(new, self.ids[old]) != self.ids[old]:
            raise ValueError(f"the class {new!r} is another one")
        self.names[self.ids[old]] = new


class UnfitError(ValueError):
    """A change does not follow from those before it.

    Attributes:
        number: Of the change.
    """

    def __init__(self, number: int, reason: str) -> None:
        super().__init__(reason)
        self.number = number


def replay(events: Sequence[ClassEvent]) -> list[Names]:
    """The lists that follow from all changes, the first list first.

    Raises:
        UnfitError: One of them does not fit.
    """
    lists: list[Names] = []
    for event in events:
        try:
            if event.action == "begin":
                lists.append(Names())
                if event.class_list != len(lists):
                    raise ValueError(f"list {len(lists)} is due")
            found = lists[event.class_list - 1]
            if event.action == "rename":
                found.rename(*event.names)
            else:
                found.add(event.names)
        except (ValueError, LookupError, TypeError) as error:
            raise UnfitError(event.number, str(error)) from None
    return lists
