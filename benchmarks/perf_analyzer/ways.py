"""The ways in which perf_analyzer asks, its input, and what it reports."""

import base64
import csv
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.serving.payloads import length_prefixed
from model.contract import INPUT_NAME


@dataclass(frozen=True)
class Way:
    """A protocol, and how requests are sent over it.

    Attributes:
        name: For the table.
        protocol: `http` or `grpc`.
        flags: perf_analyzer's.
        paced: Whether requests come at a rate, and not each after another's answer.
    """

    name: str
    protocol: str
    flags: tuple[str, ...] = ()
    paced: bool = False


WAYS: Final = (
    Way("HTTP, sync", "http", ("--sync",)),
    Way("HTTP, async", "http", ("--async",)),
    Way("HTTP, at a rate", "http", ("--async",), paced=True),
    Way("gRPC, sync", "grpc", ("--sync",)),
    Way("gRPC, async", "grpc", ("--async",)),
    Way("gRPC, streaming", "grpc", ("--async", "--streaming")),
    Way("gRPC, at a rate", "grpc", ("--async",), paced=True),
    Way("gRPC, streaming at a rate", "grpc", ("--async", "--streaming"), paced=True),
)


@dataclass(frozen=True)
class Seen:
    """What perf_analyzer reports, times in microseconds.

    Attributes:
        rate: Images answered a second.
        p50, p99: Latency as the client sees it.
        queue, decode, infer, output: Of a request, by the service's own statistics.
    """

    rate: float
    p50: float
    p99: float
    queue: float
    decode: float
    infer: float
    output: float


def write_input(path: Path, pictures: Iterable[bytes]) -> None:
    """Writes `--input-data`: a step for each picture.

    What stands under `b64` goes into the tensor as it is, so each picture comes after its length in four
    bytes, as v2 has elements of BYTES.
    """
    steps = [
        {INPUT_NAME: {"b64": base64.b64encode(length_prefixed([picture])).decode()}} for picture in pictures
    ]
    path.write_text(json.dumps({"data": steps}))


def arguments(way: Way, load: Sequence[str], url: str, model: str, data: Path, report: Path) -> list[str]:
    """Returns perf_analyzer's command line.

    Args:
        way: How it asks.
        load: How much, and for how long.
        url: The service's address for the way's protocol, `host:port`.
        model: The model's name.
        data: What `write_input` has written.
        report: Where its report goes.
    """
    line = ["-m", model, "-u", url, "-i", way.protocol, *way.flags, *load]
    return [*line, "--input-data", str(data), "-f", str(report)]


def read_report(path: Path) -> Seen:
    """Reads the report of one load.

    Raises:
        ValueError: it holds none.
    """
    with path.open(newline="") as file:
        row = next(csv.DictReader(file), None)
    if row is None:
        raise ValueError(f"perf_analyzer wrote nothing into {path}")

    def number(name: str) -> float:
        return float(row.get(name) or 0)

    return Seen(
        number("Inferences/Second"),
        number("p50 latency"),
        number("p99 latency"),
        number("Server Queue"),
        number("Server Compute Input"),
        number("Server Compute Infer"),
        number("Server Compute Output"),
    )
