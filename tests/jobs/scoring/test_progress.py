"""How far a scoring by many machines is, by the shards that are there."""

from pathlib import Path

import pytest
from rich.console import Console
from scoring_home import make_plan, pictures_of

from export.errors import AccessError
from export.store.blobs import FolderBlobs
from jobs.scoring.destination import PLAN, Destination, shard_key
from jobs.scoring.progress import shards_shown


class Clock:
    """Goes on when the test says so."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def shown(console: Console) -> list[str]:
    said = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    return [line for line in said if line]


@pytest.fixture
def console() -> Console:
    import io

    return Console(file=io.StringIO(), width=200)


def test_a_line_for_each_look_that_finds_more_shards(tmp_path: Path, console: Console) -> None:
    plan, _ = make_plan(pictures_of(1_000))
    assert plan.shards == (256, 256, 256, 232)
    place, clock = FolderBlobs(tmp_path), Clock()
    with shards_shown(lambda: Destination(place), console, clock) as look:
        look()  # before there is a plan
        place.put_if_absent(PLAN, plan.to_json())
        for number, seconds in ((0, 10), (None, 20), (1, 30), (3, 31), (None, 40)):
            if number is not None:
                place.put_if_absent(shard_key(number), b"")
            clock.now = seconds
            look()
    assert shown(console) == [
        "1 of 4 shards are there",
        "2 of 4 shards are there  13 images/s  0:38 min left",
        "3 of 4 shards are there  16 images/s  0:16 min left",  # not at 31 s, a second after the look before
    ]


def test_who_may_not_read_the_result_waits_without_it(console: Console) -> None:
    tried = []

    def refused() -> Destination:
        tried.append(clock.now)
        raise AccessError("no right")

    clock = Clock()
    with shards_shown(refused, console, clock) as look:
        for seconds in (0, 10, 59, 60):
            clock.now = seconds
            look()
    assert shown(console) == []
    assert tried == [0, 60]
