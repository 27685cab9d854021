"""Who leads the workers: what becomes of a shard whose worker is lost, and of a picture that ends workers."""

import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from scoring_home import make_plan, pictures_of

from export.store.blobs import FolderBlobs
from jobs.errors import JobFailedError
from jobs.scoring.crew import Crew, _Member
from jobs.scoring.destination import Destination
from jobs.scoring.score import shards_of
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
    crew._todo = {0, 1}
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


def test_each_worker_has_neighbouring_shards(crew: Crew, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.choice", lambda runs: runs[0])
    crew._todo = set(range(12))
    crew._members = one, other, late = [member() for _ in range(3)]
    for who in (one, other) * 3 + (late,) * 6:
        give(crew, who)
    assert [task.shard for task in one.line.told] == [0, 1, 2]  # type: ignore[attr-defined]
    assert [task.shard for task in other.line.told] == [6, 7, 8]  # type: ignore[attr-defined]
    # The third begins in the middle of what the first has before it, and takes the rest from its front.
    assert [task.shard for task in late.line.told] == [4, 5, 10, 11, 3, 9]  # type: ignore[attr-defined]
    assert crew._todo == set()


def test_two_scorings_share_shards_that_are_no_neighbours(crew: Crew) -> None:
    """As of a machine that has every fourth one; each looks once what is there, and then at its own alone."""
    took = []
    for _ in range(2):
        crew._todo = set(range(0, 4000, 4))
        one = member()
        took.append({task.shard for task in (give(crew, one) for _ in range(500)) if task})
    assert 150 < len(took[0] & took[1]) < 350  # 250 by chance; 500 if both go the same way


@pytest.mark.parametrize("machines", [1, 2, 3, 7, 20])
@pytest.mark.parametrize("kind", ["files", "rows"])
def test_machines_share_all_shards(kind: str, machines: int) -> None:
    plan, _ = make_plan(pictures_of(5_000))
    plan = plan.model_copy(update={"kind": kind})
    shares = [sorted(shards_of(plan, (this, machines))) for this in range(machines)]
    assert sorted(itertools.chain(*shares)) == list(range(len(plan.shards)))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    step = machines if kind == "files" else 1
    assert all(after - before == step for share in shares for before, after in itertools.pairwise(share))


def test_what_somebody_else_has_written_is_passed_over(crew: Crew, tmp_path: Path) -> None:
    (tmp_path / "part-00000.parquet").write_bytes(b"")
    assert give(crew, member()) == Task(1)


def test_what_a_worker_says_failed_ends_it_all(crew: Crew) -> None:
    with pytest.raises(JobFailedError, match=r"It is away\.") as caught:
        crew._heard(member(), Said("failed", code=69, sentence="It is away."), lambda more: None)
    assert caught.value.exit_code == 69
