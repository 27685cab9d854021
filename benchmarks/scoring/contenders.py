"""Everyone who scores: how each is started on the same pictures and the same graph."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil  # type: ignore[import-untyped] # its stubs are a package of their own

from benchmarks.scoring.watched import Measured, watched

LIMIT: Final = "the limit: decode and answer, from memory"
FETCH: Final = "a loop that only fetches, S3"
OURS: Final = "**cnn-image score**"

_PEERS: Final = Path(__file__).with_name("peers")
_CONNECTIONS: Final = 32


@dataclass(frozen=True)
class Stage:
    """What all are given.

    Attributes:
        folder: Has the pictures, and gets the results.
        store: Address of the store.
        model: Its name.
        graph: The version's graph.
        processes: Cores.
        peers: A Python with ray[data], daft, onnxruntime and Pillow.
        torch: A Python with torch, onnxruntime, Pillow, simplejpeg and s3torchconnector.
        remote: The `s3://` prefix of the same pictures.
        service: Address and processes of a service of the same version.
    """

    folder: Path
    store: str
    model: str
    graph: Path
    processes: int
    peers: str | None = None
    torch: str | None = None
    remote: str | None = None
    service: tuple[str, Sequence[psutil.Process]] | None = None

    @property
    def out(self) -> Path:
        """Where the last one's answers are."""
        return self.folder / "out"


Run = Callable[[str], Measured]
"""Scores the set of that name, `pictures` or `few`."""


def line_up(stage: Stage) -> dict[str, Run]:
    """Everyone, by name."""

    def ours(source: Callable[[str], str]) -> Run:
        command = (sys.executable, "-m", "jobs.cli", "--model", stage.model, "score", "--store", stage.store)
        workers = ("--workers", str(stage.processes), "--out", "out")
        return lambda name: _cleared(stage, [*command, *workers, source(name)])

    def peer(python: str, file: str, source: Callable[[str], str], *more: str) -> Run:
        return lambda name: _cleared(
            stage,
            [
                *(python, str(_PEERS / file), str(stage.graph), source(name), str(stage.out)),
                *(str(stage.processes), *more),
            ],
        )

    def files(name: str) -> str:
        return str(stage.folder / name)

    def objects(name: str) -> str:
        return f"{stage.remote}/{name}"

    places: dict[str, Callable[[str], str]] = {
        "files": files,
        "Parquet with the bytes": lambda name: f"{files(name)}.parquet",
    }
    if stage.remote:
        places["S3"] = objects
    found: dict[str, Run] = {LIMIT: lambda name: _part(stage, "limit", str(stage.graph), files(name))}
    if stage.remote:
        found[FETCH] = lambda name: _part(stage, "fetching", objects(name))
    found |= {f"{OURS}, {place}": ours(source) for place, source in places.items()}
    found[f"{OURS}, tar"] = ours(lambda name: f"{files(name)}.tar")
    for place, source in places.items():
        if stage.peers:
            found[f"Ray Data, {place}"] = peer(stage.peers, "ray_data.py", source)
            found[f"Daft, {place}"] = peer(stage.peers, "daft_frame.py", source)
        if stage.torch:
            found[f"torch DataLoader, {place}"] = peer(stage.torch, "data_loader.py", source)
            simplejpeg = peer(stage.torch, "data_loader.py", source, "simplejpeg")
            found[f"torch DataLoader with simplejpeg, {place}"] = simplejpeg
    if stage.service:
        found["a loop over `/predict`, files"] = lambda name: _over_predict(stage, files(name))
    return found


def _cleared(stage: Stage, command: Sequence[str], service: Sequence[psutil.Process] = ()) -> Measured:
    shutil.rmtree(stage.out, ignore_errors=True)
    return watched(command, stage.folder, service)


def _over_predict(stage: Stage, source: str) -> Measured:
    if stage.service is None:
        raise ValueError("no service was started")
    url, processes = stage.service
    command = [
        sys.executable,
        str(_PEERS / "over_predict.py"),
        url,
        source,
        str(stage.out),
        str(_CONNECTIONS),
    ]
    return _cleared(stage, command, processes)


def _part(stage: Stage, module: str, *arguments: str) -> Measured:
    """A part of the work alone, without the start."""
    command = [sys.executable, "-m", f"benchmarks.scoring.{module}", *arguments, str(stage.processes)]
    shutil.rmtree(stage.out, ignore_errors=True)
    made = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    return Measured(made["seconds"], made["processor_seconds"])
