"""Real Tritons behind one name, as the pods of a headless Service are, and a transformer that asks it."""

import signal
from pathlib import Path

import psutil
from machine import wait_until
from serving import (
    RunningTransformer,
    RunningTriton,
    SmallModel,
    StartTransformer,
    StartTriton,
    point_to,
    versions,
)
from transformer_by_names import NAME

from model.contract import MODEL_NAME


class Pods:
    """Tritons at 127.0.0.2, 127.0.0.3 …, all at one port; the test says which of them the name leads to."""

    def __init__(self, folder: Path, start: StartTriton, port: int) -> None:
        self._folder = folder
        self._start = start
        self._port = port
        self._last = 1
        self._named: list[str] = []
        self._file = folder / "names"
        self._write()

    def start(self, *models: SmallModel) -> list[RunningTriton]:
        """Starts a pod for each model, all at once; the name leads to each once it is ready."""
        started = []
        for model in models:
            self._last += 1
            repository = versions(self._folder / f"pod-{self._last}", model)
            flags = ("--model-control-mode=explicit", f"--load-model={MODEL_NAME}")
            host = f"127.0.0.{self._last}"
            started.append(self._start(repository, *flags, host=host, http_port=self._port, wait=False))
        for pod in started:
            wait_until(pod.ready, "Triton's start")
        self.join(*started)
        return started

    def change(self, pod: RunningTriton, model: SmallModel) -> None:
        """Lets a pod serve another version, in place of the one that it has."""
        folder = pod.repository.parent
        if not (folder / f"v{model.version}").exists():
            model.write(folder / f"v{model.version}")
        point_to(folder, model.version)
        pod.load()

    def join(self, *pods: RunningTriton) -> None:
        """The name leads to them from now on."""
        self._named += [pod.host for pod in pods]
        self._write()

    def leave(self, *pods: RunningTriton) -> None:
        """The name leads to them no more."""
        for pod in pods:
            self._named.remove(pod.host)
        self._write()

    def transformer(self, start: StartTransformer, **settings: object) -> RunningTransformer:
        """Starts a transformer that asks whom the name leads to."""
        return start(
            f"{NAME}:{self._port}",
            program=(str(Path(__file__).with_name("transformer_by_names.py")),),
            environment={"POD_NAMES": str(self._file)},
            **settings,
        )

    def _write(self) -> None:
        fresh = self._file.with_suffix(".new")
        fresh.write_text("\n".join(self._named))
        fresh.rename(self._file)


def asked(pod: RunningTriton) -> bool:
    """Whether anybody is connected to a pod."""
    return any(
        one.raddr and (one.raddr.ip, one.raddr.port, one.status) == (pod.host, pod.http_port, "ESTABLISHED")
        for one in psutil.net_connections("tcp")
    )


def told_to_end(pod: RunningTriton) -> None:
    """SIGTERM, as a pod's containers get."""
    pod.process.send_signal(signal.SIGTERM)
