"""Files that are objects of an S3: brought side by side, ahead of whoever decodes them."""

import dataclasses
import logging
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Final, NamedTuple

from model.data.errors import DataAwayError
from model.data.own.places.files import MOST_BYTES, File, Read, UnreadableError
from model.data.remote.s3_data import AT_A_TIME, Address
from model.data.remote.s3_listed import Listed
from model.data.remote.s3_objects import ChangedError, RemovedError

log = logging.getLogger(__name__)

_AHEAD: Final = 4 * AT_A_TIME
"""Objects that are fetched, or are being fetched, before anyone asks for them."""

_AHEAD_BYTES: Final = 64_000_000
"""As many bytes do they have together, but for one object that has more by itself."""

_NAMES_IN_A_NOTE: Final = 3


class Object(NamedTuple):
    """A file and where it lies.

    Attributes:
        file: Its stamp begins with what `stamp_of` gave, and ends with its key where that is a part of it.
        address: What its bucket is asked by.
        key: In the bucket.
    """

    file: File
    address: Address
    key: str


class Meanwhile:
    """What of a place was found to be another than was listed; each is named once."""

    def __init__(self) -> None:
        """Nothing was."""
        self._changed: dict[str, bool] = {}  # written to by many threads, which a dict allows
        self._gone: dict[str, bool] = {}

    def changed(self, name: str) -> None:
        """An object was written again."""
        self._changed.setdefault(name, False)

    def gone(self, name: str) -> None:
        """An object is not there any more."""
        self._gone.setdefault(name, False)

    def say(self, source: str) -> None:
        """Name those that have not been."""
        _say(
            source,
            self._changed,
            "changed while it was read, and is taken as it is now",
            "changed while they were read, and are taken as they are now",
        )
        _say(
            source,
            self._gone,
            "was removed before it was read, and is left out",
            "were removed before they were read, and are left out",
        )


def _say(source: str, found: dict[str, bool], one: str, many: str) -> None:
    if names := [name for name, named in found.items() if not named]:
        found.update(dict.fromkeys(names, True))
        happened = f"1 object {one}" if len(names) == 1 else f"{len(names):,} objects {many}"
        log.warning("%s: %s: %s.", source, happened, _named(names))


def stamp_of(listed: Listed) -> str:
    """What of an object changes when it is written."""
    return f"{listed.size}:{listed.etag}"


def fetched(objects: Iterable[Object], source: str, meanwhile: Meanwhile) -> Iterator[tuple[File, Read]]:
    """Bring objects, in their order; each is whole, of one state, and here when it is given.

    An object that was written again since it was listed is taken as it is by now, and so is its stamp. It is
    named when all are brought, as are those that are gone.

    Args:
        objects: Which.
        source: What the user calls the place.
        meanwhile: The place's own.
    """
    ahead: deque[tuple[int, Future[tuple[File, Read]]]] = deque()
    held, stop = 0, threading.Event()
    pool = ThreadPoolExecutor(AT_A_TIME, thread_name_prefix="fetch")

    def first() -> tuple[File, Read]:
        nonlocal held
        length, future = ahead.popleft()
        held -= length
        wait([future])  # here and not in who decodes: it has pictures to decode meanwhile
        return future.result()

    try:
        for one in objects:
            while ahead and (len(ahead) >= _AHEAD or held + one.file.length > _AHEAD_BYTES):
                yield first()
            held += one.file.length
            ahead.append((one.file.length, pool.submit(_fetch, one, stop, meanwhile)))
        while ahead:
            yield first()
        meanwhile.say(source)
    finally:
        stop.set()  # who waits for an S3 that is away would wait for minutes
        pool.shutdown(cancel_futures=True)


def _fetch(one: Object, stop: threading.Event, meanwhile: Meanwhile) -> tuple[File, Read]:
    file = one.file
    said = file.stamp.removesuffix(f":{file.key}")
    listed = Listed(file.length, said.partition(":")[2])
    try:
        data, now = one.address.read(one.key, listed, MOST_BYTES, stop)
    except RemovedError:
        meanwhile.gone(file.name)
        return file, _unreadable("It was removed before it was read.")
    except ChangedError:
        detail = "It was written again while it was read, to more bytes than a picture has or more than once."
        return file, _unreadable(detail)
    except DataAwayError as error:
        return file, _failing(
            DataAwayError(f"{str(error).removesuffix('.')}; the same command goes on where this one stopped.")
        )
    except Exception as error:  # raised where the bytes are asked for
        return file, _failing(error)
    if now != listed:
        meanwhile.changed(file.name)
        stamp = file.stamp.replace(said, stamp_of(now), 1)
        file = dataclasses.replace(file, length=now.size, stamp=stamp)
    return file, lambda: data


def _unreadable(detail: str) -> Read:
    return _failing(UnreadableError(detail))


def _failing(error: Exception) -> Read:
    def read() -> bytes:
        raise error

    return read


def _named(names: list[str]) -> str:
    more = len(names) - _NAMES_IN_A_NOTE
    return ", ".join(sorted(names)[:_NAMES_IN_A_NOTE]) + (f" and {more:,} more" if more > 0 else "")
