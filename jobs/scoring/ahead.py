"""Bringing pictures ahead of who decodes them: a few at a time, never more than memory has room for."""

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
"""As many bytes do they have together, but for one go that has more by itself."""


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
    held = 0
    try:
        for go in _goes(wanted, reader.a_go):
            while ahead and (len(ahead) >= _AHEAD * reader.threads or held + go.length > _AHEAD_BYTES):
                first, future = ahead.popleft()
                yield from zip(first, future.result(), strict=True)
                held -= first.length
            held += go.length
            ahead.append((go, pool.submit(_bring, go, reader)))
        while ahead:
            first, future = ahead.popleft()
            yield from zip(first, future.result(), strict=True)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _bring(go: _Go, reader: Reader) -> list[bytes | Trouble]:
    there = iter(reader.read([one.picture for one in go if one.picture.trouble is None]))
    return [one.picture.trouble or next(there) for one in go]


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
