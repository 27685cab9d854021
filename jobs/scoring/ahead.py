"""Bringing pictures ahead of who decodes them: a few at a time, never more than memory has room for."""

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from jobs.scoring.source.picture import Picture, Trouble
from jobs.scoring.source.readers import Reader
from jobs.scoring.table import Rows

_AHEAD: Final = 4
"""Goes for each thread that are brought, or are being brought, before anyone asks for them."""

_AHEAD_BYTES: Final = 96_000_000
"""As many bytes do they have together, but for one go that has more by itself: by the list's lengths when
they are asked for, and by their own when they are there."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A picture of a shard.

    Attributes:
        rows: Of the shard.
        row: Which of them is the picture's.
        picture: What is to be brought.
    """

    rows: Rows
    row: int
    picture: Picture


class _Go(list[Wanted]):
    """Pictures that are brought together."""

    length = 0
    number = 0


class _Room:
    """What is brought and not taken yet, by its real length: of rows of a Parquet the list has an average."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._held = 0
        self._taken = 0
        self._ended = False

    def wait(self, go: _Go) -> bool:
        """Until a go may be brought; false where nobody wants it any more. The next one always may."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._held <= _AHEAD_BYTES or go.number == self._taken or self._ended
            )
            return not self._ended

    def brought(self, there: list[bytes | Trouble]) -> None:
        """Some are there."""
        with self._changed:
            self._held += _length(there)

    def took(self, there: list[bytes | Trouble]) -> None:
        """Those of one go are decoded."""
        with self._changed:
            self._held -= _length(there)
            self._taken += 1
            self._changed.notify_all()

    def end(self) -> None:
        """Nothing more is wanted."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()


def _length(there: list[bytes | Trouble]) -> int:
    return sum(len(data) for data in there if isinstance(data, bytes))


def brought(wanted: Iterable[Wanted], reader: Reader) -> Iterator[tuple[Wanted, bytes | Trouble]]:
    """Bring pictures in their order.

    Args:
        wanted: Which; asked for as far as there is room ahead.
        reader: Brings them.

    Raises:
        DataError: As `Reader.read`.
    """
    ahead: deque[tuple[_Go, Future[list[bytes | Trouble]]]] = deque()
    pool = ThreadPoolExecutor(reader.threads, thread_name_prefix="fetch")
    room, held = _Room(), 0

    def first() -> Iterator[tuple[Wanted, bytes | Trouble]]:
        nonlocal held
        go, future = ahead.popleft()
        there = future.result()
        yield from zip(go, there, strict=True)
        held -= go.length
        room.took(there)

    try:
        for number, go in enumerate(_goes(wanted, reader.a_go)):
            go.number = number
            while ahead and (len(ahead) >= _AHEAD * reader.threads or held + go.length > _AHEAD_BYTES):
                yield from first()
            held += go.length
            ahead.append((go, pool.submit(_bring, go, reader, room)))
        while ahead:
            yield from first()
    finally:
        room.end()
        pool.shutdown(wait=False, cancel_futures=True)


def _bring(go: _Go, reader: Reader, room: _Room) -> list[bytes | Trouble]:
    if not room.wait(go):
        return []
    there = iter(reader.read([one.picture for one in go if one.picture.trouble is None]))
    data = [one.picture.trouble or next(there) for one in go]
    room.brought(data)
    return data


def _goes(wanted: Iterable[Wanted], at_most: int) -> Iterator[_Go]:
    """Several pictures each, fewer where they are large."""
    go = _Go()
    for one in wanted:
        if go and (len(go) >= at_most or go.length + one.picture.length > _AHEAD_BYTES / _AHEAD / 2):
            yield go
            go = _Go()
        go.append(one)
        go.length += one.picture.length
    if go:
        yield go
