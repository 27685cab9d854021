"""Bringing ahead: in order, and no more than memory has room for, whatever the list thinks of lengths."""

import threading
from collections.abc import Iterator, Sequence

import pytest
from scoring_home import pictures_of

from jobs.scoring import ahead
from jobs.scoring.ahead import Wanted, brought
from jobs.scoring.source.picture import Picture, Trouble
from jobs.scoring.table import Rows

COUNT = 400
DATA = bytes(100_000)
ROOM = 1_000_000


class Reader:
    """Pictures of which the list thinks that they are a hundredth as large; keeps how many are there."""

    def __init__(self, threads: int = 1, a_go: int = 4) -> None:
        self.threads, self.a_go = threads, a_go
        self.there = self.most = 0
        self.lock = threading.Lock()

    def read(self, pictures: Sequence[Picture]) -> list[bytes | Trouble]:
        with self.lock:
            self.there += len(pictures)
            self.most = max(self.most, self.there)
        return [DATA + picture.name.encode() for picture in pictures]


def wanted(count: int = COUNT) -> Iterator[Wanted]:
    pictures = pictures_of(count, len(DATA) // 100)
    rows = Rows(0, pictures, 2, scored=False)
    return (Wanted(rows, row, picture) for row, picture in enumerate(pictures))


@pytest.mark.parametrize(("threads", "a_go"), [(1, 4), (4, 1)])
def test_what_is_larger_than_the_list_says_waits_for_room(
    monkeypatch: pytest.MonkeyPatch, threads: int, a_go: int
) -> None:
    monkeypatch.setattr(ahead, "_AHEAD_BYTES", ROOM)
    monkeypatch.setattr(ahead, "_AHEAD", 50)  # else the number of goes is less than the room
    reader = Reader(threads, a_go)
    found = []
    for one, data in brought(wanted(), reader):
        assert isinstance(data, bytes)
        found.append(data.removeprefix(DATA).decode())
        assert found[-1] == one.picture.name
        with reader.lock:
            reader.there -= 1
    assert found == [f"{number:06}.jpg" for number in range(COUNT)]
    # As many as have room, and of each thread those that it brings, whose length it learns by that.
    assert reader.most <= ROOM // len(DATA) + a_go * (threads + 2)


def test_nobody_waits_for_room_after_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "_AHEAD_BYTES", len(DATA))
    before = set(threading.enumerate())
    pictures = brought(wanted(), Reader())
    next(pictures)
    own = set(threading.enumerate()) - before
    assert own
    pictures.close()  # type: ignore[attr-defined]  # a generator
    for thread in own:
        thread.join(10)
        assert not thread.is_alive()
