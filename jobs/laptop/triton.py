"""The laptop's Triton as a child process: how it is started, when it is ready, how it changes models."""

import asyncio
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import grpc.aio
import httpx

from jobs.errors import FaultError, RefusedError
from model.contract import filters_model

_POLL_SECONDS = 0.1
LOAD_SECONDS = 60.0
_NO_PROXY = (("grpc.enable_http_proxy", 0),)


@dataclass(frozen=True)
class TritonPorts:
    """Where a Triton listens, on 127.0.0.1."""

    http: int
    grpc: int
    metrics: int

    @property
    def url(self) -> str:
        """The address of v2 over HTTP."""
        return f"http://127.0.0.1:{self.http}"


def command(repository: Path, ports: TritonPorts, variant: str) -> list[str]:
    """The command line of an embedded Triton that loads nothing until it is asked."""
    return [
        sys.executable,
        "-P",  # a folder `triton_server` where this was started is not ours
        "-m",
        "triton_server",
        f"--model-repository={repository}",
        f"--http-port={ports.http}",
        f"--grpc-port={ports.grpc}",
        f"--metrics-port={ports.metrics}",
        f"--config-variant={variant}",
        "--model-control-mode=explicit",
    ]


async def wait_ready(client: httpx.AsyncClient, path: str, seconds: float, what: str) -> None:
    """Wait until a GET of `path` answers 200.

    Raises:
        FaultError: It did not within `seconds`; the sentence ends with what was answered last.
    """
    ends = time.monotonic() + seconds
    last = "no answer"
    while time.monotonic() < ends:
        try:
            response = await client.get(path, timeout=5)
            if response.status_code == httpx.codes.OK:
                return
            last = f"{response.status_code} {response.text.strip()[:300]}"
        except httpx.TransportError as error:
            last = str(error) or type(error).__name__
        await asyncio.sleep(_POLL_SECONDS)
    raise FaultError(f"{what} was not ready after {seconds:g} s; it last said: {last}.")


def models(name: str) -> tuple[str, str]:
    """The two models of a version, in the order in which they are loaded.

    The classifier is last: a version that fails to load has then changed nothing users see.
    """
    return filters_model(name), name


async def load_models(ports: TritonPorts, name: str) -> None:
    """Load both models, or bring them to what the repository holds now.

    Triton loads the new version beside the old one and lets the old one finish its requests: none fails.

    Args:
        ports: Of a Triton in explicit mode.
        name: The classifier's.

    Raises:
        RefusedError: Triton cannot load one of them; what was loaded before is still served.
        FaultError: Triton does not answer.
    """
    # Over gRPC: Triton's HTTP server keeps a thread busy until a load is done, and every inference whose
    # connection happens to belong to that thread waits as long.
    async with grpc.aio.insecure_channel(f"127.0.0.1:{ports.grpc}", options=_NO_PROXY) as channel:
        load = channel.unary_unary("/inference.GRPCInferenceService/RepositoryModelLoad")
        for each in models(name):
            try:
                await load(_load_request(each), timeout=LOAD_SECONDS)
            except grpc.aio.AioRpcError as error:
                if error.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}:
                    raise FaultError(f"Triton did not load {each} in time: {error.details()}") from error
                raise RefusedError(f"Triton cannot load {each}: {error.details()}") from error


def _load_request(name: str) -> bytes:
    """A serialized `inference.RepositoryModelLoadRequest`: its field 2 is the model's name.

    By hand, because the generated classes of kserve and tritonclient exclude each other in one process.
    """
    encoded = name.encode()
    return bytes([2 << 3 | 2, len(encoded)]) + encoded


def default_variant() -> str:
    """The config variant for the processors this process may use."""
    cores = len(os.sched_getaffinity(0))
    return "cpu-4" if cores >= 4 else "cpu-2" if cores >= 2 else "cpu-1"
