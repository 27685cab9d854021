"""Pictures in an archive of class folders, a zip or a tar of any compression; it is not unpacked."""

import dataclasses
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Final, NamedTuple

from model.data.errors import DataError, reason
from model.data.own.places.files import File, Listing, Read, UnreadableError
from model.data.own.places.folder import readable
from model.data.own.places.layout import Parts, is_hidden, parts_of
from model.data.own.places.listing import Found, list_found
from model.data.pictures import LeftOut

BROKEN: Final = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError)
"""What Python's readers of archives raise for one that is broken."""

_MADE_ON_DOS: Final = 0
_IN_UTF_8: Final = 0x800
_NAMES_IN_A_NOTE: Final = 3


class Member(NamedTuple):
    """One entry of an archive.

    Attributes:
        path: As it stands there.
        kind: What it is.
        length: In bytes.
        stamp: As in `model.data.own.places.files.File`.
    """

    path: str
    kind: str
    length: int
    stamp: str


@dataclass
class Archive:
    """See `model.data.own.places.files.Place`.

    Attributes:
        bring: Brings the archive onto this disk, and gives the mark of what it brought too; asked only where
            it is to be opened.
        mark: Differs where the archive does.
    """

    bring: Callable[[], tuple[Path, str]]
    mark: str
    source: str
    workers: int

    def stamp(self) -> str:
        """See `Place.stamp`."""
        return self.mark

    @cached_property
    def path(self) -> Path:
        """Where it lies."""
        path, self.mark = self.bring()
        return path

    def listing(self) -> Listing:
        """See `Place.listing`."""
        try:
            members = zip_members(self._zip) if self._is_zip else _tar_members(self._tar, self.mark)
        except BROKEN as error:
            raise DataError(
                f"{self.source} is truncated or not an archive ({reason(error)}); fetch it again."
            ) from error
        found: dict[Parts, Found] = {}
        folders: list[Parts] = []
        left_out: list[LeftOut] = []
        twice: dict[str, None] = {}
        for number, member in enumerate(members):
            try:
                parts = parts_of(member.path)
            except ValueError:
                left_out.append(
                    LeftOut(member.path, None, "not a picture", "Its path leads out of the archive.")
                )
                continue
            if not parts or any(map(is_hidden, parts)):
                continue
            if member.kind == "folder":
                folders.append(parts)
            elif member.kind == "link":
                detail = "It is a link inside the archive, which is not followed; pack the file itself."
                left_out.append(LeftOut("/".join(parts), None, "not a picture", detail))
            else:
                if parts in found:
                    twice["/".join(parts)] = None
                found[parts] = Found(parts, member.length, member.stamp, str(number))
        listing = list_found(list(found.values()), folders, left_out, self.source, _about_twice(list(twice)))
        return dataclasses.replace(listing, stamp=self.mark)

    def read(self, files: Sequence[File]) -> Iterator[tuple[File, Read]]:
        """See `Place.read`."""
        if self._is_zip:
            infos = self._zip.infolist()
            return ((file, partial(read_zipped, self._zip, infos[int(file.key)])) for file in files)
        return self._read_tar(files)

    def _read_tar(self, files: Sequence[File]) -> Iterator[tuple[File, Read]]:
        """A tar is read from its beginning to its end: compressed ones know no other way."""
        members = self._tar.getmembers()
        for file in sorted(files, key=lambda file: int(file.key)):
            try:
                stream = self._tar.extractfile(members[int(file.key)])
                data = stream.read() if stream else b""
            except BROKEN as error:
                raise DataError(
                    f"{self.source} is broken at {file.name} ({reason(error)}); fetch it again."
                ) from error
            yield file, partial(bytes, data)

    @cached_property
    def _is_zip(self) -> bool:
        return zipfile.is_zipfile(self.path)

    @cached_property
    def _zip(self) -> zipfile.ZipFile:
        return zipfile.ZipFile(self.path)

    @cached_property
    def _tar(self) -> tarfile.TarFile:
        return tarfile.open(self.path, "r:*")


def _tar_members(archive: tarfile.TarFile, stamp: str) -> Iterator[Member]:
    for number, member in enumerate(archive.getmembers()):
        kind = "link"
        if member.isdir():
            kind = "folder"
        elif member.isreg():
            kind = "file"
        yield Member(readable(member.name), kind, member.size, f"{stamp}:{number}")


def zip_members(archive: zipfile.ZipFile) -> Iterator[Member]:
    """What a zip holds, in the order of `infolist`."""
    for member in archive.infolist():
        name = _name_of(member)
        kind = "folder" if name.endswith("/") else "file"
        yield Member(name, kind, member.file_size, f"{member.file_size}:{member.CRC:08x}")


def _name_of(member: zipfile.ZipInfo) -> str:
    """A member's path; macOS writes UTF-8 without saying so, some programs for Windows backslashes."""
    name = member.filename
    if not member.flag_bits & _IN_UTF_8:
        try:
            name = name.encode("cp437").decode("utf-8")
        except UnicodeError:
            name = member.filename
    return name.replace("\\", "/") if member.create_system == _MADE_ON_DOS else name


def read_zipped(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """A member's bytes.

    Raises:
        UnreadableError: They cannot be unpacked.
    """
    try:
        return archive.read(member)
    except RuntimeError as error:  # no class of its own for a password
        raise UnreadableError("It is encrypted; pack it without a password.") from error
    except NotImplementedError as error:
        raise UnreadableError(f"It is packed in a way that is not known ({error}); pack it again.") from error
    except BROKEN as error:
        raise UnreadableError(f"It is broken in the archive ({error}).") from error


def _about_twice(names: Sequence[str]) -> Iterable[str]:
    if names:
        more = len(names) - _NAMES_IN_A_NOTE
        listed = ", ".join(names[:_NAMES_IN_A_NOTE]) + (f" and {more:,} more" if more > 0 else "")
        yield f"The archive holds more than one file of the same name, and the last is taken: {listed}."
