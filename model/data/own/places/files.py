"""What a source of own pictures holds, before any of it is decoded."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from model.data.pictures import LeftOut, SplitName
from model.images.limits import LIMITS

MOST_BYTES: Final = max(limit.bytes for limit in LIMITS.values())
"""No picture has more; a longer file is not read."""

UNREAD: Final = "unread"
"""The stamp of a file that could not be read: no file has it, so the next start tries again.

What lets it be read, a right or an object that is back, need not change the file's own stamp.
"""

Read = Callable[[], bytes]
"""Brings a file's bytes, in whichever thread; raises UnreadableError."""


class UnreadableError(Exception):
    """One file cannot be read; the message is a sentence that begins after its name: "It …"."""


@dataclass(frozen=True, slots=True)
class File:
    """A file that may be a picture.

    Attributes:
        name: Its path below the source, or what the manifest calls it; unique.
        label: Its class, as the source calls it, in Unicode's NFC.
        given: The split that the source puts it in.
        group: What it belongs to.
        length: In bytes; 0 where only reading tells.
        stamp: Differs where the file does, as far as can be told without reading it.
        key: How its place finds it again.
    """

    name: str
    label: str
    given: SplitName | None
    group: str | None
    length: int
    stamp: str
    key: str


@dataclass(frozen=True)
class Listing:
    """What a place holds.

    Attributes:
        files: What is to be decoded.
        left_out: What is passed over, but for what an operating system hides in folders.
        classes: All classes there are, also those without a file, sorted.
        notes: What people should know of it, in sentences.
        stamp: The place's, where all that it holds lies in itself.
    """

    files: list[File]
    left_out: list[LeftOut]
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()
    stamp: str | None = None


class Place(Protocol):
    """Where pictures lie: a folder, an archive, a prefix of a bucket, a manifest.

    Attributes:
        source: What the user calls it.
        workers: How many files are read and decoded at a time.
    """

    source: str
    workers: int

    def stamp(self) -> str | None:
        """Differs where the place's own file does; None where only its listing tells that."""

    def listing(self) -> Listing:
        """Look at what there is.

        Raises:
            DataError: It cannot be looked at, or is laid out in no way that is known.
        """

    def read(self, files: Sequence[File]) -> Iterator[tuple[File, Read]]:
        """Bring files, in the order that is quickest; few that are not yet asked for are kept in memory.

        A file's stamp is that of what is read, which is another than was listed where the file was written
        or removed meanwhile: by it, not by the listing's, the next start knows whether to read it again.
        """
