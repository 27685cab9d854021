import base64
import json
from pathlib import Path

import pytest

from benchmarks.perf_analyzer.program import LIBRARIES, ProgramError, install
from benchmarks.perf_analyzer.ways import WAYS, arguments, read_report, write_input

REPORT = """\
Concurrency,Inferences/Second,Client Send,Network+Server Send/Recv,Server Queue,Server Compute Input,\
Server Compute Infer,Server Compute Output,Client Recv,p50 latency,p90 latency,p95 latency,p99 latency
4,1821.4,32,268,134,37,1057,13,2,1509,2822,3902,10331
"""


def test_a_picture_is_an_element_of_bytes(tmp_path: Path) -> None:
    write_input(tmp_path / "data.json", [b"one", b"three"])
    steps = json.loads((tmp_path / "data.json").read_text())["data"]
    assert [base64.b64decode(step["image"]["b64"]) for step in steps] == [
        b"\3\0\0\0one",
        b"\5\0\0\0three",
    ]


def test_every_way_is_asked_for(tmp_path: Path) -> None:
    lines = {way.name: arguments(way, ["-b", "8"], "host:1", "photos", tmp_path, tmp_path) for way in WAYS}
    assert len(lines) == len(WAYS), "names are told apart"
    assert lines["HTTP, sync"][:9] == ["-m", "photos", "-u", "host:1", "-i", "http", "--sync", "-b", "8"]
    assert {"--streaming", "grpc"} <= {*lines["gRPC, streaming"]}


def test_a_report_is_read(tmp_path: Path) -> None:
    (tmp_path / "report.csv").write_text(REPORT)
    seen = read_report(tmp_path / "report.csv")
    assert (seen.rate, seen.p50, seen.p99) == (1821.4, 1509, 10331)
    assert (seen.queue, seen.decode, seen.infer, seen.output) == (134, 37, 1057, 13)
    (tmp_path / "report.csv").write_text(REPORT.splitlines()[0] + "\n")
    with pytest.raises(ValueError, match="wrote nothing"):
        read_report(tmp_path / "report.csv")


def test_without_a_library_it_is_not_installed(tmp_path: Path) -> None:
    missing = next(iter(LIBRARIES))
    with pytest.raises(ProgramError, match=f"has no {missing}, which perf_analyzer links"):
        install(tmp_path / "tools", tmp_path / "triton")
