"""The servers under test as child processes: started, waited for, their CPU time and memory read, stopped."""

import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import psutil  # type: ignore[import-untyped] # its stubs are a package of their own

START_SECONDS = 120
STOP_SECONDS = 15


class ServiceError(RuntimeError):
    """A server did not start or ended early; the message names its log."""


class Service:
    """One server with its children, running while the context is open.

    Args:
        name: For messages and the log's file name.
        argv: The command.
        ready: URL that answers 200 once the server serves.
        log: File its output goes to.
        environment: Variables beside the benchmark's own.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        ready: str,
        log: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self._argv = list(argv)
        self._ready = ready
        self._log = log
        self._environment = {**os.environ, **(environment or {})}

    def __enter__(self) -> "Service":
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._argv,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=self._environment,
            )
        try:
            self._wait()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        family = self._family()
        self.resume()  # what stands still would not end
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_SECONDS)
        _, alive = psutil.wait_procs(family, timeout=2)
        for process in alive:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            with (
                suppress(urllib.error.URLError, OSError),
                urllib.request.urlopen(self._ready, timeout=2) as answer,
            ):
                if answer.status == 200:
                    return
            time.sleep(0.02)
        tail = self._log.read_text(errors="replace").strip().splitlines()[-3:]
        raise ServiceError(f"{self.name} did not start; its log {self._log} ends: {' / '.join(tail)}")

    @property
    def pid(self) -> int:
        """The process id of the server itself."""
        return self._process.pid

    def _family(self) -> list[psutil.Process]:
        try:
            process = psutil.Process(self._process.pid)
            return [process, *process.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def cpu_seconds(self) -> float:
        """Processor time that the server and its living children have used, in seconds."""
        total = 0.0
        for process in self._family():
            with suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system
        return total

    def bind(self, cores: Collection[int]) -> None:
        """Lets the server, with all its threads and living children, run on these cores alone."""
        for process in self._family():
            with suppress(psutil.NoSuchProcess):
                for thread in process.threads():
                    with suppress(ProcessLookupError):
                        os.sched_setaffinity(thread.id, cores)

    def suspend(self) -> None:
        """Stops it with its children where they are, so that it takes nothing while others are measured."""
        for process in self._family():
            with suppress(psutil.NoSuchProcess):
                process.suspend()

    def resume(self) -> None:
        """Lets it go on."""
        for process in self._family():
            with suppress(psutil.NoSuchProcess):
                process.resume()

    def memory_mib(self) -> float:
        """Memory the server and its children hold, in MiB; what they share is counted once (PSS)."""
        total = 0
        for process in self._family():
            with suppress(psutil.Error):
                total += process.memory_full_info().pss
        return total / 2**20


def free_ports(count: int) -> list[int]:
    """Returns ports that nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("", 0))  # free on every address: some servers listen on all
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def settle(services: Sequence[Service], *, idle: float = 0.15, deadline_seconds: float = 30) -> None:
    """Waits until the servers have finished what an ended measurement left in their queues.

    Args:
        services: The servers.
        idle: Share of one core below which they count as idle.
        deadline_seconds: After this time the benchmark goes on all the same.
    """
    deadline = time.monotonic() + deadline_seconds
    while time.monotonic() < deadline:
        before, start = sum(service.cpu_seconds() for service in services), time.monotonic()
        time.sleep(0.2)
        used = sum(service.cpu_seconds() for service in services) - before
        if used <= idle * (time.monotonic() - start):
            return
