from pathlib import Path

from benchmarks.serving.contenders import line_up
from benchmarks.serving.measure import Measurement, Scenario
from benchmarks.serving.report import Results, markdown, write
from benchmarks.serving.servers import Ports

SCENARIO = Scenario(1, 32)


def results() -> Results:
    contenders = line_up(Ports(*range(1, 21)), ["raw", "ensemble"])
    measurements = [
        Measurement(key, SCENARIO, number, rate, 1.5, 2.5, 100)
        for key, rates in {"raw": [2000, 3000, 1000], "ensemble": [1000, 1000, 1000]}.items()
        for number, rate in enumerate(rates)
    ]
    return Results(
        {"processor": "a slow one"}, "make bench", contenders, measurements, None, None, ["a note"]
    )


def test_the_table_gives_median_ratio_and_its_spread() -> None:
    text = markdown(results())
    assert "## 32 connections, 1 image a request" in text
    assert "| Triton ensemble, v2 REST | 1,000 | 2.00 (1.00–3.00) | 1.5 | 2.5 | 100 |" in text
    assert "a slow one" in text
    assert "- a note" in text


def test_table_plot_and_numbers_are_written(tmp_path: Path) -> None:
    paths = write(results(), tmp_path / "results")
    assert sorted(path.name for path in paths) == ["serving.json", "serving.md", "serving.svg"]
    assert all(path.stat().st_size > 500 for path in paths)
