"""Scoring speed, side by side: `python -m benchmarks.scoring STORE FOLDER [--ray PYTHON] [--rounds N]`.

STORE has a promoted version of 32 pixels; FOLDER gets 20,000 JPEGs of about 900 bytes out of the sample, a
Parquet and a tar of the same, and the tables. Of each contender: pictures a second from its start to its
table, and processor time a picture, of all its processes, which other work on the machine disturbs less. In
turns, `--rounds` times; the result goes to `benchmarks/results/scoring.md`.
"""

import argparse
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import psutil  # type: ignore[import-untyped] # its stubs are a package of their own

from benchmarks.serving.machine import describe
from export.store.versions import open_store

PICTURES: Final = 20_000
RESULT: Final = Path(__file__).parents[1] / "results" / "scoring.md"
_RAY: Final = Path(__file__).with_name("ray_data.py")
_RAY_SETTINGS: Final = {"RAY_AUTH_MODE": "disabled", "RAY_raylet_start_wait_time_s": "300"}
"""Without the second, Ray 2 does not start on a machine that has much else to do."""

_DESCRIBED: Final = ("date", "commit", "processor", "system", "other work at the start")
_LOOK_SECONDS: Final = 0.1


@dataclass(frozen=True)
class Measured:
    """One run: seconds, and processor seconds of all its processes."""

    seconds: float
    processor_seconds: float


def make(folder: Path) -> None:
    """Write the pictures, as files, in a tar and in a Parquet, unless they are there."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    import simplejpeg

    from model.data.sources import load_sample

    if (folder / "pictures.parquet").exists():
        return
    sample = load_sample()
    images = np.concatenate([np.asarray(sample.test.images[:]), np.asarray(sample.train.images[:])])
    encoded = {}
    for number in range(PICTURES):
        quality = 75 + number // len(images)
        data = simplejpeg.encode_jpeg(np.ascontiguousarray(images[number % len(images)]), quality=quality)
        encoded[f"{number // 1000:02}/{number:06}.jpg"] = data
    with tarfile.open(folder / "pictures.tar", "w") as tar:
        for name, data in encoded.items():
            path = folder / "pictures" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    pq.write_table(
        pa.table({"image": list(encoded.values())}), folder / "pictures.parquet", row_group_size=2000
    )


def watched(command: list[str], cwd: Path) -> Measured:
    """Run a command to its end; the processor time of its processes is looked at until each is gone."""
    began = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=cwd, env=os.environ | _RAY_SETTINGS, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    top, used = psutil.Process(process.pid), dict[tuple[int, float], float]()
    while process.poll() is None:
        for one in _family(top):
            try:
                times = one.cpu_times()
                used[one.pid, one.create_time()] = times.user + times.system
            except psutil.Error:
                continue
        time.sleep(_LOOK_SECONDS)
    if process.returncode:
        sys.exit(process.stderr.read().decode()[-3000:] if process.stderr else "it failed")
    return Measured(time.perf_counter() - began, sum(used.values()))


def _family(top: psutil.Process) -> list[psutil.Process]:
    try:
        return [top, *top.children(recursive=True)]
    except psutil.Error:
        return []


def limit(graph: Path, folder: Path, processes: int) -> Measured:
    """Decoding and inference alone, without the start."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.scoring.limit",
        str(graph),
        str(folder / "pictures"),
        str(processes),
    ]
    made = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    return Measured(made["seconds"], made["processor_seconds"])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("store")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--ray", help="a Python that has ray[data], onnxruntime and Pillow")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    folder = asked.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    make(folder)
    store = open_store(str(Path(asked.store).absolute()))
    number = store.ledger.served()
    if number is None:
        sys.exit(f"{store.url} has no promoted version")
    manifest = store.manifest(number)
    graph = store.fetch(number, folder / "version") / manifest.classifier_file
    processes = len(os.sched_getaffinity(0))
    contenders = line_up(folder, store.url, graph, processes, asked.ray)
    found: dict[str, list[Measured]] = {name: [] for name in contenders}
    for round_number in range(asked.rounds):
        for name, run in contenders.items():
            found[name].append(run())
            last = found[name][-1]
            print(
                f"round {round_number + 1}: {name}: {PICTURES / last.seconds:,.0f} a second, "
                f"{last.processor_seconds / PICTURES * 1e6:.0f} µs of processor a picture",
                flush=True,
            )
            RESULT.write_text(report(found, manifest.precision, asked.rounds))


def line_up(
    folder: Path, store: str, graph: Path, processes: int, ray: str | None
) -> dict[str, Callable[[], Measured]]:
    """Everyone, by name."""

    def ours(source: str) -> Measured:
        shutil.rmtree(folder / "out", ignore_errors=True)
        command = [
            sys.executable,
            "-m",
            "jobs.cli",
            "score",
            str(folder / source),
            "--out",
            "out",
            "--store",
            store,
        ]
        return watched([*command, "--workers", str(processes)], folder)

    def by_ray(source: str) -> Measured:
        shutil.rmtree(folder / "ray-out", ignore_errors=True)
        parts = [str(graph), str(folder / source), str(folder / "ray-out"), str(processes)]
        return watched([str(ray), str(_RAY), *parts], folder)

    found: dict[str, Callable[[], Measured]] = {
        "the limit: decode and answer, from memory": lambda: limit(graph, folder, processes),
        "**cnn-image score**, files": lambda: ours("pictures"),
        "**cnn-image score**, tar": lambda: ours("pictures.tar"),
        "**cnn-image score**, Parquet with the bytes": lambda: ours("pictures.parquet"),
    }
    if ray:
        found["Ray Data, files"] = lambda: by_ray("pictures")
        found["Ray Data, Parquet with the bytes"] = lambda: by_ray("pictures.parquet")
    return found


def report(found: dict[str, list[Measured]], precision: str, rounds: int) -> str:
    """The result as Markdown."""
    told = describe()
    lines = [
        "# Scoring offline",
        "",
        f"Measured by `python -m benchmarks.scoring`, {PICTURES:,} JPEGs of about 900 bytes, the {precision} "
        f"network, in turns, {rounds} rounds, medians with the lowest and the highest.",
        "",
        "Whole runs, from the start of the command to its table, but for the limit, which begins when its "
        "processes are ready.",
        "",
        *(
            f"- {name}: {told[name]}"
            for name in ("date", "commit", "processor", "system", "other work at the start")
        ),
        "",
        "| | pictures a second | processor time a picture, µs |",
        "|---|--:|--:|",
    ]
    for name, runs in found.items():
        if runs:
            rates = [PICTURES / run.seconds for run in runs]
            costs = [run.processor_seconds / PICTURES * 1e6 for run in runs]
            lines.append(f"| {name} | {_spread(rates)} | {_spread(costs)} |")
    return "\n".join(lines) + "\n"


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):,.0f} ({min(values):,.0f}–{max(values):,.0f})"


if __name__ == "__main__":
    main()
