"""Child processes that never outlive this one and are started again when they die."""

import asyncio
import contextlib
import ctypes
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jobs.console import say
from jobs.errors import FaultError, MistakeError
from model.addresses import leads_nowhere, listen

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
STEADY_SECONDS = 60.0
"""A child that lived this long is not failing at its start: the pause begins anew."""
STOP_SECONDS = 15.0
CRASHES_AT_START = 2
"""Triton 2.51 can crash while it loads two instances on a busy machine: its start is tried again as often."""
LAST_WORDS_SECONDS = 1.0
"""A child that dies takes its connections along first: so long its death may follow their failure."""


def die_with_parent() -> None:
    """Ask Linux to end this process when its parent ends, however that happens; called in the child."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def require_free_port(host: str, port: int, what: str, variable: str) -> None:
    """Check that nothing listens on a port of an address; `::` is every address of both families.

    Raises:
        MistakeError: Something does, or the address is none of this machine.
    """
    host = host.strip("[]")
    try:
        listen(host, port).close()
    except OSError as error:
        if leads_nowhere(error):
            raise MistakeError(
                f"CNN_IMAGE_HOST names {host}, which is no address of this machine: "
                "name one, such as 127.0.0.1 or ::1, or unset it for all of them."
            ) from None
        raise MistakeError(
            f"Port {port}, for {what}, is in use or not allowed ({os.strerror(error.errno or 0)}): "
            f"stop the program that holds it, or choose another with {variable}=…"
        ) from None


def free_ports(count: int) -> list[int]:
    """Ports on 127.0.0.1 that nothing listens on now."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


class _EndedError(FaultError):
    """A child ended before it was of use."""

    def __init__(self, name: str, code: int, last_words: str) -> None:
        super().__init__(f"{name} ended with code {code} at its start: {last_words}.")
        self.code = code


@dataclass
class Child:
    """A program kept running until it is told to stop.

    Attributes:
        name: What sentences call it.
        argv: Its command line.
        env: Its environment.
        log: File that takes what it prints.
        prepare: Awaited after each start, until the child is of use; the first failure ends `start`.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    log: Path
    prepare: Callable[[], Awaitable[None]]
    _process: asyncio.subprocess.Process | None = field(default=None, init=False)

    async def start(self) -> None:
        """Start it and wait until it is of use; a crash meanwhile is tried again.

        Raises:
            FaultError: It ended before that.
        """
        for _ in range(CRASHES_AT_START):
            try:
                await self._start_once()
            except _EndedError as error:
                if error.code >= 0:  # no crash: it ended because it wanted to, and would again
                    raise
                say(f"{error} It is started again.")
            else:
                return
        await self._start_once()

    async def _start_once(self) -> None:
        process = await self._spawn()
        died = asyncio.ensure_future(process.wait())
        ready = asyncio.ensure_future(self.prepare())
        try:
            await asyncio.wait((died, ready), return_when=asyncio.FIRST_COMPLETED)
            if ready.done() and isinstance(ready.exception(), FaultError):
                await asyncio.wait((died,), timeout=LAST_WORDS_SECONDS)
            if died.done() and not (ready.done() and ready.exception() is None):
                raise _EndedError(self.name, died.result(), self._last_words())
            await ready
        except BaseException:
            await self.stop()  # alive but of no use: the next start must find its ports free
            raise
        finally:
            died.cancel()
            ready.cancel()

    async def keep(self) -> None:
        """Start it again whenever it ends, with growing pauses; runs until cancelled."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            began = time.monotonic()
            if self._process is not None:
                code = await self._process.wait()
                if time.monotonic() - began > STEADY_SECONDS:
                    pause = FIRST_PAUSE_SECONDS
                say(
                    f"{self.name} ended with code {code}; starting it again in {pause:g} s (log: {self.log})."
                )
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
            try:
                await self.start()
            except FaultError as error:
                say(str(error))

    async def stop(self) -> None:
        """End it and everything it started: gently first, then outright."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOP_SECONDS)
        except TimeoutError:
            say(f"{self.name} did not stop within {STOP_SECONDS:g} s and is killed.")
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()

    def kill(self) -> None:
        """End it outright, with everything it started; `keep` starts it again."""
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        running = self._process is not None and self._process.returncode is None
        return self._process.pid if running and self._process else None

    async def _spawn(self) -> asyncio.subprocess.Process:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *self.argv,
                env=dict(self.env),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # A group of its own: the terminal's Ctrl-C reaches the supervisor alone, which stops the
                # transformer before Triton, so that requests under way are answered.
                process_group=0,
                preexec_fn=die_with_parent,  # one system call; no lock is taken in the child
            )
        self._process = process
        return process

    def _last_words(self) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return f"{lines[-1] if lines else 'it said nothing'} (log: {self.log})"
