"""What many pictures cost: `python -m benchmarks.large FOLDER FILE.parquet … [--steps N]`.

For each FILE of `benchmarks.large.make` processes of their own, one after the other, in a memory cgroup of
6 GB where cgroups can be made: one decodes and divides the pictures, the second finds all of it, the third
trains (the recipe `quick`, 64 x 64) for one epoch, or for so many steps. Of each: seconds, processor time,
the most anonymous memory (RssAnon, looked at ten times a second), and what it says. FOLDER takes the cache.
"""

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

LIMIT: Final = 6_000_000_000
_CGROUPS: Final = (  # version 2, version 1
    (Path("/sys/fs/cgroup"), "memory.max"),
    (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),
)
_SIZE: Final = 64


def load(source: str, folder: Path, result: dict[str, Any]) -> Any:
    """Decode what is not decoded yet, divide, compute the digest."""
    from model.data.own.gather import gather
    from model.data.own.loading import dataset_of
    from model.data.own.wishes import Wishes

    decoded = [0]
    wishes = Wishes(cache=folder / "cache", size=_SIZE)
    with Timed(result, "gathered"):
        gathered = gather(source, wishes, lambda done, total: decoded.append(done))
    result["decoded"] = decoded[-1]
    with Timed(result, "divided"):
        dataset = dataset_of(gathered, wishes)
    del gathered
    with Timed(result, "digest"):
        _ = dataset.digest
    result["splits.bin MB"] = round(len(dataset.splits or b"") / 1e6, 1)
    return dataset


def train(source: str, folder: Path, result: dict[str, Any], steps: int | None) -> None:
    """Train one epoch, or some steps of it."""
    dataset = load(source, folder, result)
    from model.training.fitting import fit_recipe
    from model.training.train import QUICK
    from model.training.trainer import Trainer

    trainer = Trainer(dataset, fit_recipe(QUICK, dataset, epochs=1), 0)
    result["images"], result["resident"] = len(dataset.train), trainer.feed.resident
    if steps:
        trainer.steps_per_epoch = min(steps, trainer.steps_per_epoch)
    with Timed(result, "trained"):
        metrics = trainer.train_steps(1)
    result["images/s"] = round(metrics["images_per_second"], 1)
    if not steps:
        with Timed(result, "validated"):
            trainer.validation_logits()


class Timed:
    """Notes seconds and processor seconds of a stage."""

    def __init__(self, result: dict[str, Any], name: str) -> None:
        self._result, self._name = result, name

    def __enter__(self) -> None:
        self._began = time.monotonic(), time.process_time()

    def __exit__(self, *_: object) -> None:
        wall, cpu = time.monotonic() - self._began[0], time.process_time() - self._began[1]
        self._result[self._name] = f"{wall:.1f} s, CPU {cpu:.1f} s, now {_megabytes('self', 'RssAnon')} MB"


def _megabytes(process: str, name: str) -> int:
    found = re.search(rf"{name}:\s+(\d+)", Path(f"/proc/{process}/status").read_text())
    return int(found[1]) // 1024 if found else 0


def watched(arguments: list[str]) -> dict[str, Any]:
    """Run a stage in a process of its own, in a cgroup where there is one."""
    group, limit = _cgroup()
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.large", "--stage", *arguments],
        stdout=subprocess.PIPE,
        text=True,
    )
    if group:
        (group / "cgroup.procs").write_text(str(process.pid))
    most = 0
    while process.poll() is None:
        try:
            most = max(most, _megabytes(str(process.pid), "RssAnon"))
        except OSError:
            break
        time.sleep(0.1)
    output = process.communicate()[0]
    told: dict[str, Any] = json.loads(output) if process.returncode == 0 else {"ended": process.returncode}
    if group:
        group.rmdir()
    return {"RssAnon MB": most, "cgroup": limit, **told}


def _cgroup() -> tuple[Path | None, int | None]:
    for root, name in _CGROUPS:
        if (root / "cgroup.procs").exists():
            group = root / f"cnn-image-large-{os.getpid()}"
            try:
                group.mkdir(exist_ok=True)
                (group / name).write_text(str(LIMIT))
            except OSError:
                continue
            return group, LIMIT
    return None, None


def main() -> None:
    """Measure, and print a line of JSON for each process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stage", choices=("load", "train"))
    parser.add_argument("--steps", type=int)
    parser.add_argument("folder", type=Path)
    parser.add_argument("files", nargs="+")
    asked = parser.parse_args()
    if asked.stage:
        result: dict[str, Any] = {}
        if asked.stage == "load":
            load(asked.files[0], asked.folder, result)
        else:
            train(asked.files[0], asked.folder, result, asked.steps)
        result["peak RSS MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(json.dumps(result))
        return
    for file in asked.files:
        for stage in ("load", "load", "train"):
            steps = ["--steps", str(asked.steps)] if asked.steps else []
            told = watched([stage, *steps, str(asked.folder), file])
            print(json.dumps({"file": file, "stage": stage, **told}), flush=True)


if __name__ == "__main__":
    main()
