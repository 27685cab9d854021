"""Which connections are closed, and when."""

import math
from dataclasses import dataclass
from typing import Any

import pytest

from image_transformer.http.http1 import connections
from image_transformer.http.http1.connections import to_close

NOW = 1000.0


@dataclass(eq=False)
class Connection:
    due: float = math.inf
    idle_since: float = math.inf
    transport: Any = None


def idle(seconds: float) -> Connection:
    return Connection(NOW + 650 - seconds, NOW - seconds)


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten are open at most, and four places are kept free."""
    monkeypatch.setattr(connections, "LIMIT", 10)
    monkeypatch.setattr(connections, "_SPARE", 4)


def test_what_is_due_is_waited_for() -> None:
    late = Connection(due=NOW - 1)
    assert list(to_close([late, Connection(), Connection(due=NOW + 1), idle(600)], NOW)) == [late]


def test_where_places_run_short_the_longest_idle_go() -> None:
    waiting = [idle(seconds) for seconds in (10, 400, 30, 600)]
    at_work = [Connection() for _ in range(4)]
    assert list(to_close([*waiting, *at_work], NOW)) == [waiting[3], waiting[1]]
    assert list(to_close([*waiting, *at_work[:2]], NOW)) == [], "there are places enough"


def test_who_asked_just_now_stays() -> None:
    assert list(to_close([idle(4) for _ in range(10)], NOW)) == []
    assert len(list(to_close([idle(6) for _ in range(10)], NOW))) == 4


def test_who_is_late_makes_room_too() -> None:
    late = [Connection(due=NOW - 1) for _ in range(3)]
    waiting = [idle(600) for _ in range(6)]
    assert list(to_close([*late, *waiting], NOW)) == late
