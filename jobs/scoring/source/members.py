"""The pictures in an archive: of a zip by their numbers, of a tar by where their bytes begin."""

import gzip
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from jobs.scoring.source.picture import Kind, Picture, Trouble
from jobs.scoring.source.tar_headers import QuickHeader
from model.data.errors import DataError, reason
from model.data.own.places.archive import BROKEN, zip_members
from model.data.own.places.folder import readable
from model.data.own.places.layout import is_hidden, parts_of

_BLOCK_BYTES: Final = 1 << 20


def plain_archive(path: Path, scratch: Path, source: str) -> tuple[Kind, Path]:
    """An archive whose members can be read from anywhere: a compressed tar is unpacked to a plain one.

    Args:
        path: Where it lies.
        scratch: Gets the plain tar.
        source: What the user calls it.

    Raises:
        DataError: It is no archive, broken, or there is no room for the plain one.
    """
    if zipfile.is_zipfile(path):
        return "zip", path
    try:
        with tarfile.open(path, "r:") as archive:
            archive.next()
            return "tar", path
    except tarfile.ReadError:
        pass  # compressed, or no tar at all: the next look tells
    except OSError as error:
        raise DataError(f"{source} cannot be read ({error.strerror}).") from error
    plain = scratch / "plain.tar"
    try:
        with tarfile.open(path, "r:*") as archive, plain.open("wb") as target:
            stream = archive.fileobj
            if stream is None:
                raise EOFError("it has no content")
            stream.seek(0)
            while block := stream.read(_BLOCK_BYTES):
                target.write(block)
    except (*BROKEN, gzip.BadGzipFile) as error:
        if isinstance(error, OSError) and error.filename == str(plain):
            raise DataError(
                f"{source} cannot be unpacked in {scratch} ({error.strerror}); make room there, or "
                "set TMPDIR."
            ) from error
        raise DataError(
            f"{source} is truncated or not an archive ({reason(error)}); fetch it again."
        ) from error
    return "tar", plain


def members(kind: Kind, path: Path, stamp: str, source: str) -> list[Picture]:
    """What an archive holds, in its own order; of a name that is there twice the last, as unpacking gives.

    Args:
        kind: `zip` or `tar`.
        path: Where it lies.
        stamp: Of the archive.
        source: What the user calls it.

    Raises:
        DataError: It is broken.
    """
    found: dict[str, Picture] = {}
    try:
        for picture in _zipped(path) if kind == "zip" else _tarred(path, stamp):
            found.pop(picture.name, None)  # the last one's place, so that reading goes forward
            found[picture.name] = picture
    except BROKEN as error:
        raise DataError(
            f"{source} is truncated or not an archive ({reason(error)}); fetch it again."
        ) from error
    return list(found.values())


def _zipped(path: Path) -> Iterator[Picture]:
    with zipfile.ZipFile(path) as archive:
        for number, member in enumerate(zip_members(archive)):
            if member.kind == "file" and (name := _name(member.path)):
                yield Picture(name, b"%d" % number, member.length, member.stamp, _leading_out(member.path))


def _tarred(path: Path, stamp: str) -> Iterator[Picture]:
    with tarfile.open(path, "r:", tarinfo=QuickHeader) as archive:
        while (member := archive.next()) is not None:
            archive.members = []  # type: ignore[attr-defined]  # else a million of them would be kept
            if member.isdir() or not (name := _name(readable(member.name))):
                continue
            trouble = _leading_out(name)
            if not member.isreg() or member.issparse():
                trouble = Trouble("unreadable", "It is no plain file in the archive; pack the file itself.")
            yield Picture(name, b"%d" % member.offset_data, member.size, stamp, trouble)


def _name(path: str) -> str:
    """What a member is called; empty for what nobody means as data."""
    try:
        parts = parts_of(path)
    except ValueError:
        return path
    return "" if any(map(is_hidden, parts)) else "/".join(parts)


def _leading_out(path: str) -> Trouble | None:
    if ".." in path.split("/"):
        return Trouble("unreadable", "Its path leads out of the archive.")
    return None
