"""What a Triton leaves: its folder of links; where it ended badly, its Python stubs and their shared memory.

A stub notices by itself that its server is gone, but one that is just starting then hangs in its own exit,
for good (Triton 2.51). So each server gets a watcher: `python leftovers.py PID [LINKS]` sleeps until that
process ends, gives the stubs time to leave, ends those that did not, and removes the links. Only the standard
library: it stays small.
"""

import contextlib
import os
import re
import select
import shutil
import signal
import sys
import time
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where Triton's Python backend keeps its tensors
_PREFIX = "cnn-image-triton"
_GRACE_SECONDS = 5.0  # a healthy stub notices within two


def region_prefix(server: int) -> str:
    """Returns how the names of a server's shared memory begin; its stubs have them on their command lines."""
    return f"{_PREFIX}-{server}-"


def stubs(server: int) -> list[int]:
    """Returns the process ids of a server's stubs."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended meanwhile, or is not ours to read
            arguments = (process / "cmdline").read_bytes().split(b"\0")
            if any(argument.startswith(region_prefix(server).encode()) for argument in arguments):
                found.append(int(process.name))
    return found


def sweep_shared_memory(folder: Path = SHARED_MEMORY) -> None:
    """Removes shared memory that embedded Tritons left which were killed outright."""
    for region in folder.glob(f"{_PREFIX}-*"):
        owner = re.match(rf"{_PREFIX}-(\d+)-", region.name)
        if owner and region.is_file() and not Path("/proc", owner[1]).exists():
            region.unlink(missing_ok=True)


def clear_after(server: int, links: Path | None = None) -> None:
    """Waits for a server's end, then ends the stubs and removes the shared memory and links that it left."""
    with contextlib.suppress(ProcessLookupError):  # it has ended already
        select.select([os.pidfd_open(server)], [], [])
    ends = time.monotonic() + _GRACE_SECONDS
    while stubs(server) and time.monotonic() < ends:
        time.sleep(0.1)
    for stub in stubs(server):
        with contextlib.suppress(ProcessLookupError):
            os.kill(stub, signal.SIGKILL)
    sweep_shared_memory()
    if links is not None:
        shutil.rmtree(links, ignore_errors=True)


if __name__ == "__main__":
    clear_after(int(sys.argv[1]), *map(Path, sys.argv[2:]))
