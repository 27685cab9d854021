"""From what a user names to the place that holds the pictures."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

from model.data import cifar10
from model.data.errors import DataError
from model.data.own.decoding import workers
from model.data.own.places.archive import Archive
from model.data.own.places.files import Place
from model.data.own.places.folder import Folder, stamp_of
from model.data.own.places.manifest import MANIFESTS, Manifest

_S3: Final = "s3://"


@contextlib.contextmanager
def opened(source: str) -> Iterator[Place]:
    """Find out what a source is; what had to be brought onto this disk for it is removed afterwards.

    Args:
        source: A folder, an archive, a CSV or Parquet, or the `s3://` address of one of them.

    Raises:
        DataAwayError: A bucket cannot be reached at present.
        DataError: There is nothing, or it cannot be looked at.
    """
    if source.startswith(_S3):
        with tempfile.TemporaryDirectory(prefix="cnn-image-data-") as scratch:
            yield _in_bucket(source, Path(scratch))
    else:
        yield _on_disk(source)


def on_this_disk(source: str) -> Path:
    """Where a source lies; `~` and `~ann` are home folders, where there are such."""
    path = Path(source)
    try:
        return path.expanduser()
    except RuntimeError:  # nobody is called so, but a folder may be
        return path


def identity(source: str) -> str:
    """Which place a source is, whatever folder one stands in."""
    return source if source.startswith(_S3) else str(on_this_disk(source).absolute())


def official(place: Place) -> Path | None:
    """CIFAR-10's own files, where a place is of them: a folder of the batches, or an archive.

    Raises:
        DataError: An archive is truncated, or cannot be fetched.
    """
    if isinstance(place, Folder) and cifar10.is_folder(place.path):
        return place.path
    if isinstance(place, Archive) and cifar10.is_archive(place.path):
        return place.path
    return None


def _on_disk(source: str) -> Place:
    path = on_this_disk(source)
    try:
        status = path.stat()
    except OSError as error:
        if "://" in source:
            raise DataError(
                f"{source} is an address that is not fetched; download it and name the file, or name an "
                "s3:// address."
            ) from error
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            raise DataError(
                f"{path} does not exist; name a folder or an archive of pictures by class, a CSV or Parquet "
                "that lists them, or CIFAR-10's batches."
            ) from error
        raise DataError(f"{path} cannot be read ({error.strerror}); ask its owner for the right.") from error
    if path.is_dir():
        return Folder(path, source, workers())
    if path.suffix.casefold() in MANIFESTS:
        return Manifest(lambda: (path, stamp_of(status)), stamp_of(status), source, workers())
    return Archive(lambda: (path, stamp_of(status)), stamp_of(status), source, workers())


def _in_bucket(source: str, scratch: Path) -> Place:
    from model.data.own.places import bucket, objects
    from model.data.remote import s3_data  # boto3 takes a while to import

    address = s3_data.look(source)
    if address.is_object:
        mark = objects.stamp_of(address.objects[address.key])

        def bring() -> tuple[Path, str]:
            path, brought = address.download(address.key, scratch)
            return path, objects.stamp_of(brought)

        if PurePosixPath(address.key).suffix.casefold() in MANIFESTS:
            base = f"{_S3}{address.bucket}/{address.key.rpartition('/')[0]}".rstrip("/") + "/"
            return Manifest(bring, mark, source, workers(), base)
        return Archive(bring, mark, source, workers())
    if batches := address.batches:
        for key in batches:
            address.download(key, scratch)
        return Folder(scratch, source, workers())
    return bucket.Bucket(address, source, workers())
