"""The pages that training's measurements end in say what was measured."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.training import report, seeded, seeds
from benchmarks.training.result import Result, faster
from model.data.dataset import Dataset, Split
from model.training.train import QUICK

ORIGINAL = Result(
    "original", 3, 1000, 2.0, [20.0, 10.0, 10.0], [0.5, 0.6, 0.7], test=0.7, interval=(0.68, 0.72)
)
OURS = Result("ours", 2, 1000, 1.0, [10.0, 5.0], [0.6, 0.75], test=0.74, interval=(0.72, 0.76), compiled=1)
PROFILE = {"forward": 10.0, "gradient": 30.0, "whole step": 40.0}


def test_the_race_is_told_by_time_and_by_images_a_second() -> None:
    assert (ORIGINAL.seconds, OURS.seconds) == (42, 16)
    assert faster(OURS, ORIGINAL) == [2.0]  # the epochs after the first, as far as both have them
    page = report.page([ORIGINAL, OURS], PROFILE, 0.0123, {"processor": "two cores", "nothing": ""})
    assert "| original | 3 | 42 | 100 | – | – | 0.700 | 0.700 (0.680–0.720) |" in page
    assert "| ours | 2 | 16 | 200 | 2.00 (2.00–2.00) | 1 | 0.750 | 0.740 (0.720–0.760) |" in page
    assert "- ours: +4.0 points of test accuracy in 0.38 of the original's time." in page
    assert "| gradient | 30.0 | 75% |" in page
    assert "waits for data 1.2% of an epoch" in page
    assert "- processor: two cores" in page
    assert "nothing" not in page
    record = report.record([ORIGINAL, OURS], PROFILE, 0.0123, {})
    assert json.loads(json.dumps(record))["race"][1]["times_original"] == [2.0]


def test_the_plot_is_the_same_for_the_same_figures(tmp_path: Path) -> None:
    for name in ("a.svg", "b.svg"):
        report.plot([ORIGINAL, OURS], tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_a_run_is_looked_for_by_data_recipe_and_seed(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    parts = [Split(rng.integers(0, 256, (2, 32, 32, 3), np.uint8), np.array([0, 1])) for _ in range(4)]
    data, other = Dataset(*parts[:3], "here", "sample"), Dataset(*parts[1:], "here", "sample")
    folder = seeded.run_folder(tmp_path, "name", data, QUICK, 1)
    assert folder == seeded.run_folder(tmp_path, "name", replace(data, source="there"), QUICK, 1)
    others = {
        seeded.run_folder(tmp_path, "name", other, QUICK, 1),
        seeded.run_folder(tmp_path, "name", data, replace(QUICK, epochs=1), 1),
        seeded.run_folder(tmp_path, "name", data, QUICK, 2),
        seeded.run_folder(tmp_path, "another", data, QUICK, 1),
    }
    assert len(others | {folder}) == 5


def test_the_seeds_that_are_done_are_summed_up(tmp_path: Path) -> None:
    for seed, accuracy in enumerate((0.88, 0.89, 0.9)):
        figures = {
            "seed": seed,
            "accuracy": accuracy,
            "interval": [accuracy - 0.01, accuracy + 0.01],
            "per_class": {"cat": 0.8 + seed / 100, "dog": 0.85},
            "ece": 0.012,
            "nll": 0.3,
            "val_accuracy": 0.9,
            "cpu_minutes": 30.4,
            "minutes": 31.6,
            "commit": None if seed else "0123456789abcdef",
        }
        (tmp_path / f"best-seed-{seed}.json").write_text(json.dumps(figures))
    (tmp_path / "quick-seed-0.json").write_text("{}")
    page = seeds.table(tmp_path, "best", 5)
    assert "`best`, 3 of 5 seeds" in page
    assert "mean 0.8900, standard deviation 0.0100" in page
    assert (
        "| 0 | 0.8800 (0.870–0.890) | cat 0.800 | 0.0120 | 0.300 | 0.9000 | 30 | 32 | `0123456789ab` |"
        in page
    )
    assert page.count("`unknown`") == 2
    for seed in (1, 2):
        (tmp_path / f"best-seed-{seed}.json").unlink()
    assert "mean 0.8800. " in seeds.table(tmp_path, "best", 5)
