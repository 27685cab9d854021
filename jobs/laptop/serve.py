"""The laptop's service: Triton and the transformer as child processes, serving the version the ledger names.

A promotion anywhere that writes to the same store is followed within seconds and without a failed request:
the links of Triton's repository change, and Triton loads the new version before it lets the old one go.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import httpx

from export.errors import StoreError
from export.store.versions import Store
from jobs.console import say
from jobs.errors import FaultError, JobError, MistakeError, RefusedError
from jobs.laptop import ports, triton
from jobs.laptop.processes import Child, free_ports
from jobs.laptop.serving_folder import Failed, ServingFolder, Status
from jobs.settings import Settings
from model.data.remote.http_client import local_client

FOLLOW_FOLDER_SECONDS = 0.5
FOLLOW_S3_SECONDS = 5.0
LIVENESS_SECONDS = 5.0
LIVENESS_TRIES = 4


class Service:
    """Triton, the transformer, and the eye on the ledger.

    Args:
        settings: Ports, folders, variant.
        store: Where versions and ledger are.
    """

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._folder = ServingFolder(settings.serving, settings.model)
        self._ports = triton.TritonPorts(*free_ports(3))
        self._client = local_client(self._ports.url)
        variant = settings.variant or triton.default_variant()
        self._status = Status(
            pid=os.getpid(),
            url=settings.url,
            host=settings.host.strip("[]"),
            triton_url=self._ports.url,
            variant=variant,
            grpc_port=settings.transformer_grpc_port,
            store=store.url,
        )
        self._loading = asyncio.Lock()
        self._triton = self._child(
            "triton", triton.command(self._folder.models, self._ports, variant), self._triton_ready
        )
        self._transformer = self._child("transformer", self._transformer_command(), self._transformer_ready)

    @property
    def version(self) -> int | None:
        """The version that is served."""
        return self._status.version

    @property
    def url(self) -> str:
        """Where it is asked from this machine."""
        return self._status.url

    def announce(self) -> None:
        """Tell others that it starts, and on which ports."""
        self._folder.write_status(self._status)

    async def start(self) -> None:
        """Bring the ledger's version up.

        Raises:
            MistakeError: Nothing was promoted yet.
            FaultError: A process did not come up, or neither store nor an earlier fetch has the version.
            RefusedError: Triton cannot load the version.
        """
        entry, version = await asyncio.to_thread(self._wanted_at_start)
        self._status.entry, self._status.version = entry, version
        self._folder.write_status(self._status)
        await asyncio.gather(self._triton.start(), self._transformer.start())
        self._status.state = "serving"
        self._folder.write_status(self._status)

    async def keep(self) -> None:
        """Follow the ledger and keep both processes alive, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._triton.keep())
            tasks.create_task(self._transformer.keep())
            tasks.create_task(self._follow())
            tasks.create_task(self._watch(self._triton, self._ports.url))
            tasks.create_task(self._watch(self._transformer, self._settings.url))

    async def stop(self) -> None:
        """End the transformer, which answers what is under way, then Triton."""
        await self._transformer.stop()
        await self._client.aclose()  # Triton waits for open connections, ours too
        await self._triton.stop()

    def _child(self, name: str, argv: list[str], prepare: Callable[[], Awaitable[None]]) -> Child:
        log = self._settings.logs / f"{name}.log"
        log.unlink(missing_ok=True)
        return Child(name, argv, os.environ, log, prepare)

    def _transformer_command(self) -> list[str]:
        return [
            sys.executable,
            "-P",
            "-m",
            "image_transformer",
            f"--model_name={self._settings.model}",
            f"--predictor_host=127.0.0.1:{self._ports.http}",
            f"--http_port={self._settings.port}",
            f"--grpc_port={self._settings.transformer_grpc_port}",
        ]

    async def _triton_ready(self) -> None:
        seconds = self._settings.start_seconds
        await triton.wait_ready(self._client, "/v2/health/live", seconds, "Triton")
        async with self._loading:
            await triton.load_models(self._ports, self._settings.model)

    async def _transformer_ready(self) -> None:
        async with local_client(self._settings.url) as client:
            await triton.wait_ready(client, "/health", self._settings.start_seconds, "The transformer")

    def _wanted_at_start(self) -> tuple[int, int]:
        """The ledger's last entry and version, ready in Triton's repository."""
        try:
            entries = self._store.ledger.entries()
        except StoreError as error:
            version = self._folder.active()
            if version is None:
                raise
            say(f"{error} Serving version {version}, which was fetched earlier, until the store answers.")
            return 0, version
        version = entries[-1].version if entries else None
        if version is None:
            raise MistakeError(
                f"No version is promoted in {self._store.url} yet: train one with `cnn-image run` or "
                "`cnn-image retrain`, or promote one with `cnn-image promote N`."
            )
        self._folder.activate(self._folder.fetch(self._store, version))
        return entries[-1].number, version

    async def _watch(self, child: Child, url: str) -> None:
        """Kill a process that has stopped answering, so that it is started again."""
        silent = 0
        async with local_client(url, LIVENESS_SECONDS) as client:
            while True:
                await asyncio.sleep(LIVENESS_SECONDS)
                try:
                    await client.get("/v2/health/live")
                    silent = 0
                except httpx.TransportError:
                    silent = silent + 1 if child.pid else 0
                if silent == LIVENESS_TRIES:
                    say(f"{child.name} has not answered {LIVENESS_TRIES} times and is started again.")
                    child.kill()
                    silent = 0

    async def _follow(self) -> None:
        pause = FOLLOW_S3_SECONDS if self._store.url.startswith("s3://") else FOLLOW_FOLDER_SECONDS
        reachable = True
        while True:
            await asyncio.sleep(pause)
            try:
                entries = await asyncio.to_thread(self._store.ledger.entries)
            except StoreError as error:
                if reachable:
                    say(f"{error} Version {self.version} is served on.")
                reachable = False
                continue
            reachable = True
            if not entries or entries[-1].number == self._status.entry:
                continue
            await self._bring(entries[-1].number, entries[-1].version)
            self._folder.write_status(self._status)

    async def _bring(self, entry: int, version: int | None) -> None:
        """Change to the version of a ledger entry, or stay and say why not."""
        if version is None or version == self.version:
            self._status.entry = entry
            return
        before = self._folder.active()
        try:
            await self._switch(await asyncio.to_thread(self._folder.fetch, self._store, version))
        except (JobError, StoreError) as error:
            say(f"Version {version} cannot be served: {error} Version {self.version} is served on.")
            self._status.failed = Failed(entry=entry, version=version, reason=str(error))
            folder = self._folder.fetched(before) if before else None
            if folder is not None:
                with contextlib.suppress(RefusedError, FaultError):  # what was loaded before is still there
                    await self._switch(folder)
        else:
            say(f"Version {version} is served now, in place of {self.version}.")
            self._status.version, self._status.failed = version, None
            self._folder.drop_except({version, before or version})
        self._status.entry = entry

    async def _switch(self, folder: Path) -> None:
        async with self._loading:
            self._folder.activate(folder)
            await triton.load_models(self._ports, self._settings.model)


@contextlib.asynccontextmanager
async def running(settings: Settings, store: Store) -> AsyncIterator[Service]:
    """A started service, ended however the block is left."""
    with ServingFolder(settings.serving, settings.model).claim():
        with ports.taken(settings) as chosen:
            service = Service(chosen, store)
            service.announce()
        try:
            await service.start()
            yield service
        finally:
            await asyncio.shield(service.stop())


async def serve(settings: Settings, store: Store, on_ready: Callable[[Service], Awaitable[None]]) -> None:
    """Serve until SIGINT or SIGTERM.

    Args:
        settings: Ports, where they are given; folders, variant.
        store: Where versions and ledger are.
        on_ready: Awaited once when the service answers.
    """
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    stopped = False

    def stop() -> None:
        nonlocal stopped
        if task is not None and not stopped:  # a second Ctrl-C must not cut the orderly end short
            stopped = True
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    try:
        async with running(settings, store) as service:
            await on_ready(service)
            await service.keep()
    except asyncio.CancelledError:
        if not stopped:
            raise
        say("Stopped.")
