"""The ledger says what should be served, to everyone alike."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from export.errors import IntegrityError, LostRaceError
from export.store.blobs import Blobs
from export.store.ledger import Action, Entry, Ledger


def write(ledger: Ledger, *decisions: tuple[Action, int | None]) -> None:
    for action, version in decisions:
        ledger.record(action, version, by="ann", reason="because", after=len(ledger.entries()))


def test_an_empty_ledger_serves_nothing(blobs: Blobs) -> None:
    ledger = Ledger(blobs)
    assert ledger.entries() == []
    assert ledger.served() is None
    assert ledger.previous() is None


def test_an_entry_is_read_as_it_was_written(blobs: Blobs) -> None:
    ledger = Ledger(blobs)
    entry = Entry(
        number=1,
        action="promote",
        version=3,
        previous=None,
        by="ann",
        at=datetime(2026, 11, 3, tzinfo=UTC),
        reason="better by 2 points",
    )
    assert ledger.append(entry, after=0) == entry
    assert Ledger(blobs).entries() == [entry]
    assert Ledger(blobs).served() == 3


def test_a_recorded_decision_knows_its_number_and_what_served_before(blobs: Blobs) -> None:
    write(Ledger(blobs), ("promote", 3), ("promote", 5))
    first, second = Ledger(blobs).entries()
    assert (first.number, first.version, first.previous) == (1, 3, None)
    assert (second.number, second.version, second.previous) == (2, 5, 3)
    assert second.at.tzinfo is not None


@pytest.mark.parametrize(
    ("decisions", "serving", "previous"),
    [
        ([("promote", 1)], 1, None),
        ([("promote", 1), ("promote", 4)], 4, 1),
        ([("promote", 1), ("promote", 4), ("rollback", 1)], 1, 4),
        # 7 failed and never served, so a rollback from 4 goes to 1
        ([("promote", 1), ("promote", 4), ("promote", 7), ("return", 4)], 4, 1),
        ([("promote", 1), ("return", None)], None, None),
        ([("promote", 1), ("return", None), ("promote", 2)], 2, None),
        ([("promote", 1), ("promote", 4), ("rollback", 1), ("return", 4)], 4, 1),
    ],
)
def test_served_and_what_last_served(
    blobs: Blobs, decisions: list[tuple[Action, int | None]], serving: int | None, previous: int | None
) -> None:
    write(Ledger(blobs), *decisions)
    assert (Ledger(blobs).served(), Ledger(blobs).previous()) == (serving, previous)


def test_of_two_that_decide_on_the_same_entry_one_loses(blobs: Blobs) -> None:
    write(Ledger(blobs), ("promote", 1))

    def promote(version: int) -> int | None:
        try:
            Ledger(blobs).record("promote", version, by="ann", reason="", after=1)
        except LostRaceError:
            return None
        return version

    with ThreadPoolExecutor(8) as pool:
        won = [version for version in pool.map(promote, range(2, 10)) if version]
    assert len(won) == 1
    assert [entry.version for entry in Ledger(blobs).entries()] == [1, *won]


def test_a_decision_on_an_old_ledger_or_one_that_is_not_there_is_refused(blobs: Blobs) -> None:
    write(Ledger(blobs), ("promote", 1), ("promote", 2))
    for after in (0, 1, 3):
        with pytest.raises(LostRaceError, match="Someone else promoted"):
            Ledger(blobs).record("promote", 9, by="ann", reason="", after=after)
    assert Ledger(blobs).served() == 2


def test_a_missing_entry_is_named(blobs: Blobs) -> None:
    write(Ledger(blobs), ("promote", 1), ("promote", 2), ("promote", 3))
    blobs.delete("ledger/000002.json")
    with pytest.raises(IntegrityError, match=r"ledger/000002\.json is missing"):
        Ledger(blobs).entries()


@pytest.mark.parametrize("content", [b"", b"{}", b"\x80\x04pickle", b'{"number": 1}'])
def test_a_broken_entry_is_named(blobs: Blobs, content: bytes) -> None:
    blobs.put_if_absent("ledger/000001.json", content)
    with pytest.raises(IntegrityError, match=r"ledger/000001\.json in .* is no ledger entry"):
        Ledger(blobs).served()


def test_a_follower_reads_each_entry_once(blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger(blobs)
    write(ledger, ("promote", 1), ("promote", 2))
    read: list[str] = []
    get = blobs.get
    monkeypatch.setattr(blobs, "get", lambda key: read.append(key) or get(key))
    follower = Ledger(blobs)
    assert [follower.served() for _ in range(3)] == [2, 2, 2]
    assert read == ["ledger/000001.json", "ledger/000002.json"]
