"""A steady load of single images and many, by every way in; every answer is held against ONNX Runtime's.

What a client may be told depends on which of them live.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any, Protocol

import grpc.aio
import httpx
import numpy as np
import onnxruntime
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as stubs
from numpy.typing import NDArray
from other_contracts import decoded
from ways_in import BY_BYTES, BY_NAME, BY_PIXELS, DIFFERENT, PICTURES, PIXELS, Asked, Clients, Told, Way

from model.contract import Contract

COUNTS = (1, 32, 256)


class Written(Protocol):
    """A version whose graph can be written to a folder."""

    @property
    def version(self) -> int:
        """Its number."""

    @property
    def contract(self) -> Contract:
        """What it takes and answers."""

    def write(self, folder: Path) -> None:
        """Writes `<folder>/<model>` as a whole model of a Triton repository."""


class Due:
    """What ONNX Runtime makes of each picture, and of finished pixels, by the graphs of the versions."""

    def __init__(self, folder: Path, models: Iterable[Written]) -> None:
        self.models = {str(model.version): model for model in models}
        self.pictures: dict[str, NDArray[np.float32]] = {}
        self.pixels: dict[str, NDArray[np.float32]] = {}
        for version, model in self.models.items():
            model.write(folder / version)
            graph = folder / version / model.contract.model / version / "model.onnx"
            session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
            squares = np.concatenate([decoded(model.contract, image) for image in PICTURES])
            (self.pictures[version],) = session.run(["probs"], {"image": squares})
            if model.contract.size in PIXELS:
                (self.pixels[version],) = session.run(["probs"], {"image": PIXELS[model.contract.size]})


@dataclass
class Living:
    """Which versions may answer now, and which have to where they are asked for."""

    may: frozenset[str] = frozenset()
    must: frozenset[str] = frozenset()


@dataclass
class Load:
    """What was asked and answered while the load lasts.

    Attributes:
        living: To be set by the test before it changes what lives, and after.
        right: Requests by way, images a request and version, all checked.
        right_now: Ways, and numbers of images, with the versions that answered so since the test cleared it.
        images: Answered to who named no version and sent no pixels, by version; since the test cleared it.
        refused: Requests by way and status, all as they had to be.
    """

    due: Due
    clients: Clients
    living: Living
    right: Counter[tuple[str, int, str]] = field(default_factory=Counter)
    right_now: set[tuple[str | int, str]] = field(default_factory=set)
    images: Counter[str] = field(default_factory=Counter)
    refused: Counter[tuple[str, int]] = field(default_factory=Counter)

    async def ask(self, way: Way, asked: Asked) -> Told:
        """Asks once, and checks what comes back."""
        before = self.living
        told = await way(self.clients, asked)
        self._check(way, asked, told, before, self.living)
        return told

    def _check(self, way: Way, asked: Asked, told: Told, before: Living, after: Living) -> None:
        count = len(asked.numbers)
        kind = f"{way.__name__}, {count} images, side {asked.side}, version {asked.version}"
        may, must = before.may | after.may, before.must & after.must
        if told.status != 200:
            wanted = {v for v in must if asked.version in {None, v}}
            if asked.side is not None:
                wanted = {v for v in wanted if self.due.models[v].contract.size == asked.side}
            assert not wanted, f"{kind} is refused, though {wanted} live: {told.status} {told.error}"
            if asked.version is not None and told.status == 404:
                assert f"Version '{asked.version}' is not served; version" in told.error
            else:
                assert asked.side is not None, f"{kind}: {told.status} {told.error}"
                assert told.status == 422, f"{kind}: {told.status} {told.error}"
                assert f"[{count}, {asked.side}, {asked.side}, 3]; send [N]" in told.error
            self.refused[way.__name__, told.status] += 1
            return
        assert told.version in may, f"{kind}: answered by {told.version}, of {sorted(may)}"
        assert asked.version in {None, told.version}, f"{kind}: answered by {told.version}"
        due = (self.due.pictures if asked.side is None else self.due.pixels)[told.version][
            list(asked.numbers)
        ]
        assert told.probs.shape == due.shape, f"{kind}: {told.probs.shape} of version {told.version}"
        assert np.allclose(told.probs, due, atol=1e-5), f"{kind}: not what version {told.version} answers"
        if told.names is not None:
            classes = self.due.models[told.version].contract.classes
            assert told.names == [classes[best] for best in due.argmax(1)], kind
        self.right[way.__name__, count, told.version] += 1
        if asked.side is None and asked.version is None:
            self.right_now |= {(way.__name__, told.version), (count, told.version)}
            self.images[told.version] += count

    async def _client(self, ways: Sequence[Way], count: int, first: int, **kind: Any) -> None:
        for number, way in enumerate(cycle(ways)):
            start = first + number
            numbers = [(start + offset) % DIFFERENT for offset in range(count)]
            began = time.perf_counter()
            told = await self.ask(way, Asked(numbers, **kind))
            # A steady load, and no overload: who is refused would otherwise ask all the time.
            await asyncio.sleep(time.perf_counter() - began if told.status == 200 else 0.1)


def many_clients(asking: Load, named: Sequence[str]) -> list[Coroutine[Any, Any, None]]:
    """A client for each way in, and more with many images a request; some name a version."""
    return [
        *(asking._client((way,), 1, first) for first, way in enumerate(BY_BYTES)),
        *(asking._client(BY_BYTES, 32, first) for first in (0, 20)),
        asking._client(BY_BYTES, 256, 0),
        *(asking._client(BY_PIXELS, count, 0, side=side) for side in PIXELS for count in (1, 8)),
        asking._client(BY_PIXELS[:2], 256, 0, side=64),
        *(asking._client(BY_NAME, count, 0, version=one) for one in named for count in (1, 256)),
    ]


def few_clients(asking: Load, named: Sequence[str]) -> list[Coroutine[Any, Any, None]]:
    """One of each kind, which takes every way in turn: for pods that have less than a core."""
    return [
        *(asking._client(BY_BYTES, count, 0) for count in (1, 32)),
        *(asking._client(BY_PIXELS, 8, 0, side=side) for side in PIXELS),
        *(asking._client(BY_NAME, 1, 0, version=one) for one in named),
    ]


@asynccontextmanager
async def load(
    url: str,
    address: str,
    due: Due,
    living: Living,
    named: Sequence[str],
    clients: Callable[[Load, Sequence[str]], list[Coroutine[Any, Any, None]]] = many_clients,
) -> AsyncIterator[Load]:
    """Clients ask as long as the block runs; the first wrong answer fails it.

    Args:
        url: Of the service that is asked over REST.
        address: HOST:PORT at which it is asked over gRPC.
        due: What is right.
        living: Which versions live at first.
        named: Versions that some clients name.
        clients: Makes them.
    """
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    channel = grpc.aio.insecure_channel(address, options=options)
    async with httpx.AsyncClient(base_url=url, timeout=60) as http, channel:
        asking = Load(due, Clients(http, stubs.GRPCInferenceServiceStub(channel)), living)
        tasks = [asyncio.create_task(client) for client in clients(asking, named)]
        body = asyncio.current_task()
        assert body is not None

        failed: list[BaseException] = []

        def ended(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and (error := task.exception()) is not None:
                failed.append(error)
                body.cancel()

        for task in tasks:
            task.add_done_callback(ended)
        try:
            yield asking
        except asyncio.CancelledError:
            if not failed:
                raise
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    if failed:
        raise AssertionError(f"a client failed: {failed[0]}") from failed[0]


async def until(happened: Callable[[], bool | Awaitable[bool]], seconds: float = 120) -> None:
    """Waits for a condition."""
    async with asyncio.timeout(seconds):
        while True:
            result = happened()
            if result if isinstance(result, bool) else await result:
                return
            await asyncio.sleep(0.02)
