"""What a source holds, every picture once, whatever class it may be of: before any of it is read."""

import dataclasses
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Final

from jobs.scoring.source.members import members, plain_archive
from jobs.scoring.source.picture import ROW, Origin, Picture, Trouble
from model.data.errors import DataError
from model.data.own.places.files import MOST_BYTES
from model.data.own.places.folder import stamp_of, walk
from model.data.own.places.layout import PICTURES, is_hidden
from model.data.own.places.listing import Found
from model.data.own.places.manifest import CSV, MANIFESTS, names_of
from model.data.own.places.pointed import S3, Pointer, Target
from model.data.own.places.rows import IMAGE, Row, csv_rows
from model.data.pictures import LeftOut

log = logging.getLogger(__name__)

STDIN: Final = "-"
"""The source whose pictures are listed on standard input, a path or `s3://` address a line."""

_FOLDERS: Final = 1024
"""So many folders of a bucket are known to be hidden or not: keys come sorted, so that most have theirs with
those just before, and a bucket may have a folder for each picture."""

_MISSING: Final = Trouble("missing", "It is listed, and not there.")
_FOREIGN: Final = Trouble(
    "missing",
    "Its address is not fetched; bring it to this disk or a bucket, and name it by path or s3://.",
)
_PATH_ONLY: Final = Trouble(
    "missing",
    "The Parquet has no bytes of it, only where it lay on another machine; write it with the bytes.",
)


@dataclasses.dataclass(frozen=True)
class Listing:
    """What a source holds.

    Attributes:
        origin: Where it lies.
        pictures: Each once, in the order in which they are read quickest.
        container: The archive or Parquet on this disk; None for files.
    """

    origin: Origin
    pictures: list[Picture]
    container: Path | None = None


def list_source(source: str, scratch: Path, lines: Iterable[str] = ()) -> Listing:
    """Look at what there is.

    Args:
        source: A folder, an archive, a CSV or Parquet, the `s3://` address of one of them, or `-`.
        scratch: A folder for what has to be brought onto this disk.
        lines: What stands on standard input.

    Raises:
        DataAwayError: A bucket cannot be reached at present.
        DataError: There is nothing, or it cannot be looked at.
    """
    if source == STDIN:
        paths = [line for text in lines if (line := text.strip("\r\n"))]
        rows = [Row(number, path, path, "", None, None) for number, path in enumerate(paths, start=1)]
        listing = Listing(Origin("files"), _pointed(rows, Pointer(Path.cwd())))
    elif source.startswith(S3):
        listing = _in_bucket(source, scratch)
    else:
        listing = _on_disk(Path(source).expanduser(), source, scratch)
    if not listing.pictures:
        what = "Standard input lists" if source == STDIN else f"{source} holds"
        raise DataError(f"{what} no pictures; name what does.")
    return dataclasses.replace(listing, pictures=[_with_limit(picture) for picture in listing.pictures])


def opened_again(origin: Origin, scratch: Path, source: str) -> Path | None:
    """The container of a source that was listed before, on this disk.

    Raises:
        DataError: It is gone, or was written again since.
    """
    if not origin.container:
        return None
    if origin.container.startswith(S3):
        path, stamp = _download(origin.container, scratch)
    else:
        path = Path(origin.container)
        try:
            stamp = stamp_of(path.stat())
        except OSError as error:
            raise DataError(f"{source} cannot be read ({error.strerror}); bring it back.") from error
    if stamp != origin.stamp:
        raise DataError(
            f"{source} was written again since its scoring began; name another folder with --out to score "
            "it as it is now."
        )
    return path if origin.kind in {"rows", "zip"} else plain_archive(path, scratch, source)[1]


def looks_like_pictures(pictures: Sequence[Picture]) -> bool:
    """Whether a name says so of any; where none does, only the bytes tell."""
    return any(PurePosixPath(picture.name).suffix.casefold() in PICTURES for picture in pictures)


def _on_disk(path: Path, source: str, scratch: Path) -> Listing:
    try:
        status = path.stat()
    except OSError as error:
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            raise DataError(
                f"{path} does not exist; name a folder or an archive of pictures, a CSV or Parquet that "
                "lists them, an s3:// address, or - for a list on standard input."
            ) from error
        raise DataError(f"{path} cannot be read ({error.strerror}); ask its owner for the right.") from error
    if path.is_dir():
        return Listing(Origin("files"), _in_folder(path.absolute()))
    return _in_file(path, source, str(path.absolute()), stamp_of(status), scratch, path.absolute().parent)


def _in_folder(path: Path) -> list[Picture]:
    pictures = []
    for seen in walk(path):
        if isinstance(seen, Found):
            pictures.append(Picture("/".join(seen.parts), os.fsencode(seen.key), seen.length, seen.stamp))
        elif isinstance(seen, LeftOut):
            pictures.append(Picture(seen.name, b"", 0, "", Trouble("unreadable", seen.detail)))
    return sorted(pictures)


def _in_file(
    path: Path, source: str, container: str, stamp: str, scratch: Path, folder: Path | None, base: str = ""
) -> Listing:
    """What an archive, a CSV or a Parquet holds that lies on this disk."""
    suffix = path.suffix.casefold()
    if suffix not in MANIFESTS:
        kind, plain = plain_archive(path, scratch, source)
        return Listing(Origin(kind, container, stamp), members(kind, plain, stamp, source), plain)
    pointer = Pointer(folder, base)
    if suffix == CSV:
        return Listing(Origin("files"), _pointed(csv_rows(path, source, (IMAGE,)), pointer))
    from model.data.own.places.parquet import Table  # pyarrow takes a while to import

    table = Table(path, source, (IMAGE,))
    pictures = _pointed(table.rows(), pointer, stamp, table.picture_bytes)
    if any(picture.key.startswith(ROW) for picture in pictures):
        return Listing(Origin("rows", container, stamp), pictures, path)
    return Listing(Origin("files"), pictures)


def _pointed(rows: Sequence[Row], pointer: Pointer, stamp: str = "", picture_bytes: int = 0) -> list[Picture]:
    """The pictures of a list: what its paths lead to, and those whose bytes stand in it."""
    paths = list(
        dict.fromkeys(row.path for row in rows if row.path and row.followed and not _is_foreign(row.path))
    )
    targets = dict(zip(paths, pointer.find(paths), strict=True))
    return [
        _picture_of(row, name, targets, stamp, picture_bytes)
        for row, name in zip(rows, names_of(rows), strict=True)
    ]


def _picture_of(
    row: Row, name: str, targets: dict[str, Target | None], stamp: str, picture_bytes: int
) -> Picture:
    if not row.followed:
        return Picture(name, b"", 0, "", _PATH_ONLY)
    if row.path is None:
        return Picture(name, ROW + b"%d" % row.number, picture_bytes, stamp)
    if _is_foreign(row.path):
        return Picture(name, b"", 0, "", _FOREIGN)
    target = targets[row.path]
    if target is None:
        return Picture(name, b"", 0, "", _MISSING)
    return Picture(name, os.fsencode(target.key), target.length, target.stamp)


def _is_foreign(path: str) -> bool:
    return "://" in path and not path.startswith(S3)


def _in_bucket(source: str, scratch: Path) -> Listing:
    from model.data.own.places.objects import stamp_of as stamp_of_object
    from model.data.remote.s3_data import look  # boto3 takes a while to import

    address = look(source)
    if address.is_object:
        path, stamp = _brought(address.download, address.key, scratch, stamp_of_object)
        base = f"{S3}{address.bucket}/{address.key.rpartition('/')[0]}".rstrip("/") + "/"
        return _in_file(path, source, source, stamp, scratch, None, base)
    prefix, pictures = address.prefix, []
    begins, place = len(prefix), f"{S3}{address.bucket}/"
    while address.objects:  # taken from there one by one, or a million of them would be twice in memory
        key, listed = address.objects.popitem()
        name = key[begins:]
        # A folder's marker is an object without bytes whose key ends in a slash.
        if not key.startswith(prefix) or not name or (key.endswith("/") and not listed.size):
            continue
        folder, _, last = name.rpartition("/")
        if _in_hidden(folder) or _hides(last):
            continue
        pictures.append(Picture(name, (place + key).encode(), listed.size, stamp_of_object(listed)))
    pictures.reverse()
    return Listing(Origin("files"), pictures)


@lru_cache(_FOLDERS)
def _in_hidden(folder: str) -> bool:
    return any(map(_hides, folder.split("/")))


def _hides(part: str) -> bool:
    return part not in {".", ".."} and is_hidden(part)


def _download(url: str, scratch: Path) -> tuple[Path, str]:
    from model.data.own.places.objects import stamp_of as stamp_of_object
    from model.data.remote.s3_data import look

    address = look(url)
    if not address.is_object:
        raise DataError(f"{url} is not there any more; bring it back.")
    return _brought(address.download, address.key, scratch, stamp_of_object)


def _brought(
    download: Callable[[str, Path], tuple[Path, object]],
    key: str,
    scratch: Path,
    stamp: Callable[..., str],
) -> tuple[Path, str]:
    path, listed = download(key, scratch)
    return path, stamp(listed)


def _with_limit(picture: Picture) -> Picture:
    if picture.length <= MOST_BYTES or picture.trouble is not None:
        return picture
    sentence = f"It has {picture.length:,} bytes; a picture has at most {MOST_BYTES:,}."
    return picture._replace(trouble=Trouble("too_many_bytes", sentence))
