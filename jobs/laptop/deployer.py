"""This machine as a place that serves: what a promotion asks of the service that `cnn-image serve` keeps."""

import asyncio
import os
import tempfile
import time
from pathlib import Path

import httpx

from export.errors import NoAnswerError, ParityError
from export.graph.triton_probe import compare_triton
from export.store.versions import Store
from jobs.console import say
from jobs.errors import FaultError, RefusedError
from jobs.known import KnownImages, known_evidence, known_images, verify_service
from jobs.laptop import triton
from jobs.laptop.processes import Child, free_ports
from jobs.laptop.serving_folder import ServingFolder
from jobs.settings import Settings
from model.data.remote.http_client import http_client, local_client

DEPLOY_SECONDS = 120.0
PREFLIGHT_IMAGES = 507
"""Images beside the known ones, on which Triton must equal ONNX Runtime before it serves."""

_POLL_SECONDS = 0.1


class LaptopDeployer:
    """Implements `jobs.promotion.deployer.Deployer` with the service that runs on this machine, if one does.

    That service follows the ledger by itself; deploying is waiting for it.
    """

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._folder = ServingFolder(settings.serving, settings.model)

    def served(self) -> int | None:
        """See `Deployer.served`."""
        status = self._folder.status()
        return status.version if status else None

    def decoder(self) -> str | None:
        """See `Deployer.decoder`."""
        status = self._folder.status()
        if status is None:
            return None
        try:
            with http_client(status.url, 10) as client:
                answer = client.get("/info")
            answer.raise_for_status()
            return str(answer.json()["decoder_version"])
        except (httpx.HTTPError, ValueError, KeyError) as error:
            raise FaultError(f"{status.url}/info does not say which decoder it runs ({error!r}).") from error

    def dry_run(self) -> None:
        """See `Deployer.dry_run`; a laptop refuses nothing that a training would have to wait for."""

    def rehearse(self, version: int) -> None:
        """See `Deployer.rehearse`; nothing on a laptop is edited by hand."""

    def preflight(self, version: int) -> None:
        """See `Deployer.preflight`; a Triton of its own on free ports."""
        with tempfile.TemporaryDirectory(prefix="cnn-image-preflight-") as scratch:
            folder = self._store.fetch(version, Path(scratch))
            asyncio.run(self._try(folder, version, known_evidence(self._store, version)))

    def deploy(self, version: int) -> None:
        """See `Deployer.deploy`."""
        status = self._folder.status()
        if status is None:
            say(f"No service runs here now; version {version} is served from its next start.")
            return
        entry = self._store.ledger.entries()[-1].number
        ends = time.monotonic() + DEPLOY_SECONDS
        while time.monotonic() < ends:
            status = self._folder.status()
            if status is None:
                raise FaultError("The service ended while it was to change versions; start it again.")
            if status.entry >= entry and status.state == "serving":
                if status.version == version:
                    return
                reason = status.failed.reason if status.failed else f"it serves version {status.version}"
                raise RefusedError(f"The service did not take version {version}: {reason}")
            time.sleep(_POLL_SECONDS)
        raise FaultError(f"The service did not change to version {version} within {DEPLOY_SECONDS:g} s.")

    def verify(self, version: int) -> None:
        """See `Deployer.verify`."""
        status = self._folder.status()
        if status is None:
            return
        with tempfile.TemporaryDirectory(prefix="cnn-image-verify-") as scratch:
            folder = self._store.fetch(version, Path(scratch))
            known = known_images(folder, version, known=known_evidence(self._store, version))
        verify_service(status.url, known)
        _verify_triton(status.triton_url, known)

    async def _try(self, folder: Path, version: int, evidence: bytes | None) -> None:
        ports = triton.TritonPorts(*free_ports(3))
        variant = self._settings.variant or triton.default_variant()

        async def ready() -> None:
            async with local_client(ports.url) as client:
                await triton.wait_ready(client, "/v2/health/live", self._settings.start_seconds, "Triton")
            await triton.load_models(ports, self._settings.model)

        child = Child(
            "The pre-flight's Triton",
            triton.command(folder, ports, variant),
            os.environ,
            self._settings.logs / "preflight.log",
            ready,
        )
        try:
            await child.start()
            known = await asyncio.to_thread(
                known_images, folder, version, known=evidence, more=PREFLIGHT_IMAGES
            )
            await asyncio.to_thread(_verify_triton, ports.url, known)
        finally:
            await child.stop()


def _verify_triton(url: str, known: KnownImages) -> None:
    """Require the running Triton's answers to equal ONNX Runtime's.

    Raises:
        RefusedError: They do not.
        FaultError: It does not answer.
    """
    try:
        compare_triton(url, known.probabilities, known.pixels, known.version, model=known.contract.model)
    except NoAnswerError as error:
        raise FaultError(str(error)) from error
    except ParityError as error:
        raise RefusedError(str(error)) from error
