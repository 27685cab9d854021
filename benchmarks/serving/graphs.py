"""What the network itself costs in ONNX Runtime: `python -m benchmarks.serving.graphs [FLOAT INT8]`.

The graphs take turns on one thread bound to one core; counted is its processor time, which other work on the
machine disturbs little. Measured are two ONNX files, or without arguments the benchmark's own untrained
network, as it is exported and as `cnn-image quantize` makes it. Writes `graphs.md` beside the other results.
"""

import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime

from benchmarks.serving import machine
from benchmarks.serving.artifact import graph_path
from benchmarks.serving.ratios import ratio
from model.contract import IMAGE_SHAPE, INPUT_NAME

BATCHES: Final = (1, 8, 32)
ROUNDS: Final = 40
_IMAGES_A_ROUND: Final = 64
_WORK: Final = Path("var/benchmark")
_RESULTS: Final = Path("benchmarks/results")


def main() -> None:
    """Measures, prints and writes."""
    paths = [Path(argument) for argument in sys.argv[1:]]
    if not paths:
        subprocess.run([sys.executable, "-m", "benchmarks.serving.artifact", str(_WORK)], check=True)
        paths = [graph_path(_WORK), graph_path(_WORK, "int8")]
    if len(paths) != 2 or not all(path.is_file() for path in paths):
        sys.exit("name two ONNX files, the float one and the int8 one, or none")
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    command = shlex.join(["python", "-m", "benchmarks.serving.graphs", *sys.argv[1:]])
    lines = [
        "# The network in ONNX Runtime, one thread",
        "",
        f"Measured by `{command}`.",
        "",
        *_times(paths),
        "",
        *_shares(paths),
        "",
    ]
    lines += [f"- {name}: {text}" for name, text in machine.describe().items() if text]
    _RESULTS.mkdir(parents=True, exist_ok=True)
    (_RESULTS / "graphs.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def _session(path: Path, profile: Path | None = None) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    if profile:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _batch(size: int) -> dict[str, Any]:
    return {INPUT_NAME: np.random.default_rng(0).integers(0, 256, (size, *IMAGE_SHAPE), np.uint8)}


def _times(paths: Sequence[Path]) -> list[str]:
    lines = [
        f"CPU µs an image: median (lowest) of {ROUNDS} rounds of {_IMAGES_A_ROUND} images; the ratio is taken"
        " round by round.",
        "",
        "| images a call | float | int8 | float ÷ int8 |",
        "|--:|--:|--:|--:|",
    ]
    sessions = [_session(path) for path in paths]
    for size in BATCHES:
        feed = _batch(size)
        taken: list[list[float]] = [[], []]
        for _ in range(ROUNDS):
            for session, times in zip(sessions, taken, strict=True):
                began = time.thread_time()
                for _ in range(_IMAGES_A_ROUND // size):
                    session.run(None, feed)
                times.append((time.thread_time() - began) / _IMAGES_A_ROUND * 1e6)
        cells = [f"{statistics.median(times):.0f} ({min(times):.0f})" for times in taken]
        lines.append(f"| {size} | {' | '.join(cells)} | {ratio(*taken)} |")
    return lines


def _shares(paths: Sequence[Path]) -> list[str]:
    """Each operator's time, as ONNX Runtime's profiler has it, in the order in which they run."""
    lines = ["What an image costs by operator, in µs of a call of 8 (median), those above 1 %:"]
    for name, path in zip(("float", "int8"), paths, strict=True):
        with tempfile.TemporaryDirectory(prefix="cnn-image-") as folder:
            session = _session(path, Path(folder) / "profile")
            for _ in range(100):
                session.run(None, _batch(8))
            events = json.loads(Path(session.end_profiling()).read_text())
        taken: dict[str, list[float]] = {}
        for event in events:
            if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
                key = f"{event['args']['op_name']}|{event['name']}"
                taken.setdefault(key, []).append(event["dur"] / 8)
        medians = {key.partition("|"): statistics.median(times) for key, times in taken.items()}
        whole = sum(medians.values())
        parts = [f"{key[0]} {median:.0f}" for key, median in medians.items() if median > whole / 100]
        lines += ["", f"- {name}: {', '.join(parts)}; all of them {whole:.0f}"]
    return lines


if __name__ == "__main__":
    main()
