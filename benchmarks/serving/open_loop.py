"""A load generator that does not wait for answers: `python -m benchmarks.serving.open_loop ADDRESS FOLDER
...`.

Requests leave at random times with a fixed mean rate, each on an idle connection or a new one, whatever
becomes of those before; latency counts from the planned time. So a server that falls behind meets what
users would send it. Prints one JSON object (`Outcome`).
"""

import argparse
import asyncio
import dataclasses
import json
import random
import re
import resource
import statistics
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import uvloop

from benchmarks.serving.load import LoadError, Prepared

MAX_CONNECTIONS = 8000
DRAIN_SECONDS = 5
_NUMBER = re.compile(rb"[\d.eE+-]+")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Outcome:
    """What became of the requests.

    Attributes:
        planned: Requests that were due.
        served: Answered 200 within the time.
        served_rate: Those a second.
        statuses: Answers by status.
        wrong: Answers 200 that are not ONNX Runtime's.
        broken: Connections that ended without an answer, or requests left unanswered at the end.
        p50, p99: Latency of the served, in ms.
        turned_away_p50, turned_away_p99: Of the other answers, in ms; 0 if there were none.
        late_p99: How late the generator itself sent, in ms: above a few, it is the bottleneck.
    """

    planned: int
    served: int
    served_rate: float
    statuses: dict[str, int]
    wrong: int
    broken: int
    p50: float
    p99: float
    turned_away_p50: float
    turned_away_p99: float
    late_p99: float


class _Connection(asyncio.Protocol):
    """One keep-alive connection; knows the request it is waiting for."""

    def __init__(self, generator: "_Generator", number: int, planned: float) -> None:
        self._generator = generator
        self.number, self.planned = number, planned
        self._buffer = b""
        self.waiting = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.ask(self.number, self.planned)

    def ask(self, number: int, planned: float) -> None:
        self.number, self.planned, self.waiting, self._buffer = number, planned, True, b""
        self.transport.write(self._generator.requests[number])  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        length = _LENGTH.search(self._buffer, 0, head + 2)
        body = self._buffer[head + 4 :]
        if length and len(body) >= int(length[1]):
            self.waiting = False
            self._generator.answered(self, int(self._buffer[9:12]), body)

    def connection_lost(self, exc: Exception | None) -> None:
        self._generator.lost(self)


class _Generator:
    def __init__(self, address: str, prepared: Prepared, rate: float, seconds: float) -> None:
        host, _, port = address.rpartition(":")
        self._host, self._port = host, int(port)
        self._rate, self._seconds = rate, seconds
        self.requests = [
            (prepared.folder / f"{number}.http").read_bytes() for number in range(prepared.count)
        ]
        data = np.frombuffer((prepared.folder / "expected.bin").read_bytes(), "<f4")
        self._expected = data.reshape(prepared.count, prepared.values).tolist()
        self._marker = prepared.marker.encode()
        self._idle: list[_Connection] = []
        self._open: set[_Connection] = set()
        self._connecting = 0
        self._statuses: Counter[str] = Counter()
        self._wrong = self._broken = self._planned = self._in_time = 0
        self._latency: list[float] = []
        self._turned_away: list[float] = []
        self._late: list[float] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> Outcome:
        loop = asyncio.get_running_loop()
        random_source = random.Random(1)
        start = due = loop.time()
        self._end = start + self._seconds
        while due < self._end:
            now = loop.time()
            while due <= now and due < self._end:
                self._late.append((now - due) * 1e3)
                self._send(due)
                due += random_source.expovariate(self._rate)
            await asyncio.sleep(0.001)
        deadline = loop.time() + DRAIN_SECONDS
        while loop.time() < deadline and any(one.waiting for one in self._open):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        self._broken += sum(one.waiting for one in self._open)
        return Outcome(
            planned=self._planned,
            served=self._in_time,
            served_rate=self._in_time / self._seconds,
            statuses=dict(self._statuses),
            wrong=self._wrong,
            broken=self._broken,
            p50=_percentile(self._latency, 50),
            p99=_percentile(self._latency, 99),
            turned_away_p50=_percentile(self._turned_away, 50),
            turned_away_p99=_percentile(self._turned_away, 99),
            late_p99=_percentile(self._late, 99),
        )

    def _send(self, planned: float) -> None:
        number = self._planned % len(self.requests)
        self._planned += 1
        if self._idle:
            self._idle.pop().ask(number, planned)
        elif len(self._open) + self._connecting < MAX_CONNECTIONS:
            self._connecting += 1
            task = asyncio.ensure_future(self._connect(number, planned))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            self._broken += 1

    async def _connect(self, number: int, planned: float) -> None:
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_connection(
                lambda: _Connection(self, number, planned), self._host, self._port
            )
            self._open.add(connection)
        except OSError:
            self._broken += 1
        finally:
            self._connecting -= 1

    def answered(self, connection: _Connection, status: int, body: bytes) -> None:
        now = asyncio.get_running_loop().time()
        latency = (now - connection.planned) * 1e3
        self._statuses[str(status)] += 1
        if status == 200:
            self._latency.append(latency)
            self._in_time += now <= self._end
            self._wrong += not self._agrees(connection.number, body)
        else:
            self._turned_away.append(latency)
        self._idle.append(connection)

    def _agrees(self, number: int, body: bytes) -> bool:
        expected = self._expected[number]
        got = _NUMBER.findall(body, body.find(self._marker) + len(self._marker))[: len(expected)]
        return len(got) == len(expected) and all(
            abs(float(one) - other) <= 1e-4 for one, other in zip(got, expected, strict=True)
        )

    def lost(self, connection: _Connection) -> None:
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        elif connection.waiting:
            self._broken += 1


def _percentile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100)[percent - 1] if len(values) > 1 else sum(values)


def start(address: str, prepared: Prepared, rate: float, seconds: float) -> "subprocess.Popen[str]":
    """Starts the generator in a process of its own; `finish` waits for it."""
    line = [sys.executable, "-m", "benchmarks.serving.open_loop", address, str(prepared.folder)]
    line += [str(prepared.count), str(prepared.values), prepared.marker, str(rate), str(seconds)]
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: "subprocess.Popen[str]") -> Outcome:
    """Waits for a generator and returns what it saw.

    Raises:
        LoadError: it failed, or an answer was wrong.
    """
    out, complaint = process.communicate()
    if process.returncode:
        raise LoadError(f"The open-loop generator failed: {complaint.strip()[-500:]}")
    outcome = Outcome(**json.loads(out))
    if outcome.wrong:
        raise LoadError(f"{outcome.wrong} of {outcome.served} answers were wrong under open-loop load")
    return outcome


def main() -> None:
    """Generates load as the arguments say."""
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("folder", type=Path)
    parser.add_argument("count", type=int)
    parser.add_argument("values", type=int)
    parser.add_argument("marker")
    parser.add_argument("rate", type=float)
    parser.add_argument("seconds", type=float)
    args = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    prepared = Prepared(args.folder, args.count, args.values, args.marker)
    outcome = uvloop.run(_Generator(args.address, prepared, args.rate, args.seconds).run())
    print(json.dumps(dataclasses.asdict(outcome)))


if __name__ == "__main__":
    main()
