"""Training on this machine: `cnn-image retrain` in a process of its own.

It publishes and promotes through the same code as on the command line; whoever serves here follows the
ledger. A folder a training holds log and outcome, to be read even after this process was started again.
"""

import asyncio
import ctypes
import os
import re
import secrets
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import orjson

from image_transformer.errors import ServiceError
from image_transformer.training.routes import Training

COMMAND: Final = (sys.executable, "-P", "-m", "jobs.cli", "retrain", "--sample-allowed")
_NAME: Final = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9a-f]{6}")
_LOST_RACE: Final = 4  # `cnn-image`'s exit code when another retrain runs
_GRACE_SECONDS: Final = 15
_TAIL_BYTES: Final = 4096


class LocalTrainer:
    """Runs a command, one at a time."""

    def __init__(self, folder: Path, command: Sequence[str] = COMMAND) -> None:
        self._folder = folder
        self._command = command
        self._process: asyncio.subprocess.Process | None = None
        self._starting = asyncio.Lock()

    async def start(self, wishes: Mapping[str, int]) -> str:
        """Starts a training; see `Trainer`."""
        async with self._starting:  # two at once: the second finds the first one's process
            if self._running:
                raise _under_way()
            return await self._start(wishes)

    async def _start(self, wishes: Mapping[str, int]) -> str:
        name = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(3)}"
        folder = self._folder / name
        folder.mkdir(parents=True)
        flags = [f"--{setting.replace('_', '-')}={value}" for setting, value in wishes.items()]
        with (folder / "log").open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                *flags,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "CNN_IMAGE_OUTCOME": str((folder / "outcome.json").absolute())},
                preexec_fn=_end_with_parent,
            )
        self._name = name
        return name

    async def look(self, name: str) -> Training | None:
        """Returns how a training stands; see `Trainer`."""
        folder = self._folder / name
        if not _NAME.fullmatch(name) or not folder.is_dir():
            return None
        said = _last_line(folder / "log")
        if self._running and name == self._name:
            return Training("running", said)
        try:
            outcome = orjson.loads((folder / "outcome.json").read_bytes())
            return Training("succeeded", said, outcome["metrics"], outcome["model_path"])
        except (OSError, orjson.JSONDecodeError, KeyError):
            if self._process is not None and self._name == name and self._process.returncode == _LOST_RACE:
                raise _under_way() from None
            return Training("failed", said)

    async def close(self) -> None:
        """Ends a training that runs: on this machine nothing stays behind."""
        if self._process is None or not self._running:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self._process.wait(), _GRACE_SECONDS)
        except TimeoutError:
            self._process.kill()

    @property
    def _running(self) -> bool:
        return self._process is not None and self._process.returncode is None


def _under_way() -> ServiceError:
    return ServiceError("training_under_way", "A training runs already; wait for it to end.")


def _last_line(log: Path) -> str:
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - _TAIL_BYTES))
        # A progress bar returns to the line's start; terminal colours are not for an API.
        text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.read().decode(errors="replace"))
    lines = [line.strip() for line in re.split(r"[\r\n]+", text) if line.strip()]
    return lines[-1][:500] if lines else ""


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
