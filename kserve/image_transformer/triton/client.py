"""Triton as the transformer sees it: which versions are ready where, and inference by one of them."""

import asyncio
import contextlib
import logging
import math
from collections.abc import Callable
from typing import Any, Final
from weakref import WeakValueDictionary

import orjson

from image_transformer.codecs.tensors import Shape
from image_transformer.errors import ServiceError
from image_transformer.observe.metrics import Metrics
from image_transformer.observe.statistics import Statistics
from image_transformer.triton.call import Call, Inferred
from image_transformer.triton.connection import Answer, NotConnectedError
from image_transformer.triton.pool import Endpoint, Endpoints
from image_transformer.triton.served import Served, read_served
from model.contract import OUTPUT_NAME, Contract, ContractError

_PROBE_SECONDS: Final = 2.0
# For so long after the last version went, one that comes is waited for: the next pod may be up already and
# not be found yet, as a name server's answers are up to 5 s old in Kubernetes.
_RETURN_SECONDS: Final = 5.0
# So often a version may come or go, or a connection break, in one look; then the next look has to tell.
_TRIES_A_LOOK: Final = 3

log = logging.getLogger(__name__)


class Triton:
    """Calls the model, and watches which of its versions are ready.

    Attributes:
        seconds: Until Triton has to answer a call.
        on_change: Called when a version came or went, and after every round of looks.
        known: The versions that are ready, the newest first; while none is, those that were last.
        newest: Of these the newest; None before the first.
        shapes: Of the pixels that they take.
        model: The model's name.
    """

    def __init__(
        self, host: str, model: str, seconds: float, metrics: Metrics, output: str = OUTPUT_NAME
    ) -> None:
        self.model = model
        self._output = output
        self._statistics: dict[str, Statistics] = {}
        self.seconds = seconds
        self.metrics = metrics
        self._probed = asyncio.Event()
        self._probed_at = -math.inf
        self._returned = asyncio.Event()
        self._went_at = -math.inf
        self._looks: dict[Endpoint, asyncio.Task[bool]] = {}
        self._served: WeakValueDictionary[tuple[str, Contract], Served] = WeakValueDictionary()
        self.on_change: Callable[[], None] = lambda: None
        self.endpoints = Endpoints(host)
        self.endpoints.on_change = self._changed
        self.newest: Served | None = None
        self.known: tuple[Served, ...] = ()
        self.shapes: tuple[Shape, ...] = ()

    @property
    def ready(self) -> bool:
        """Whether any address has a version ready."""
        return bool(self.endpoints.offered)

    def unavailable(self) -> ServiceError:
        """The answer while no Triton has the model ready."""
        unusable = sorted({endpoint.unusable for endpoint in self.endpoints.all if endpoint.unusable})
        if unusable and not self.ready:
            return ServiceError("model_unavailable", " ".join(unusable))
        return ServiceError("model_unavailable", "The model is not ready; try again in a moment.")

    async def returned(self) -> None:
        """Returns once a version is ready, or none has been for some seconds."""
        left = self._went_at + _RETURN_SECONDS - asyncio.get_running_loop().time()
        if self.ready or left <= 0:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(left):
                await self._returned.wait()

    def infer(
        self,
        served: Served,
        pixels: bytes,
        count: int,
        done: Inferred,
        requests: float = 1.0,
        trace: bytes = b"",
    ) -> None:
        """Asks a version for its output for images.

        Args:
            served: The version.
            pixels: UINT8 `[count, size, size, 3]`, row after row, of the version's size.
            count: How many images.
            done: Takes the result, from the event loop; a VersionGoneError where that version is gone.
            requests: How many requests the images are; of one in pieces the part.
            trace: Header lines that name the trace of the call.
        """
        Call(self, served, pixels, count, done, requests, trace).send()

    async def get(self, path: str, endpoint: Endpoint, seconds: float = _PROBE_SECONDS) -> tuple[int, Any]:
        """GETs a path of one Triton.

        Returns:
            The status, and the JSON in the body; None where there is none.

        Raises:
            OSError: no answer, or none in time.
        """
        result: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        def done(answer: Answer | OSError) -> None:
            if result.done():
                return
            if isinstance(answer, OSError):
                result.set_exception(answer)
            else:
                result.set_result(answer)

        endpoint.ask(f"GET {path} HTTP/1.1\r\nHost: triton\r\n\r\n".encode(), seconds, done)
        answer = await result
        try:
            return answer.status, orjson.loads(answer.body) if answer.body else None
        except orjson.JSONDecodeError:
            return answer.status, None

    async def watch(self, pause: float) -> None:
        """Looks at every address again and again, until cancelled."""
        while True:
            try:
                await self.probe()
            except Exception:  # whatever is wrong, the watch goes on
                log.exception("looking at Triton failed")
            await asyncio.sleep(pause)

    async def probe(self) -> None:
        """Looks at every address once."""
        await self.endpoints.resolve()
        was = self.ready if self._probed.is_set() else None
        await asyncio.gather(*(self.look(endpoint) for endpoint in self.endpoints.all))
        if self.ready != was:
            log.log(
                logging.INFO if self.ready else logging.WARNING,
                "the model is ready" if self.ready else "the model is not ready",
                extra={"model": self.model, "version": self.newest.version if self.newest else None},
            )
        self._probed.set()
        self._probed_at = asyncio.get_running_loop().time()
        self.on_change()

    async def fresh(self, seconds: float) -> None:
        """Looks at every address, unless that was done within so many seconds: what nobody watches."""
        if asyncio.get_running_loop().time() - self._probed_at > seconds:
            await self.probe()

    async def probed(self) -> None:
        """Returns once Triton has been looked at."""
        await self._probed.wait()

    async def look(self, endpoint: Endpoint) -> bool:
        """Looks at one address from now on; who asks meanwhile shares the next look.

        What a look finds that has begun before may be older than what its caller knows.

        Returns:
            Whether it is known now what that address has; what was known before stands where it did not say.
        """
        if (earlier := self._looks.get(endpoint)) is not None:
            await asyncio.wait((earlier,))
        looking = self._looks.get(endpoint)
        if looking is None or looking.done():
            looking = self._looks[endpoint] = asyncio.create_task(self._look(endpoint))
            looking.add_done_callback(lambda done: self._looked(endpoint, done))
        return await asyncio.shield(looking)

    def _looked(self, endpoint: Endpoint, done: asyncio.Task[bool]) -> None:
        if self._looks.get(endpoint) is done:
            del self._looks[endpoint]

    async def _look(self, endpoint: Endpoint) -> bool:
        """Is the model ready, and in which versions?"""
        try:
            for left in reversed(range(_TRIES_A_LOOK)):
                try:
                    served = await self._ready_versions(endpoint)
                except NotConnectedError:
                    raise
                except ConnectionError:  # one that breaks says little about who is there
                    if not left:
                        raise
                    continue
                if served is not None:
                    endpoint.serves(served)
                    return True
        except OSError as error:
            if isinstance(error, TimeoutError | NotConnectedError) and endpoint.alive:
                return False
            endpoint.lost(str(error))
            if isinstance(error, TimeoutError):
                endpoint.drop()  # it hangs: who waits for it is better off trying elsewhere, or hearing of it
            return True
        return False

    async def _ready_versions(self, endpoint: Endpoint) -> tuple[Served, ...] | None:
        """Returns what an address has ready, the newest last; None where that changed meanwhile."""
        path = f"/v2/models/{self.model}"
        status, metadata = await self.get(path, endpoint)
        if status != 200 or (await self.get(f"{path}/ready", endpoint))[0] != 200:
            endpoint.unusable = ""
            return ()
        versions = sorted(map(str, metadata.get("versions") or ()), key=int)
        known = endpoint.read
        read: dict[str, Served | None] = {}
        for version in versions:
            if version in known:
                read[version] = known[version]
                continue
            status, config = await self.get(f"{path}/versions/{version}/config", endpoint)
            if status != 200 or not isinstance(config, dict):
                return None
            read[version] = self._take(endpoint, version, config)
        if None not in read.values():
            endpoint.unusable = ""
        endpoint.read = read
        return tuple(served for served in read.values() if served is not None)

    def _take(self, endpoint: Endpoint, version: str, config: dict[str, Any]) -> Served | None:
        """Returns what a configuration says, one object for all pods; where it cannot be read, None."""
        try:
            counted = self._statistics.setdefault(version, Statistics())
            served = read_served(self.model, version, config, self._output, counted)
        except ContractError as error:
            endpoint.unusable = (
                f"Version {version} of the model cannot be served by this release, so update cnn-image or "
                f"promote another version: {error}"
            )
            log.error(  # noqa: TRY400 - the sentence says it all
                "a version cannot be served", extra={"address": endpoint.address, "reason": endpoint.unusable}
            )
            return None
        return self._served.setdefault((version, served.contract), served)

    def _changed(self) -> None:
        if live := self.endpoints.live:
            self.known, self.newest = live, live[0]
            self.shapes = tuple(dict.fromkeys(served.contract.image_shape for served in live))
            self._returned.set()
        elif self._returned.is_set():
            self._returned.clear()
            self._went_at = asyncio.get_running_loop().time()
        self.on_change()
