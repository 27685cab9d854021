"""Real Tritons behind one name, as a headless Service in a cluster has pods, and a transformer that asks it.

Run as a program this is the transformer, for which the name `pods` leads to the addresses in the file that
POD_NAMES names; everything else about it is as ever. A test without root can give no name several addresses.
"""

import os
import signal
import socket
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import uvloop

if TYPE_CHECKING:
    from serving import RunningTransformer, RunningTriton, SmallModel, StartTransformer, StartTriton

NAME = "pods"


class Pods:
    """Tritons at 127.0.0.2, 127.0.0.3 …, all at one port; the test says which of them the name leads to."""

    def __init__(self, folder: Path, start: "StartTriton", port: int) -> None:
        self._folder = folder
        self._start = start
        self._port = port
        self._last = 1
        self._named: list[str] = []
        self._file = folder / "names"
        self._write()

    def start(self, *models: "SmallModel") -> "list[RunningTriton]":
        """Starts a pod for each model, all at once; the name leads to each once it is ready."""
        from machine import wait_until

        started = []
        for model in models:
            self._last += 1
            repository = self._folder / f"pod-{self._last}"
            model.write(repository)
            host = f"127.0.0.{self._last}"
            started.append(self._start(repository, host=host, http_port=self._port, wait=False))
        for pod in started:
            wait_until(pod.ready, "Triton's start")
        self.join(*started)
        return started

    def join(self, *pods: "RunningTriton") -> None:
        """The name leads to them from now on."""
        self._named += [pod.host for pod in pods]
        self._write()

    def leave(self, *pods: "RunningTriton") -> None:
        """The name leads to them no more."""
        for pod in pods:
            self._named.remove(pod.host)
        self._write()

    def transformer(self, start: "StartTransformer", **settings: object) -> "RunningTransformer":
        """Starts a transformer that asks whom the name leads to."""
        return start(
            f"{NAME}:{self._port}",
            program=(__file__,),
            environment={"POD_NAMES": str(self._file)},
            **settings,
        )

    def _write(self) -> None:
        fresh = self._file.with_suffix(".new")
        fresh.write_text("\n".join(self._named))
        fresh.rename(self._file)


def asked(pod: "RunningTriton") -> bool:
    """Whether anybody is connected to a pod."""
    return any(
        one.raddr and (one.raddr.ip, one.raddr.port, one.status) == (pod.host, pod.http_port, "ESTABLISHED")
        for one in psutil.net_connections("tcp")
    )


def told_to_end(pod: "RunningTriton") -> None:
    """SIGTERM, as a pod's containers get."""
    pod.process.send_signal(signal.SIGTERM)


def _named() -> list[str]:
    return Path(os.environ["POD_NAMES"]).read_text().split()


class _Loop(uvloop.Loop):
    """An event loop for which one name leads elsewhere."""

    async def getaddrinfo(self, host: Any, port: Any, **kind: Any) -> Any:
        """See `asyncio.loop.getaddrinfo`."""
        if host != NAME:
            return await super().getaddrinfo(host, port, **kind)
        named = _named()
        if not named:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in named]


def main() -> None:
    """The transformer."""
    from image_transformer import __main__ as transformer

    uvloop.run = partial(uvloop.run, loop_factory=_Loop)
    transformer.main()


if __name__ == "__main__":
    del sys.path[0]
    main()
