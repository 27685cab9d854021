"""Who promoted what, when and why: an append-only list beside the versions, and the truth of what is served.

Two promotions at once cannot both win.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal

from pydantic import AwareDatetime

from export.errors import ExistsError, LostRaceError
from export.store.blobs import Blobs
from export.store.numbered import Numbered, NumberedList

Action = Literal["promote", "rollback", "return"]


class Entry(Numbered):
    """One decision about what is served.

    Attributes:
        action: `promote` and `rollback` are people's or the pipeline's; `return` undoes one that failed.
        version: To be served from now on; None after the return from a first promotion.
        previous: Served until now; None before the first promotion.
        by: The user or the service account.
        at: When it was decided.
        reason: In words.
    """

    action: Action
    version: int | None
    previous: int | None
    by: str
    at: AwareDatetime
    reason: str


class Ledger:
    """The entries in a place for objects."""

    def __init__(self, blobs: Blobs) -> None:
        self._list = NumberedList(blobs, "ledger/", Entry, "ledger entry")

    def entries(self) -> list[Entry]:
        """All entries, the oldest first.

        Raises:
            IntegrityError: One is missing or not what was written.
        """
        return self._list.entries()

    def append(self, entry: Entry, *, after: int) -> Entry:
        """Add an entry, if nobody has added one since `after` was read.

        Args:
            entry: Its number must be `after + 1`.
            after: The number of the last entry the decision was made on; 0 for an empty ledger.

        Raises:
            LostRaceError: Someone else was first, or `after` does not exist.
            ValueError: The entry's number is another.
        """
        if entry.number != after + 1:
            raise ValueError(f"entry {entry.number} cannot follow entry {after}")
        lost = "Someone else promoted or rolled back meanwhile; look at `cnn-image history` and decide again."
        if len(self.entries()) != after:
            raise LostRaceError(lost)
        try:
            self._list.append(entry)
        except ExistsError:
            raise LostRaceError(lost) from None
        return entry

    def record(self, action: Action, version: int | None, *, by: str, reason: str, after: int) -> Entry:
        """Append a decision of now; number and previous version follow from `after`.

        Raises:
            LostRaceError: The ledger has grown since `after`.
        """
        entries = self.entries()[:after]
        entry = Entry(
            number=after + 1,
            action=action,
            version=version,
            previous=entries[-1].version if entries else None,
            by=by,
            at=datetime.now(UTC),
            reason=reason,
        )
        return self.append(entry, after=after)

    def served(self) -> int | None:
        """The version that should be served; None before the first promotion."""
        entries = self.entries()
        return entries[-1].version if entries else None

    def previous(self) -> int | None:
        """The version that last served before the present one: what a rollback goes to.

        A promotion that was returned from never served, so it does not count.
        """
        served: list[int] = []
        for entry in self.entries():
            if entry.action == "return" and served:
                served.pop()
            if entry.version is not None and served[-1:] != [entry.version]:
                served.append(entry.version)
        return served[-2] if len(served) > 1 else None


def champions(entries: Sequence[Entry]) -> list[int]:
    """The versions that ever served, the oldest first; a promotion that was taken back at once never did."""
    served: list[int] = []
    for entry in entries:
        if entry.action == "return" and served:
            served.pop()
        elif entry.version is not None:
            served.append(entry.version)
    return list(dict.fromkeys(served))
