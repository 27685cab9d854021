"""Pictures in a folder of class folders."""

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from model.data.errors import DataError
from model.data.own.places.files import File, Listing, Read, UnreadableError
from model.data.own.places.layout import Parts, is_hidden
from model.data.own.places.listing import Found, list_found
from model.data.pictures import LeftOut


@dataclass
class Folder:
    """See `model.data.own.places.files.Place`."""

    path: Path
    source: str
    workers: int

    def stamp(self) -> None:
        """See `Place.stamp`."""

    def listing(self) -> Listing:
        """See `Place.listing`."""
        found, folders, left_out = [], [], []
        for seen in walk(self.path):
            if isinstance(seen, LeftOut):
                left_out.append(seen)
            elif isinstance(seen, Found):
                found.append(seen)
            else:
                folders.append(seen)
        return list_found(found, folders, left_out, self.source)

    def read(self, files: Sequence[File]) -> Iterator[tuple[File, Read]]:
        """See `Place.read`."""
        return ((file, partial(read_file, file.key)) for file in files)


def read_file(path: str) -> bytes:
    """Read a file of this machine.

    Raises:
        UnreadableError: It cannot be.
    """
    try:
        with open(path, "rb") as file:  # noqa: PTH123  # names that are no text stay as they are
            return file.read()
    except OSError as error:
        raise UnreadableError(f"It cannot be read ({error.strerror}).") from error


def stamp_of(status: os.stat_result) -> str:
    """What of a file changes when it is written."""
    return f"{status.st_size}:{status.st_mtime_ns}"


def readable(name: str) -> str:
    """A file's name as text, also where its bytes are none."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def walk(top: Path) -> Iterator[Found | Parts | LeftOut]:
    """All files and folders below; links are followed, but not round and round.

    Raises:
        DataError: The folder itself cannot be read.
    """
    try:
        # A link to what the source itself lies in would bring all the neighbours along.
        whole = top.resolve(strict=True)
        nodes = frozenset((found.st_dev, found.st_ino) for found in map(Path.stat, (whole, *whole.parents)))
    except OSError as error:
        raise DataError(f"{top} cannot be read ({error.strerror}).") from error
    todo: list[tuple[str, Parts, frozenset[tuple[int, int]]]] = [(str(top), (), nodes)]
    while todo:
        folder, parts, above = todo.pop()
        try:
            with os.scandir(folder) as scan:
                entries = sorted(scan, key=lambda entry: entry.name)
        except OSError as error:
            if not parts:
                raise DataError(
                    f"{top} cannot be read ({error.strerror}); ask its owner for the right."
                ) from error
            yield _broken(parts, f"The folder cannot be read ({error.strerror}).")
            continue
        for entry in entries:
            if is_hidden(entry.name):
                continue
            here = (*parts, readable(entry.name))
            try:
                status = entry.stat()
            except OSError as error:
                yield _broken(here, f"It cannot be read ({error.strerror}).")
                continue
            if stat.S_ISDIR(status.st_mode):
                node = (status.st_dev, status.st_ino)
                if node in above:
                    yield _broken(here, "It is a link to a folder that it lies in.")
                    continue
                yield here
                todo.append((entry.path, here, above | {node}))
            elif stat.S_ISREG(status.st_mode):
                yield Found(here, status.st_size, stamp_of(status), entry.path)
            else:
                yield LeftOut("/".join(here), None, "not a picture", "It is no regular file.")


def _broken(parts: Parts, detail: str) -> LeftOut:
    return LeftOut("/".join(parts), None, "broken", detail)
