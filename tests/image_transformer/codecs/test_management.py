import time
from typing import Any

import pytest

from image_transformer.codecs.management import configuration, statistics
from image_transformer.observe.statistics import Statistics


def test_a_configuration_says_what_a_request_may_bring() -> None:
    config = configuration("photos", 256, {"probs": (3,)}, {"version": "4"})
    assert (config["name"], config["max_batch_size"]) == ("photos", 256)
    (given,), (answered,) = config["input"], config["output"]
    assert (given["name"], given["data_type"], given["dims"]) == ("image", "TYPE_STRING", [1])
    assert (answered["name"], answered["data_type"], answered["dims"]) == ("probs", "TYPE_FP32", [3])
    assert config["parameters"] == {"version": {"string_value": "4"}}


def test_nothing_was_done_yet() -> None:
    told = statistics("photos", "4", Statistics())
    assert (told["name"], told["version"]) == ("photos", "4")
    assert (told["last_inference"], told["inference_count"], told["execution_count"]) == (0, 0, 0)
    assert set(map(str, told["inference_stats"].values())) == {str({"count": 0, "ns": 0})}
    assert told["batch_stats"] == []


def test_what_was_done_is_told_in_nanoseconds() -> None:
    counted = Statistics()
    counted.successes, counted.success_seconds = 2, 0.5
    counted.failures, counted.failure_seconds = 1, 0.125
    counted.queue_seconds, counted.decode_seconds = 0.25, 0.0625
    now = time.perf_counter()
    counted.executed(8, 0.5, now - 0.375, now - 0.125, now)
    counted.executed(8, 0.5, now - 0.375, now - 0.125, now)
    counted.executed(4, 1.0, now - 0.5, now, now)
    told = statistics("photos", "4", counted)
    assert (told["inference_count"], told["execution_count"]) == (20, 3)
    assert told["last_inference"] == pytest.approx(time.time() * 1000, abs=60_000)

    def duration(count: int, seconds: float) -> Any:
        return {"count": count, "ns": pytest.approx(seconds * 1e9, abs=2)}

    assert told["inference_stats"] == {
        "success": duration(2, 0.5),
        "fail": duration(1, 0.125),
        "queue": duration(2, 0.25),
        "compute_input": duration(2, 0.0625),
        "compute_infer": duration(2, 0.75),  # of a request in halves, each half counts half
        "compute_output": duration(2, 0.125),
        "cache_hit": duration(0, 0),
        "cache_miss": duration(0, 0),
    }
    assert [row["batch_size"] for row in told["batch_stats"]] == [4, 8]
    assert told["batch_stats"][1] == {
        "batch_size": 8,
        "compute_input": duration(0, 0),
        "compute_infer": duration(2, 0.5),
        "compute_output": duration(2, 0.25),
    }
