"""One worker process: its shards are brought, decoded, answered and written, each step ahead of the next."""

import contextlib
import logging
import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from export.store.manifest import read_manifest
from jobs.errors import Exit, exit_code
from jobs.scoring.ahead import Wanted, brought
from jobs.scoring.destination import Destination, shard_key
from jobs.scoring.graph import BATCH, Graph
from jobs.scoring.plan import Plan
from jobs.scoring.source.picture import Trouble
from jobs.scoring.source.readers import reader_of
from jobs.scoring.table import Rows
from jobs.settings import Settings
from model.contract import Contract
from model.data.own.places.files import MOST_BYTES
from model.images.decode import decode_squares, read_header
from model.images.errors import ImageError

CRASHED: Final = Trouble("crashed", "Decoding it ended the process twice; save it again with usual settings.")

_TOLD_SECONDS: Final = 0.5


class Job(NamedTuple):
    """What a worker is started with.

    Attributes:
        settings: For the place of the result.
        out: Its address.
        version: Folder of the version on this disk.
        container: The archive or Parquet on this disk.
        threads: For each operator of the graph.
    """

    settings: Settings
    out: str
    version: Path
    container: Path | None
    threads: int


@dataclass(frozen=True)
class Task:
    """A shard to be scored.

    Attributes:
        shard: Its number.
        crashed: Rows whose pictures ended a process already.
    """

    shard: int
    crashed: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Said:
    """What a worker says.

    Attributes:
        kind: `next` asks for a task, `row` tells how far it is, `done` names a shard that is written,
            `failed` is the last word.
        pictures: How many more are answered since it last said so.
        shard: That is written.
        code: The exit code that a failure is worth.
        sentence: What failed.
    """

    kind: str
    pictures: int = 0
    shard: int = -1
    code: int = 0
    sentence: str = ""


def main(job: Job, line: Connection, at: Any) -> None:
    """Body of the process.

    Args:
        job: What it needs.
        line: To the parent: takes `Task` or None, gives `Said`.
        at: Shared int64 `[2]`: the shard and row that are being decoded.
    """
    logging.basicConfig(format="%(message)s", level=logging.WARNING, stream=sys.stderr)
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    said = _Line(line)
    try:
        _Worker(job, said, at).work()
    except Exception as error:
        code = exit_code(error)
        if code is None:
            traceback.print_exc()
        sentence = str(error) if code is not None else f"A worker failed ({type(error).__name__}: {error})."
        with contextlib.suppress(OSError):
            said.send(Said("failed", code=Exit.BUG if code is None else code, sentence=sentence))


def _end_with_parent() -> None:
    """Nobody would take what is done after the parent was killed."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


class _Line:
    """To the parent, for two threads that speak; one listens."""

    def __init__(self, line: Connection) -> None:
        self._line = line
        self._lock = threading.Lock()

    def send(self, said: Said) -> None:
        with self._lock:
            self._line.send(said)

    def task(self) -> Task | None:
        """What is to be done next; None where nothing is left."""
        task: Task | None = self._line.recv()
        return task


class _Worker:
    """See `main`."""

    def __init__(self, job: Job, line: "_Line", at: Any) -> None:
        self._line, self._at = line, at
        self._destination = Destination(job.settings.open_place(job.out))
        self._plan = _plan_of(self._destination)
        self._list = self._destination.pictures(self._plan)
        manifest = read_manifest(job.version)
        self._contract: Contract = manifest.contract
        self._graph = Graph(job.version, manifest, job.threads)
        self._reader = reader_of(
            self._plan.origin, job.container, self._plan.request.source, remote=self._plan.remote
        )
        self._pixels = np.empty((BATCH, *self._contract.image_shape), np.uint8)
        self._waiting: list[tuple[Rows, int]] = []
        self._answered = 0
        self._told = time.monotonic()

    def work(self) -> None:
        with _Writer(self._destination, self._plan, self._line) as writer:
            self._writer = writer
            for wanted, data in brought(self._wanted(), self._reader):
                self._one(wanted, data)
            self._flush()
        self._tell()

    def _wanted(self) -> Iterator[Wanted]:
        """The pictures of one shard after another, as the parent gives them out."""
        while True:
            self._line.send(Said("next"))
            task = self._line.task()
            if task is None:
                return
            pictures = self._list.shard(task.shard)
            classes = len(self._contract.classes)
            rows = Rows(task.shard, pictures, classes, scored=self._graph.scored)
            for row, picture in enumerate(pictures):
                if row in task.crashed:
                    picture = picture._replace(trouble=CRASHED)  # noqa: PLW2901
                yield Wanted(rows, row, picture)

    def _one(self, wanted: Wanted, data: bytes | Trouble) -> None:
        rows, row = wanted.rows, wanted.row
        self._at[0], self._at[1] = rows.shard, row
        if isinstance(data, bytes):
            try:
                self._decode(data)
            except ImageError as error:
                data = Trouble(error.code, str(error))
        if isinstance(data, Trouble):
            rows.refuse(row, data)
            self._finished(rows, 1)
            return
        self._waiting.append((rows, row))
        if len(self._waiting) == BATCH:
            self._flush()

    def _decode(self, data: bytes) -> None:
        if len(data) > MOST_BYTES:  # of a row of a Parquet, which did not say so before
            raise ImageError(
                "too_many_bytes", f"It has {len(data):,} bytes; a picture has at most {MOST_BYTES:,}."
            )
        size, fit = self._contract.size, self._contract.fit
        header = read_header(data, size=size)
        self._pixels[len(self._waiting)] = decode_squares(data, header, [(size, fit)])[0]

    def _flush(self) -> None:
        """Answer the pictures that wait; those of two shards may go together."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        probs, scores = self._graph.answer(self._pixels[: len(waiting)])
        start = 0
        while start < len(waiting):
            rows = waiting[start][0]
            end = start
            while end < len(waiting) and waiting[end][0] is rows:
                end += 1
            of_these = None if scores is None else scores[start:end]
            rows.answer([row for _, row in waiting[start:end]], probs[start:end], of_these)
            self._finished(rows, end - start)
            start = end

    def _finished(self, rows: Rows, pictures: int) -> None:
        self._answered += pictures
        if rows.left == 0:
            self._writer.write(rows)
        if time.monotonic() - self._told > _TOLD_SECONDS:
            self._tell()

    def _tell(self) -> None:
        self._told = time.monotonic()
        self._line.send(Said("row", pictures=self._answered))
        self._answered = 0


def _plan_of(destination: Destination) -> Plan:
    plan = destination.plan()
    if plan is None:
        raise RuntimeError("a worker is started after the plan is written")
    return plan


class _Writer:
    """Writes shards beside the decoding; one waits at most."""

    def __init__(self, destination: Destination, plan: Plan, line: "_Line") -> None:
        self._destination, self._plan, self._line = destination, plan, line
        self._todo: queue.Queue[Rows | None] = queue.Queue(1)
        self._failed: list[BaseException] = []
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "_Writer":
        self._thread.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._todo.put(None)
            self._thread.join()
            self._raise()

    def write(self, rows: Rows) -> None:
        """Have a shard written.

        Raises:
            StoreError: An earlier one could not be.
        """
        self._raise()
        self._todo.put(rows)

    def _run(self) -> None:
        while (rows := self._todo.get()) is not None:
            if self._failed:
                continue  # so that nobody waits for room
            try:
                self._destination.put(shard_key(rows.shard), rows.to_parquet(self._plan))
                self._line.send(Said("done", shard=rows.shard))
            except Exception as error:  # raised in the worker's own thread
                self._failed.append(error)

    def _raise(self) -> None:
        if self._failed:
            raise self._failed[0]
