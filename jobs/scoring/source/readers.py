"""How the bytes of pictures are brought: a few at a time, by as many threads as that is worth."""

import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

from jobs.scoring.source.picture import ROW, Origin, Picture, Trouble
from model.data.own.places.archive import read_zipped
from model.data.own.places.files import UnreadableError
from model.data.own.places.folder import stamp_of
from model.data.own.places.pointed import S3

_OBJECTS_AT_A_TIME: Final = 16
_FILES_AT_A_TIME: Final = 2
_FILES_A_GO: Final = 32
"""One file takes as long as handing it from a thread to another, so several go together."""

_ROWS_A_GO: Final = 16
"""Fewer, since a Parquet does not say how long each is: what is kept once for many rows looks small; `ahead`
counts a go's bytes when they are there."""


class Reader(Protocol):
    """Brings pictures.

    Attributes:
        threads: How many may ask it side by side.
        a_go: How many pictures are asked for at a time.
    """

    threads: int
    a_go: int

    def read(self, pictures: Sequence[Picture]) -> "list[bytes | Trouble]":
        """The bytes of each, in their order.

        Raises:
            DataAwayError: Where they lie does not answer, and was waited for.
            DataError: They may not be read, or what holds them is broken.
        """


def reader_of(origin: Origin, container: Path | None, source: str, *, remote: bool) -> Reader:
    """What brings the pictures of a source.

    Args:
        origin: Where they lie.
        container: The archive or Parquet on this disk.
        source: What the user calls it.
        remote: Whether some of them are objects of an S3.
    """
    if container is None:
        return Files(remote=remote)
    if origin.kind == "zip":
        return Zipped(container)
    if origin.kind == "tar":
        return Tarred(container)
    return Rows(container, source, remote=remote)


class Files:
    """Files of this machine, and objects; see `Reader`."""

    def __init__(self, *, remote: bool) -> None:
        self.threads = _OBJECTS_AT_A_TIME if remote else _FILES_AT_A_TIME
        self.a_go = 1 if remote else _FILES_A_GO
        if remote:
            from jobs.scoring.source.objects import Bucket

            self._bucket = Bucket
            self._buckets: dict[str, Bucket] = {}

    def read(self, pictures: Sequence[Picture]) -> "list[bytes | Trouble]":
        """See `Reader.read`."""
        return [self._one(picture) for picture in pictures]

    def _one(self, picture: Picture) -> bytes | Trouble:
        if not picture.key.startswith(S3.encode()):
            return _read_file(picture)
        name, _, key = picture.key.decode().removeprefix(S3).partition("/")
        bucket = self._buckets.get(name)
        if bucket is None:  # two threads that make one each do no harm
            bucket = self._buckets[name] = self._bucket(name, self.threads)
        return bucket.read(key, picture)


class Zipped:
    """Members of a zip; see `Reader`."""

    threads = 1
    a_go = _FILES_A_GO

    def __init__(self, path: Path) -> None:
        self._zip = zipfile.ZipFile(path)
        self._members = self._zip.infolist()

    def read(self, pictures: Sequence[Picture]) -> "list[bytes | Trouble]":
        """See `Reader.read`."""
        return [self._one(picture) for picture in pictures]

    def _one(self, picture: Picture) -> bytes | Trouble:
        try:
            return read_zipped(self._zip, self._members[int(picture.key)])
        except UnreadableError as error:
            return Trouble("unreadable", str(error))


class Tarred:
    """Members of a tar that is not compressed; see `Reader`."""

    threads = 1
    a_go = _FILES_A_GO

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def read(self, pictures: Sequence[Picture]) -> "list[bytes | Trouble]":
        """See `Reader.read`."""
        return [self._one(picture) for picture in pictures]

    def _one(self, picture: Picture) -> bytes | Trouble:
        try:
            data = os.pread(self._file, picture.length, int(picture.key))
        except OSError as error:
            return Trouble("unreadable", f"It cannot be read ({error.strerror}).")
        if len(data) < picture.length:
            return Trouble("unreadable", "It is cut short in the archive.")
        return data


class Rows:
    """Rows of a Parquet that holds the bytes, and files that other rows of it name; see `Reader`."""

    threads = 1
    a_go = _ROWS_A_GO

    def __init__(self, path: Path, source: str, *, remote: bool) -> None:
        from model.data.own.places.parquet import Table
        from model.data.own.places.rows import IMAGE

        self._table = Table(path, source, (IMAGE,))
        self._files = Files(remote=remote)
        self._at = 0
        self._ahead = self._table.read_from(1)

    def read(self, pictures: Sequence[Picture]) -> "list[bytes | Trouble]":
        """See `Reader.read`; rows that follow those of the call before are read on from there."""
        return [
            self._row(int(picture.key.removeprefix(ROW)))
            if picture.key.startswith(ROW)
            else self._files.read([picture])[0]
            for picture in pictures
        ]

    def _row(self, number: int) -> bytes:
        if number <= self._at or self._table.group_of(number) != self._table.group_of(self._at + 1):
            self._ahead = self._table.read_from(number)
        for there, data in self._ahead:
            self._at = there
            if there == number:
                return data
        return b""


def _read_file(picture: Picture) -> bytes | Trouble:
    try:
        file = os.open(picture.key, os.O_RDONLY | os.O_CLOEXEC)
        try:
            data = os.read(file, picture.length + 1)
            while 0 < len(data) < picture.length and (more := os.read(file, picture.length - len(data))):
                data += more
            status = os.fstat(file)
        finally:
            os.close(file)
    except FileNotFoundError:
        return Trouble("missing", "It was removed since its scoring began.")
    except OSError as error:
        return Trouble("unreadable", f"It cannot be read ({error.strerror}).")
    if stamp_of(status) != picture.stamp or len(data) != picture.length:
        return Trouble("changed", "It was written again since its scoring began; score it anew.")
    return data
