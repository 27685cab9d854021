"""A command run to its end, and what it and all its processes took."""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil  # type: ignore[import-untyped] # its stubs are a package of their own

_SETTINGS: Final = {
    "RAY_AUTH_MODE": "disabled",
    "RAY_raylet_start_wait_time_s": "300",
    "DAFT_PROGRESS_BAR": "0",
    "DO_NOT_TRACK": "1",
    "PYTHONWARNINGS": "ignore",
}
"""Without the second, Ray 2 does not start on a machine that has much else to do."""

_LOOK_SECONDS: Final = 0.1
_MOST_SECONDS: Final = 300


class FailedError(RuntimeError):
    """A command did not come to its end."""


@dataclass(frozen=True)
class Measured:
    """One run.

    Attributes:
        seconds: From its start to its end.
        processor_seconds: Of all its processes.
        memory: The most anonymous memory that one of its children had, in bytes.
        own_memory: The same of itself.
    """

    seconds: float
    processor_seconds: float
    memory: int = 0
    own_memory: int = 0


def watched(
    command: Sequence[str],
    cwd: Path,
    service: Sequence[psutil.Process] = (),
    most_seconds: float = _MOST_SECONDS,
) -> Measured:
    """Run a command; the processor time of its processes is looked at until each is gone.

    Args:
        command: What is run.
        cwd: Where.
        service: Processes that work for it and go on after it, whose processor time counts as well.
        most_seconds: After so many it is ended.

    Raises:
        FailedError: It was, or it failed by itself.
    """
    before = sum(map(_processor_seconds, service))
    began = time.perf_counter()
    said = tempfile.TemporaryFile()  # noqa: SIM115  # a pipe that nobody reads would stop who writes much
    process = subprocess.Popen(
        command, cwd=cwd, env=os.environ | _SETTINGS, stdout=subprocess.DEVNULL, stderr=said
    )
    top, used, memory = psutil.Process(process.pid), dict[tuple[int, float], float](), [0, 0]
    while process.poll() is None:
        for one in _family(top):
            try:
                used[one.pid, one.create_time()] = _processor_seconds(one)
                own = one.pid == top.pid
                memory[own] = max(memory[own], anonymous_memory(one.pid))
            except (psutil.Error, OSError):
                continue
        if time.perf_counter() - began > most_seconds:
            for one in _family(top):
                with contextlib.suppress(psutil.NoSuchProcess):  # it ended by itself, just now
                    one.kill()
            raise FailedError(f"it did not end within {most_seconds:.0f} s")
        time.sleep(_LOOK_SECONDS)
    seconds = time.perf_counter() - began
    if process.returncode:
        said.seek(0)
        print(said.read().decode(errors="replace")[-3000:], file=sys.stderr)
        raise FailedError(f"it ended with exit code {process.returncode}")
    of_service = sum(map(_processor_seconds, service)) - before
    return Measured(seconds, sum(used.values()) + of_service, *memory)


def anonymous_memory(pid: int) -> int:
    """RssAnon of a process in bytes: what it needs, files that it maps not counted.

    Raises:
        OSError: It has ended.
    """
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return 0


def _processor_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _family(top: psutil.Process) -> list[psutil.Process]:
    try:
        return [top, *top.children(recursive=True)]
    except psutil.Error:
        return []
