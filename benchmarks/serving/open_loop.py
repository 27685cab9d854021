"""Load that does not wait for answers: vegeta sends at a fixed rate, every answer is checked afterwards.

Latency counts from the moment at which a request was due, so a server that falls behind, or a generator that
does, is charged with what a user would have waited.
"""

import base64
import itertools
import json
import os
import re
import statistics
import subprocess
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.serving.load import LoadError, Prepared

INSTALL: Final = "go install github.com/tsenart/vegeta/v12@v12.12.0"
_TIMEOUT_SECONDS: Final = 10
_MOST_WORKERS: Final = 8000
_attacks = itertools.count(os.getpid())
_NUMBER = re.compile(rb"[\d.eE+-]+")


@dataclass(frozen=True)
class Outcome:
    """What became of the requests.

    Attributes:
        planned: Requests that were due.
        served: Answered 200 within the time.
        served_rate: Those a second.
        statuses: Answers by status.
        wrong: Answers 200 that are not ONNX Runtime's.
        broken: Requests that got no answer.
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


@dataclass(frozen=True)
class Attack:
    """A generator at work, and what its results will be held against."""

    process: "subprocess.Popen[bytes]"
    prepared: Prepared
    results: Path
    rate: float
    seconds: float


def start(address: str, prepared: Prepared, rate: float, seconds: float) -> Attack:
    """Starts a generator in a process of its own.

    Args:
        address: host:port.
        prepared: Sent in turn.
        rate: Requests a second, at even distances.
        seconds: For how long.
    """
    targets, results = prepared.folder / "targets.json", prepared.folder / "results.bin"
    lines = [json.dumps(_target(address, prepared.folder, number)) for number in range(prepared.count)]
    targets.write_text("\n".join(lines) + "\n")
    # Its rate is a whole number of requests in some time: a minute's is exact enough.
    line = ["vegeta", "attack", "-format=json", f"-targets={targets}", f"-output={results}"]
    line += [f"-rate={round(rate * 60)}/1m", f"-duration={seconds}s", f"-timeout={_TIMEOUT_SECONDS}s"]
    line += [f"-max-workers={_MOST_WORKERS}", f"-connections={_MOST_WORKERS}", "-http2=false"]
    # By itself it binds each connection to 0.0.0.0, and the kernel looks through the ports in use for it:
    # with those that earlier load had left, that took seconds. An address of its own has all of them free.
    line += [f"-laddr=127.0.0.{2 + next(_attacks) % 250}"]
    # To a file: a pipe that nobody reads meanwhile would stop it once it is full of complaints.
    with _log(prepared).open("wb") as log:
        process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=log)
    return Attack(process, prepared, results, rate, seconds)


def finish(attack: Attack) -> Outcome:
    """Waits for a generator and returns what it saw.

    Raises:
        LoadError: it failed, or an answer was wrong.
    """
    attack.process.wait()
    encoded = subprocess.run(
        ["vegeta", "encode", "-to=json", attack.results], capture_output=True, check=False
    )
    if attack.process.returncode or encoded.returncode:
        said = (_log(attack.prepared).read_bytes() + encoded.stderr).decode(errors="replace").strip()
        raise LoadError(f"The open-loop generator failed: {said[-500:]}")
    outcome = _outcome(attack, [json.loads(line) for line in encoded.stdout.splitlines()])
    if outcome.wrong:
        raise LoadError(f"{outcome.wrong} of {outcome.served} answers were wrong under open-loop load")
    return outcome


def _log(prepared: Prepared) -> Path:
    return prepared.folder / "vegeta.log"


def _target(address: str, folder: Path, number: int) -> dict[str, object]:
    """A prepared request as vegeta takes it; the query says in the results which one it was."""
    head, _, body = (folder / f"{number}.http").read_bytes().partition(b"\r\n\r\n")
    first, *fields = head.decode().split("\r\n")
    method, path, _ = first.split(" ")
    headers = {name: [text] for name, text in (field.split(": ", 1) for field in fields)}
    for name in ("Host", "Content-Length"):
        headers.pop(name, None)
    url = f"http://{address}{path}?number={number}"
    return {"method": method, "url": url, "header": headers, "body": base64.b64encode(body).decode()}


def _outcome(attack: Attack, results: list[dict[str, Any]]) -> Outcome:
    data = np.frombuffer((attack.prepared.folder / "expected.bin").read_bytes(), "<f4")
    expected = data.reshape(attack.prepared.count, attack.prepared.values).tolist()
    marker = attack.prepared.marker.encode()
    sent_at = [datetime.fromisoformat(one["timestamp"]).timestamp() for one in results]
    begun = min(sent_at)
    latency: list[float] = []
    turned_away: list[float] = []
    late: list[float] = []
    served = wrong = 0
    for one, sent in zip(results, sent_at, strict=True):
        due = begun + one["seq"] / attack.rate
        late.append((sent - due) * 1e3)
        answered = sent + one["latency"] / 1e9
        if one["code"] == 200:
            number = int(one["url"].rpartition("=")[2])
            wrong += not _agrees(expected[number], base64.b64decode(one["body"]), marker)
            served += answered <= begun + attack.seconds
            latency.append((answered - due) * 1e3)
        elif one["code"]:
            turned_away.append((answered - due) * 1e3)
    statuses = Counter(str(one["code"]) for one in results if one["code"])
    return Outcome(
        planned=len(results),
        served=served,
        served_rate=served / attack.seconds,
        statuses=dict(statuses),
        wrong=wrong,
        broken=len(results) - statuses.total(),
        p50=_percentile(latency, 50),
        p99=_percentile(latency, 99),
        turned_away_p50=_percentile(turned_away, 50),
        turned_away_p99=_percentile(turned_away, 99),
        late_p99=_percentile(late, 99),
    )


def _agrees(expected: list[float], body: bytes, marker: bytes) -> bool:
    got = _NUMBER.findall(body, body.find(marker) + len(marker))[: len(expected)]
    return len(got) == len(expected) and all(
        abs(float(one) - other) <= 1e-4 for one, other in zip(got, expected, strict=True)
    )


def _percentile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100)[percent - 1] if len(values) > 1 else sum(values)
