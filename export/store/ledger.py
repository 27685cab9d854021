"""Who promoted what, when and why: an append-only list beside the versions, and the truth of what is served.

An entry is one object, numbered and written only if absent, so two promotions at once cannot both win.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from export.errors import ExistsError, IntegrityError, LostRaceError
from export.store.blobs import Blobs

_PREFIX = "ledger/"
_KEY = re.compile(r"ledger/([0-9]{6})\.json")

Action = Literal["promote", "rollback", "return"]


class Entry(BaseModel):
    """One decision about what is served.

    Attributes:
        number: Counts from 1 without a gap.
        action: `promote` and `rollback` are people's or the pipeline's; `return` undoes one that failed.
        version: To be served from now on; None after the return from a first promotion.
        previous: Served until now; None before the first promotion.
        by: The user or the service account.
        at: When it was decided.
        reason: In words.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: Annotated[int, Field(ge=1)]
    action: Action
    version: int | None
    previous: int | None
    by: str
    at: AwareDatetime
    reason: str


class Ledger:
    """The entries in a place for objects."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        # Entries never change, so one that was read is not read again: a follower costs one listing a look.
        self._known: dict[int, Entry] = {}

    def entries(self) -> list[Entry]:
        """All entries, the oldest first.

        Raises:
            IntegrityError: One is missing or not what was written.
        """
        numbers = [int(match[1]) for key in self._blobs.list(_PREFIX) if (match := _KEY.fullmatch(key))]
        if numbers != list(range(1, len(numbers) + 1)):
            missing = min(set(range(1, max(numbers) + 1)) - set(numbers))
            raise IntegrityError(
                f"{_key(missing)} is missing in {self._blobs.url}; restore it from a backup."
            )
        for number in numbers:
            if number not in self._known:
                self._known[number] = self._read(number)
        return [self._known[number] for number in numbers]

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
            self._blobs.put_if_absent(_key(entry.number), entry.model_dump_json(indent=2).encode() + b"\n")
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

    def _read(self, number: int) -> Entry:
        key = _key(number)
        try:
            entry = Entry.model_validate_json(self._blobs.get(key))
        except ValidationError as error:
            reason = error.errors()[0]["msg"]
            raise IntegrityError(f"{key} in {self._blobs.url} is no ledger entry: {reason}.") from None
        if entry.number != number:
            raise IntegrityError(f"{key} in {self._blobs.url} says it is entry {entry.number}.")
        return entry


def champions(entries: Sequence[Entry]) -> list[int]:
    """The versions that ever served, the oldest first; a promotion that was taken back at once never did."""
    served: list[int] = []
    for entry in entries:
        if entry.action == "return" and served:
            served.pop()
        elif entry.version is not None:
            served.append(entry.version)
    return list(dict.fromkeys(served))


def _key(number: int) -> str:
    return f"{_PREFIX}{number:06d}.json"
