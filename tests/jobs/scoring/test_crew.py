"""Who leads the workers: what becomes of a shard whose worker is lost, and of a picture that ends workers."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from scoring_home import make_plan, pictures_of

from export.store.blobs import FolderBlobs
from jobs.errors import JobFailedError
from jobs.scoring.crew import Crew, _Member
from jobs.scoring.destination import Destination
from jobs.scoring.worker import Said, Task


class Line:
    """To a worker that is none: keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def send(self, task: Any) -> None:
        self.told.append(task)

    def close(self) -> None:
        """There is nothing to be closed."""


def member(exitcode: int | None = None) -> _Member:
    process = SimpleNamespace(join=lambda: None, exitcode=exitcode)
    return _Member(process, Line(), [-1, -1])  # type: ignore[arg-type]


@pytest.fixture
def crew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Crew:
    """Of a plan of two shards, whose workers are never started."""
    plan, _ = make_plan(pictures_of(500))
    crew = Crew(None, Destination(FolderBlobs(tmp_path)), plan, 1)  # type: ignore[arg-type]
    crew._todo.extend((0, 1))
    monkeypatch.setattr(crew, "_start", member)
    return crew


def give(crew: Crew, to: _Member) -> Task | None:
    crew._heard(to, Said("next"), lambda more: None)
    task: Task | None = to.line.told[-1]  # type: ignore[attr-defined]
    return task


def lose(crew: Crew, one: _Member, row: int) -> None:
    """It is killed while it decodes that row of its first shard."""
    one.at = [min(one.given), row]
    one.process.exitcode = -9
    crew._gone(one)


def test_what_a_lost_worker_had_is_given_out_again_and_first(crew: Crew) -> None:
    crew._members = [member()]
    (one,) = crew._members
    assert give(crew, one) == Task(0)
    lose(crew, one, row=5)
    (other,) = crew._members
    assert other is not one
    assert [give(crew, other), give(crew, other), give(crew, other)] == [Task(0), Task(1), None]


def test_a_picture_that_ends_two_workers_is_left_out_by_the_third(crew: Crew) -> None:
    crew._members = [member()]
    for row in (5, 7, 5):
        (one,) = crew._members
        give(crew, one)
        lose(crew, one, row)
    assert give(crew, crew._members[0]) == Task(0, frozenset({5}))


def test_workers_that_are_lost_without_end_are_a_fault(crew: Crew) -> None:
    crew._members = [member()]
    for row in range(10):
        give(crew, crew._members[0])
        lose(crew, crew._members[0], row)
    give(crew, crew._members[0])
    with pytest.raises(
        JobFailedError, match="11 workers were lost one after another, the last with signal 9"
    ):
        lose(crew, crew._members[0], row=10)


def test_what_somebody_else_has_written_is_passed_over(crew: Crew, tmp_path: Path) -> None:
    (tmp_path / "part-00000.parquet").write_bytes(b"")
    assert give(crew, member()) == Task(1)


def test_what_a_worker_says_failed_ends_it_all(crew: Crew) -> None:
    with pytest.raises(JobFailedError, match=r"It is away\.") as caught:
        crew._heard(member(), Said("failed", code=69, sentence="It is away."), lambda more: None)
    assert caught.value.exit_code == 69
