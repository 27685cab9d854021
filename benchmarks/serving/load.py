"""One measurement: a load generator in a process of its own against one contender, and what it saw.

`wrk` for HTTP: every answer is held against ONNX Runtime's by load.lua. `h2load` for gRPC: it checks no
answers, so a client beside it sends the same request and checks its own.
"""

import json
import re
import shutil
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SCRIPT = Path(__file__).with_name("load.lua")
GRPC_PATH = "/inference.GRPCInferenceService/ModelInfer"


class LoadError(RuntimeError):
    """A load generator is missing or failed, or an answer was wrong: the figures would mean nothing."""


@dataclass(frozen=True)
class Load:
    """What a load generator saw.

    Attributes:
        rate: Requests a second that were answered.
        requests: How many were answered.
        p50, p90, p99: Latency in milliseconds.
    """

    rate: float
    requests: int
    p50: float
    p90: float
    p99: float


def require(tool: str, install: str) -> None:
    """Says how to install a load generator that is missing.

    Raises:
        LoadError: it is missing.
    """
    if shutil.which(tool) is None:
        raise LoadError(f"The benchmark needs {tool}; {install}")


@dataclass(frozen=True)
class Prepared:
    """Requests in files, ready for wrk.

    Attributes:
        folder: 0.http, 1.http, … and expected.bin.
        count: How many requests.
        values: Numbers in one answer.
        marker: Text in the answer's body after which the numbers come; empty if they are FP32 at its end.
    """

    folder: Path
    count: int
    values: int
    marker: str


def prepare(folder: Path, requests: Sequence[bytes], expected: NDArray[np.float32], marker: str) -> Prepared:
    """Writes whole HTTP requests and the answers expected of them.

    Args:
        folder: Where to; made if missing.
        requests: HTTP requests, headers and all.
        expected: `[requests, values]`.
        marker: See `Prepared`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for number, request in enumerate(requests):
        (folder / f"{number}.http").write_bytes(request)
    (folder / "expected.bin").write_bytes(np.ascontiguousarray(expected, "<f4").tobytes())
    return Prepared(folder, len(requests), expected.shape[1], marker)


def wrk(address: str, prepared: Prepared, connections: int, seconds: int) -> Load:
    """Loads an HTTP server with as many requests as it answers, and checks every answer.

    Raises:
        LoadError: wrk failed, a connection broke, or an answer was wrong.
    """
    line = [
        "wrk",
        "--threads",
        str(connections),
        "--connections",
        str(connections),
        "--duration",
        f"{seconds}s",
    ]
    line += ["--timeout", "60s", "--script", str(SCRIPT), f"http://{address}/", "--"]
    line += [str(prepared.folder), str(prepared.count), str(prepared.values), prepared.marker]
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=seconds + 120)
    found = re.search(r"^RESULT (.*)$", done.stdout, re.MULTILINE)
    if done.returncode or not found:
        raise LoadError(f"wrk failed against {address}: {(done.stderr or done.stdout).strip()[-500:]}")
    seen = json.loads(found[1])
    if seen["wrong"] or seen["connection_errors"]:
        raise LoadError(
            f"{address} gave {seen['wrong']} wrong answers of {seen['checked']} and broke "
            f"{seen['connection_errors']} connections; for example: {seen['example']!r}"
        )
    if not seen["requests"]:
        raise LoadError(f"{address} answered nothing in {seconds} s")
    return Load(
        rate=seen["requests"] / seen["microseconds"] * 1e6,
        requests=seen["requests"],
        p50=seen["p50"] / 1e3,
        p90=seen["p90"] / 1e3,
        p99=seen["p99"] / 1e3,
    )


@dataclass(frozen=True)
class PreparedCall:
    """One gRPC call in files: `message.bin`, its frame for h2load, and the numbers expected."""

    folder: Path


def prepare_call(folder: Path, message: bytes, expected: NDArray[np.float32]) -> PreparedCall:
    """Writes a serialized ModelInferRequest, framed for h2load and plain for the checking client."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "message.bin").write_bytes(message)
    (folder / "frame.bin").write_bytes(b"\0" + len(message).to_bytes(4, "big") + message)
    (folder / "expected.bin").write_bytes(np.ascontiguousarray(expected, "<f4").tobytes())
    return PreparedCall(folder)


def h2load(address: str, prepared: PreparedCall, connections: int, seconds: int) -> Load:
    """Loads a gRPC server with as many calls as it answers, while a second client checks answers.

    Raises:
        LoadError: h2load failed, a call failed, or an answer was wrong.
    """
    log = prepared.folder / "h2load.log"
    log.unlink(missing_ok=True)
    checker = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.serving.grpc_check", address, str(prepared.folder), str(seconds)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert checker.stdout is not None
    checker.stdout.readline()  # it says "ready" once it is connected, so its start costs no measured time
    line = ["h2load", "--clients", str(connections), "--max-concurrent-streams", "1", "--threads", "1"]
    line += ["--duration", str(seconds), "--data", str(prepared.folder / "frame.bin"), "--log-file", str(log)]
    line += [
        "--header",
        "content-type: application/grpc",
        "--header",
        "te: trailers",
        f"http://{address}{GRPC_PATH}",
    ]
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=seconds + 60)
    _, complaint = checker.communicate(timeout=60)
    if checker.returncode:
        raise LoadError(f"A gRPC answer of {address} was wrong under load: {complaint.strip()[-500:]}")
    summary = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", done.stdout)
    if done.returncode or not summary:
        raise LoadError(f"h2load failed against {address}: {(done.stderr or done.stdout).strip()[-500:]}")
    succeeded, failed, errored, _ = (int(number) for number in summary.groups())
    if failed or errored or not succeeded:
        raise LoadError(f"{address}: {failed} gRPC calls failed, {errored} broke, {succeeded} succeeded")
    # One line a call: start in µs, HTTP status, duration in µs.
    durations = sorted(int(row.split("\t")[2]) / 1e3 for row in log.read_text().splitlines())
    cuts = statistics.quantiles(durations, n=100)
    return Load(rate=succeeded / seconds, requests=succeeded, p50=cuts[49], p90=cuts[89], p99=cuts[98])
