"""The laptop's Triton as a child process: how it is started, when it is ready, how it changes models."""

import asyncio
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import httpx

from jobs.errors import FaultError, RefusedError
from model.contract import FILTERS_MODEL_NAME, MODEL_NAME

MODELS = (FILTERS_MODEL_NAME, MODEL_NAME)
"""The classifier is loaded last: a version that fails to load has then changed nothing users see."""
_POLL_SECONDS = 0.1
LOAD_SECONDS = 60.0


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


async def load_models(client: httpx.AsyncClient) -> None:
    """Load both models, or bring them to what the repository holds now.

    Triton loads the new version beside the old one and lets the old one finish its requests: none fails.

    Raises:
        RefusedError: Triton cannot load one of them; what was loaded before is still served.
        FaultError: Triton does not answer.
    """
    for name in MODELS:
        try:
            response = await client.post(f"/v2/repository/models/{name}/load", json={}, timeout=LOAD_SECONDS)
        except httpx.TransportError as error:
            raise FaultError(
                f"Triton did not answer while loading {name}: {error or type(error).__name__}."
            ) from error
        if response.status_code != httpx.codes.OK:
            raise RefusedError(f"Triton cannot load {name}: {_reason(response)}")


def _reason(response: httpx.Response) -> str:
    try:
        return str(response.json()["error"])
    except (ValueError, KeyError, TypeError):
        return f"{response.status_code} {response.text.strip()[:300]}"


def default_variant() -> str:
    """The config variant for the processors this process may use."""
    cores = len(os.sched_getaffinity(0))
    return "cpu-4" if cores >= 4 else "cpu-2" if cores >= 2 else "cpu-1"
