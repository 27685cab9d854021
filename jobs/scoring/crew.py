"""The workers of one machine: started, given shards, replaced where one is lost."""

import contextlib
import multiprocessing
import random
import signal
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any, Final

from jobs.errors import JobFailedError
from jobs.scoring import worker
from jobs.scoring.destination import Destination
from jobs.scoring.plan import Plan
from jobs.scoring.worker import Job, Said, Task

_MOST_LOST: Final = 10
"""Workers lost without a shard in between: then it is not the pictures."""

_NONE: Final = -2
"""No shard, and none before or after one."""

_LOOK_SECONDS: Final = 1.0
_END_SECONDS: Final = 10.0

_CONTEXT: Final = multiprocessing.get_context("spawn")

Told = Callable[[int], None]
"""Is told how many more pictures are answered."""


@dataclass
class _Member:
    """A worker process.

    Attributes:
        line: To it.
        at: The shard and row that it decodes.
        given: Shards that it has and has not written.
        last: The shard that it was given last.
    """

    process: Any
    line: Connection
    at: Any
    given: set[int] = field(default_factory=set)
    last: int = _NONE


class Crew:
    """Has the shards of a plan scored by worker processes."""

    def __init__(self, job: Job, destination: Destination, plan: Plan, workers: int) -> None:
        """Nobody is started yet.

        Args:
            job: What each worker is started with.
            destination: Where the result lies.
            plan: What is to be done.
            workers: How many processes.
        """
        self._job, self._destination, self._plan, self._workers = job, destination, plan, workers
        self._todo: set[int] = set()
        self._again: deque[int] = deque()
        self._first = _NONE
        self._done: set[int] = set()
        self._looked = 0.0
        self._fallen: Counter[tuple[int, int]] = Counter()
        self._lost = 0
        self._members: list[_Member] = []

    def work(self, shards: set[int], tell: Told) -> None:
        """Score shards; those that somebody else writes meanwhile are passed over.

        Raises:
            JobFailedError: A worker failed, or workers are lost again and again.
        """
        self._todo = set(shards)
        # Two scorings into one place begin at different shards, so that they share the work.
        self._first = random.choice(sorted(shards)) if shards else _NONE  # noqa: S311
        try:
            for _ in range(min(self._workers, len(shards))):
                self._members.append(self._start())
            while self._members:
                self._listen(tell)
        finally:
            self._end()

    def _listen(self, tell: Told) -> None:
        ready = wait([member.line for member in self._members], timeout=_LOOK_SECONDS)
        for member in [member for member in self._members if member.line in ready]:
            try:
                said = member.line.recv()
            except (EOFError, OSError):
                self._gone(member)
                continue
            self._heard(member, said, tell)

    def _heard(self, member: _Member, said: Said, tell: Told) -> None:
        if said.kind == "next":
            task = self._next(member)
            if task is not None:
                member.given.add(task.shard)
                member.last = task.shard
            with contextlib.suppress(OSError):  # it is gone: its line says so next
                member.line.send(task)
        elif said.kind == "row":
            tell(said.pictures)
        elif said.kind == "done":
            member.given.discard(said.shard)
            self._done.add(said.shard)
            self._lost = 0
        else:
            raise JobFailedError(said.sentence, said.code)

    def _next(self, member: _Member) -> Task | None:
        """The next shard for a worker that nobody has written."""
        if time.monotonic() - self._looked > _LOOK_SECONDS:
            self._done |= self._destination.done(self._plan)
            self._todo -= self._done
            self._looked = time.monotonic()
        shard = self._lost_one()
        if shard is None:
            if not self._todo:
                return None
            shard = self._one_for(member)
            self._todo.remove(shard)
        fallen = (row for (of, row), times in self._fallen.items() if of == shard and times > 1)
        return Task(shard, frozenset(fallen))

    def _lost_one(self) -> int | None:
        """A shard whose worker was lost, if there is one."""
        while self._again:
            shard = self._again.popleft()
            if shard not in self._done:
                return shard
        return None

    def _one_for(self, member: _Member) -> int:
        """The shard behind a worker's last one; else one that is far from all others' next.

        Rows of a Parquet are read from the beginning of their group on, so whoever has neighbouring shards
        reads no row for nothing.
        """
        if member.last + 1 in self._todo:
            return member.last + 1
        if self._first in self._todo:
            first, self._first = self._first, _NONE
            return first
        runs = _runs(self._todo)
        longest = max(length for _, length in runs)
        # Of a machine that has every fourth shard all runs have one: two scorings would take the same again.
        start, length = random.choice([run for run in runs if run[1] == longest])  # noqa: S311
        ahead_of_another = any(other.last + 1 == start for other in self._members if other is not member)
        return start + length // 2 if ahead_of_another else start

    def _gone(self, member: _Member) -> None:
        """A worker has ended: with nothing left to do, or by what it decoded, or killed."""
        member.process.join()
        self._members.remove(member)
        member.line.close()
        if not member.given and member.process.exitcode == 0:
            return
        shard, row = member.at
        if shard in member.given:
            self._fallen[shard, row] += 1
        self._lost += 1
        if self._lost > _MOST_LOST:
            raise JobFailedError(
                f"{self._lost} workers were lost one after another, the last with {_ending(member.process)}; "
                "look at this machine's memory and log, and start it again: it goes on from what is done.",
                None,
            )
        self._again.extend(sorted(member.given))
        self._members.append(self._start())

    def _start(self) -> _Member:
        ours, theirs = _CONTEXT.Pipe()
        at = _CONTEXT.RawArray("q", [-1, -1])
        process = _CONTEXT.Process(target=worker.main, args=(self._job, theirs, at), daemon=True)
        with _held_back():
            process.start()
        theirs.close()
        return _Member(process, ours, at)

    def _end(self) -> None:
        for member in self._members:
            member.process.terminate()
        for member in self._members:
            member.process.join(_END_SECONDS)
            if member.process.is_alive():
                member.process.kill()
                member.process.join()
            member.line.close()
        self._members.clear()


def _runs(shards: set[int]) -> list[tuple[int, int]]:
    """Where neighbouring shards begin, and how many they are."""
    runs: list[tuple[int, int]] = []
    for shard in sorted(shards):
        start, length = runs[-1] if runs else (_NONE, 0)
        if runs and shard == start + length:
            runs[-1] = (start, length + 1)
        else:
            runs.append((shard, 1))
    return runs


@contextlib.contextmanager
def _held_back() -> Iterator[None]:
    """A process that begins inside is not ended by Ctrl-C itself: whoever started it ends it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _ending(process: Any) -> str:
    code = process.exitcode
    return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
