"""An append-only list in a place for objects: one object an entry, numbered, written only if absent.

So two writers at once cannot both be the next, and nothing that was written ever changes.
"""

from typing import Annotated, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from export.errors import IntegrityError
from export.store.blobs import Blobs

_DIGITS = 6


class Numbered(BaseModel):
    """An entry.

    Attributes:
        number: Counts from 1 without a gap.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: Annotated[int, Field(ge=1)]


EntryT = TypeVar("EntryT", bound=Numbered)


class NumberedList(Generic[EntryT]):
    """The entries below a prefix."""

    def __init__(self, blobs: Blobs, prefix: str, kind: type[EntryT], noun: str) -> None:
        """Nothing is asked of the place yet.

        Args:
            blobs: The place.
            prefix: Of the keys, for example `ledger/`.
            kind: What an entry is.
            noun: What to call one in an error, for example `ledger entry`.
        """
        self._blobs = blobs
        self._prefix = prefix
        self._kind = kind
        self._noun = noun
        # Entries never change, so one that was read is not read again: a follower costs one listing a look.
        self._known: dict[int, EntryT] = {}

    def entries(self) -> list[EntryT]:
        """All entries, the oldest first.

        Raises:
            IntegrityError: One is missing or not what was written.
        """
        names = (key.removeprefix(self._prefix) for key in self._blobs.list(self._prefix))
        stems = (name.removesuffix(".json") for name in names if name.endswith(".json"))
        numbers = [int(stem) for stem in stems if len(stem) == _DIGITS and stem.isdecimal()]
        if numbers != list(range(1, len(numbers) + 1)):
            missing = min(set(range(1, max(numbers) + 1)) - set(numbers))
            raise IntegrityError(
                f"{self.key(missing)} is missing in {self._blobs.url}; restore it from a backup."
            )
        for number in numbers:
            if number not in self._known:
                self._known[number] = self._read(number)
        return [self._known[number] for number in numbers]

    def append(self, entry: EntryT) -> None:
        """Write an entry under its number.

        Raises:
            ExistsError: Someone else was first.
        """
        self._blobs.put_if_absent(self.key(entry.number), entry.model_dump_json(indent=2).encode() + b"\n")

    def key(self, number: int) -> str:
        """Where an entry lies."""
        return f"{self._prefix}{number:0{_DIGITS}d}.json"

    def _read(self, number: int) -> EntryT:
        key = self.key(number)
        try:
            entry = self._kind.model_validate_json(self._blobs.get(key))
        except ValidationError as error:
            reason = error.errors()[0]["msg"]
            raise IntegrityError(f"{key} in {self._blobs.url} is no {self._noun}: {reason}.") from None
        if entry.number != number:
            raise IntegrityError(f"{key} in {self._blobs.url} says it is entry {entry.number}.")
        return entry
