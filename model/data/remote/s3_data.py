"""Training data in any S3: what lies at an address, and its objects, whole, or a sentence that says why."""

import contextlib
import io
import logging
import threading
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Final
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from model.data.cifar10 import BATCH_FILES, BATCHES_FOLDER
from model.data.errors import DataAwayError, DataError
from model.data.remote.patience import Patience
from model.data.remote.s3_client import connect, is_temporary, list_page
from model.data.remote.s3_direct import Direct
from model.data.remote.s3_errors import FAULTS, Asked, code_of
from model.data.remote.s3_explain import explain
from model.data.remote.s3_listed import Listed
from model.data.remote.s3_objects import ChangedError, RemovedError, go_on, look_again
from model.data.remote.told import Told

log = logging.getLogger(__name__)

AT_A_TIME: Final = 32
"""Requests side by side: with 30 ms to an answer, 32 bring twice as many small objects a second as 16."""

_ATTEMPTS: Final = 2
"""Of each request by botocore; `Patience` asks again."""

_STATES: Final = 3
"""An object that was written again more often while it was read is given up."""

_MEGABYTE: Final = 1_000_000


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
        patience: Waits where the S3 is away.
        direct: Brings objects.
    """

    url: str
    client: Any
    asked: Asked
    bucket: str
    key: str
    objects: dict[str, Listed]
    patience: Patience
    direct: Direct

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

    def read(
        self, key: str, listed: Listed, most: int, stop: threading.Event | None = None
    ) -> tuple[bytes, Listed]:
        """An object's bytes, in any thread, and the state that they are of; see `s3_objects`.

        Args:
            key: The object's.
            listed: The state it was in when it was looked at; a later one is taken if there is one.
            most: So many bytes a later one may have.
            stop: Ends the waiting for an S3 that is away.

        Raises:
            RemovedError: It is gone.
            ChangedError: It has become too large, or changes faster than it is read.
            DataAwayError: The bucket cannot be reached at present, or the session has ended.
            DataError: The object may not be read.
        """
        sink = io.BytesIO()
        with explained(self.asked, key):
            listed = self._whole(key, listed, sink, most, stop)
        return sink.getvalue(), listed

    def download(self, key: str, folder: Path) -> tuple[Path, Listed]:
        """Bring one object to this disk; gives also the state that it is of.

        Raises:
            DataAwayError: The bucket cannot be reached at present, or the session has ended.
            DataError: The object cannot be read, or not be kept.
        """
        target, listed = folder / Path(key).name, self.objects[key]
        told = Told()

        def moved(there: int) -> None:
            told.now_and_then(
                "%s: %.1f of %.1f MB are fetched.", self.url, there / _MEGABYTE, listed.size / _MEGABYTE
            )

        with explained(self.asked, key):
            try:
                with target.open("wb") as file:
                    now = self._whole(key, listed, file, moved=moved)
            except OSError as error:
                if isinstance(error, FAULTS):
                    raise
                raise DataError(
                    f"{self.url} cannot be kept in {folder} ({error.strerror}); make room there, or "
                    "set TMPDIR."
                ) from error
            except RemovedError as error:
                raise DataError(
                    f"{key!r} in {self.url} was removed before it was read; bring it back, or name "
                    "other data."
                ) from error
            except ChangedError as error:
                raise DataAwayError(
                    f"{key!r} in {self.url} is written again and again while it is read; start again when "
                    "that is done."
                ) from error
        if now != listed:
            log.warning("%r in %s was written again meanwhile; it is taken as it is now.", key, self.url)
        return target, now

    def _whole(
        self,
        key: str,
        listed: Listed,
        sink: BinaryIO,
        most: int | None = None,
        stop: threading.Event | None = None,
        moved: Callable[[int], None] | None = None,
    ) -> Listed:
        """Write all of an object into `sink`, of whichever state it is in."""
        furthest = 0

        def on(there: int) -> None:
            nonlocal furthest
            if there > furthest:  # not where the same is read again
                furthest = there
                self.patience.answered()
            if moved:
                moved(there)

        def act() -> None:
            try:
                go_on(self.direct, self.bucket, key, listed, sink, on)
            except ClientError as error:
                # In no S3's words: of one that is coming up, or that says no more. A listing of it does.
                if code_of(error) == "404" and key not in list_page(self.client, self.bucket, key).objects:
                    raise RemovedError from error
                raise

        for _ in range(_STATES):
            try:
                self.patience.ask(key, act, stop)
            except ChangedError:
                listed = self.patience.ask(key, partial(look_again, self.client, self.bucket, key), stop)
                if most is not None and listed.size > most:
                    break
                sink.seek(0)
                sink.truncate()
            else:
                return listed
        raise ChangedError


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
        s3 = connect(AT_A_TIME, _ATTEMPTS)
    asked = Asked(url, str(s3.meta.endpoint_url), is_temporary(s3))
    patience = Patience(asked)
    with explained(asked, key):
        objects = _list(s3, bucket, key, patience, url)
        return Address(url, s3, asked, bucket, key, objects, patience, Direct(s3))


def _list(s3: Any, bucket: str, key: str, patience: Patience, url: str) -> dict[str, Listed]:
    """All objects whose keys begin with `key`; where the connection breaks, the next page is asked again."""
    objects: dict[str, Listed] = {}
    told, token = Told(), ""
    while True:
        page = patience.ask(key, partial(list_page, s3, bucket, key, token))
        objects |= page.objects
        if not page.next:
            return objects
        token = page.next
        told.now_and_then("%s: %s objects are listed so far.", url, f"{len(objects):,}")


def _archive_or_batches(keys: Collection[str], key: str) -> list[str]:
    if key in keys and not key.endswith("/"):
        return [key]
    prefix = key if not key or key.endswith("/") else f"{key}/"
    for inner in (prefix, f"{prefix}{BATCHES_FOLDER}/"):
        batches = [f"{inner}{name}" for name in BATCH_FILES]
        if all(batch in keys for batch in batches):
            return batches
    return []
