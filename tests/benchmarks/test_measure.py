"""The rounds: who is asked what, and what is kept when the time is over."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks.serving import load, measure
from benchmarks.serving.config import Config
from benchmarks.serving.contenders import line_up
from benchmarks.serving.measure import Bench, Scenario
from benchmarks.serving.photographs import Photograph
from benchmarks.serving.servers import Ports

CLOCK_STEP = 10.0


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Two contenders whose load generator and servers are played; each measurement takes ten seconds."""
    now = [1000.0]

    def wrk(address: str, prepared: load.Prepared, connections: int, seconds: int) -> load.Load:
        now[0] += CLOCK_STEP
        return load.Load(rate=100, requests=100, p50=1, p90=2, p99=3)

    monkeypatch.setattr(measure.load, "wrk", wrk)
    monkeypatch.setattr(measure, "settle", lambda services: None)
    monkeypatch.setattr(measure, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(measure, "_STARTED", 1000.0)
    monkeypatch.setattr("sys.argv", ["benchmark"])
    config = Config(work=tmp_path, rounds=9, minutes=5, connections=[1, 128], images=2)
    services: Any = {
        name: SimpleNamespace(cpu_seconds=lambda: 0.0)
        for name in ("transformer-int8", "triton-int8", "original")
    }
    pixels = np.zeros((32, 32, 3), np.uint8)
    small = {
        "float": [Photograph(b"a", pixels, np.full(5, 0.2, np.float32))] * 2,
        "int8": [Photograph(b"a", pixels, np.full(5, 0.8, np.float32))] * 2,
    }
    return Bench(config, line_up(Ports(*range(1, 21)), ["int8", "original"]), services, small)  # type: ignore[arg-type]


def test_no_round_begins_that_would_end_too_late(bench: Bench) -> None:
    # Warming up three ways takes 30 of 300 s, a round of four measurements 40: six end in time.
    rounds = list(bench.rounds())
    assert [{one.round for one in each} for each in rounds] == [{0}, {1}, {2}, {3}, {4}, {5}]


def test_what_would_work_on_after_its_turn_is_asked_with_fewer_connections(bench: Bench) -> None:
    asked = {(one.contender, one.scenario) for one in next(bench.rounds())}
    assert asked == {
        ("int8", Scenario(1, 1)),
        ("int8", Scenario(1, 128)),
        ("int8", Scenario(32, 8)),
        ("original", Scenario(1, 1)),
    }


def test_each_contender_is_held_against_the_graph_it_serves(bench: Bench, tmp_path: Path) -> None:
    for key, expected in (("int8", 0.8), ("original", 0.2)):
        written = np.frombuffer((tmp_path / f"requests/{key}-1-small/expected.bin").read_bytes(), "<f4")
        assert np.allclose(written, expected)
