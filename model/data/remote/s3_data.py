"""Training data in any S3: what lies at an address, and its objects, whole, or a sentence that says why."""

import contextlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from model.data.cifar10 import BATCH_FILES, BATCHES_FOLDER
from model.data.errors import DataAwayError, DataError
from model.data.remote.s3_client import Listed, again, connect, is_temporary, list_objects, whole_answer
from model.data.remote.s3_errors import FAULTS, Asked, CutShortError
from model.data.remote.s3_explain import explain

_BLOCK_BYTES: Final = 1 << 20


@dataclass(frozen=True)
class Address:
    """What lies at an `s3://` address.

    Attributes:
        url: As the user wrote it.
        client: To ask for more.
        asked: For sentences.
        bucket: Its name.
        key: Behind the bucket, as the user wrote it.
        objects: All whose keys begin with it.
    """

    url: str
    client: Any
    asked: Asked
    bucket: str
    key: str
    objects: Mapping[str, Listed]

    @property
    def prefix(self) -> str:
        """What the keys of the folder at this address begin with."""
        return self.key if not self.key or self.key.endswith("/") else f"{self.key}/"

    @property
    def is_object(self) -> bool:
        """Whether an object has that very key."""
        return self.key in self.objects and not self.key.endswith("/")

    @property
    def batches(self) -> list[str]:
        """The keys of CIFAR-10's official batches, where they all are here."""
        return [] if self.is_object else _archive_or_batches(self.objects, self.key)

    def nothing(self) -> DataError:
        """What to say where there is nothing to learn from."""
        return DataError(
            f"{self.url} holds neither an archive nor data_batch_1 to test_batch; name what does, as in "
            "s3://BUCKET/cifar-10-python.tar.gz, or what has a folder of pictures for each class."
        )

    def download(self, key: str, folder: Path) -> Path:
        """Bring one object to this disk.

        Raises:
            DataAwayError: The bucket cannot be reached at present, or the session has ended.
            DataError: The object cannot be read, or not be kept.
        """
        target = folder / Path(key).name
        with explained(self.asked, key):
            try:
                _download(self.client, self.bucket, key, self.objects[key].size, target)
            except OSError as error:
                if isinstance(error, FAULTS):
                    raise
                raise DataError(
                    f"{self.url} cannot be kept in {folder} ({error.strerror}); make room there, or "
                    "set TMPDIR."
                ) from error
        return target


@contextlib.contextmanager
def explained(asked: Asked, what: str) -> Iterator[None]:
    """Turn what an S3 or the way to it says into a sentence.

    Raises:
        DataAwayError: It cannot be reached at present, or the session has ended.
        DataError: It refuses.
    """
    try:
        yield
    except DataError:
        raise
    except FAULTS as error:
        fault = explain(error, asked, what)
        away = fault.kind in {"unreachable", "session"}
        raise (DataAwayError if away else DataError)(fault.sentence) from error


def look(url: str) -> Address:
    """See what lies at `s3://bucket/key`.

    Endpoint, region and credentials come from the usual AWS_* variables (AWS_ENDPOINT_URL for MinIO).

    Raises:
        DataAwayError: The bucket cannot be reached at present, or the session has ended.
        DataError: The bucket cannot be listed.
    """
    parts = urlsplit(url, allow_fragments=False)
    bucket, key = parts.netloc, parts.path.lstrip("/")
    if parts.query:
        key += f"?{parts.query}"
    if not bucket:
        raise DataError(f"{url} names no bucket; write s3://BUCKET/PATH.")
    with explained(Asked(url, ""), key):
        s3 = connect()
    asked = Asked(url, str(s3.meta.endpoint_url), is_temporary(s3))
    with explained(asked, key):
        return Address(url, s3, asked, bucket, key, list_objects(s3, bucket, key))


def _archive_or_batches(keys: Collection[str], key: str) -> list[str]:
    if key in keys and not key.endswith("/"):
        return [key]
    prefix = key if not key or key.endswith("/") else f"{key}/"
    for inner in (prefix, f"{prefix}{BATCHES_FOLDER}/"):
        batches = [f"{inner}{name}" for name in BATCH_FILES]
        if all(batch in keys for batch in batches):
            return batches
    return []


@again
def get_object(s3: Any, bucket: str, key: str, size: int) -> bytes:
    """An object's bytes.

    Raises:
        One of `model.data.remote.s3_errors.FAULTS`: There is no whole answer.
    """
    with whole_answer():
        data: bytes = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    if len(data) != size:
        raise CutShortError
    return data


@again
def _download(s3: Any, bucket: str, key: str, size: int, target: Path) -> None:
    with whole_answer(), target.open("wb") as file:
        for block in s3.get_object(Bucket=bucket, Key=key)["Body"].iter_chunks(_BLOCK_BYTES):
            file.write(block)
    if target.stat().st_size != size:
        raise CutShortError
