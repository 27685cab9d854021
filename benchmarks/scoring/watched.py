"""A command run to its end, and what it and all its processes took."""

import os
import subprocess
import sys
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


@dataclass(frozen=True)
class Measured:
    """One run.

    Attributes:
        seconds: From its start to its end.
        processor_seconds: Of all its processes.
        memory: The most anonymous memory that one of them had, in bytes.
    """

    seconds: float
    processor_seconds: float
    memory: int = 0


def watched(command: Sequence[str], cwd: Path, service: Sequence[psutil.Process] = ()) -> Measured:
    """Run a command; the processor time of its processes is looked at until each is gone.

    Args:
        command: What is run.
        cwd: Where.
        service: Processes that work for it and go on after it, whose processor time counts as well.
    """
    before = sum(map(_processor_seconds, service))
    began = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=cwd, env=os.environ | _SETTINGS, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    top, used, memory = psutil.Process(process.pid), dict[tuple[int, float], float](), 0
    while process.poll() is None:
        for one in _family(top):
            try:
                used[one.pid, one.create_time()] = _processor_seconds(one)
                memory = max(memory, anonymous_memory(one.pid))
            except (psutil.Error, OSError):
                continue
        if time.perf_counter() - began > _MOST_SECONDS:
            for one in _family(top):
                one.kill()
            raise TimeoutError(f"it did not end within {_MOST_SECONDS} s")
        time.sleep(_LOOK_SECONDS)
    seconds = time.perf_counter() - began
    if process.returncode:
        sys.exit(process.stderr.read().decode()[-3000:] if process.stderr else "it failed")
    of_service = sum(map(_processor_seconds, service)) - before
    return Measured(seconds, sum(used.values()) + of_service, memory)


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
