"""A steady load of single images and many, by every way in; every answer is held against ONNX Runtime's.

The versions that answer are `SmallModel`s; what a client may be told depends on which of them live.
"""

import asyncio
import base64
import io
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

import grpc.aio
import httpx
import numpy as np
import onnxruntime
import orjson
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as stubs
from numpy.typing import NDArray
from other_contracts import decoded, picture
from PIL import Image
from senders import raw_elements, text
from serving import RunningTransformer, SmallModel

logging.getLogger("httpx").setLevel(logging.WARNING)  # it says a line a request

COUNTS = (1, 32, 256)
_DIFFERENT = 40


def _pictures() -> list[bytes]:
    """Small pictures of several shapes, as PNG and JPEG."""
    found = [picture(seed) for seed in range(_DIFFERENT // 2)]
    for seed in range(_DIFFERENT - len(found)):
        buffer = io.BytesIO()
        with Image.open(io.BytesIO(picture(seed + 100))) as image:
            image.rotate(90 * seed, expand=True).save(buffer, "JPEG", quality=90)
        found.append(buffer.getvalue())
    return found


PICTURES = _pictures()
PIXELS = {
    side: np.random.default_rng(side).integers(0, 256, (_DIFFERENT, side, side, 3), np.uint8)
    for side in (32, 64)
}


class Due:
    """What ONNX Runtime makes of each picture, and of finished pixels, by the graphs of the versions."""

    def __init__(self, folder: Path, models: Iterable[SmallModel]) -> None:
        self.models = {str(model.version): model for model in models}
        self.pictures: dict[str, NDArray[np.float32]] = {}
        self.pixels: dict[str, NDArray[np.float32]] = {}
        for version, model in self.models.items():
            model.write(folder / version)
            graph = folder / version / model.contract.model / version / "model.onnx"
            session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
            squares = np.concatenate([decoded(model, image) for image in PICTURES])
            (self.pictures[version],) = session.run(["probs"], {"image": squares})
            if model.contract.size in PIXELS:
                (self.pixels[version],) = session.run(["probs"], {"image": PIXELS[model.contract.size]})


class Asked(NamedTuple):
    """What a client asks.

    Attributes:
        numbers: Of the images.
        side: Of finished pixels; None where the images are encoded.
        version: That it names, if any.
    """

    numbers: Sequence[int]
    side: int | None = None
    version: str | None = None


class Told(NamedTuple):
    """What a client is told.

    Attributes:
        status: HTTP's; 200 for gRPC's OK, and HTTP's own number for its others.
        version: That answered.
        probs: `[N, classes]`.
        names: Of the classes, where the way gives any.
        error: The sentence of a refusal.
    """

    status: int
    version: str = ""
    probs: Any = ()
    names: Sequence[str] | None = None
    error: str = ""


Way = Callable[["Clients", Asked], Awaitable[Told]]


class Clients(NamedTuple):
    """How the transformer is reached."""

    http: httpx.AsyncClient
    grpc: Any


def _encoded(asked: Asked) -> list[bytes]:
    return [PICTURES[number] for number in asked.numbers]


def _raw(asked: Asked) -> tuple[str, list[int], bytes]:
    """The input as raw bytes: datatype, shape, bytes."""
    if asked.side is None:
        return "BYTES", [len(asked.numbers)], raw_elements(_encoded(asked))
    pixels = PIXELS[asked.side][list(asked.numbers)]
    return "UINT8", list(pixels.shape), pixels.tobytes()


def _path(asked: Asked) -> str:
    return "/v2/models/cnn-image" + (f"/versions/{asked.version}" if asked.version else "") + "/infer"


def _refused(answer: httpx.Response) -> Told:
    return Told(answer.status_code, error=answer.json()["error"])


async def predict(clients: Clients, asked: Asked) -> Told:
    """POST /predict: one image as it is, many in a form."""
    images = _encoded(asked)
    if len(images) == 1:
        answer = await clients.http.post("/predict", content=images[0], headers={"content-type": "image/png"})
    else:
        answer = await clients.http.post("/predict", files=[("file", ("x", image)) for image in images])
    if answer.status_code != 200:
        return _refused(answer)
    bodies = answer.json() if len(images) > 1 else [answer.json()]
    probs = np.float32([body["probabilities"] for body in bodies])
    assert [body["class_id"] for body in bodies] == probs.argmax(1).tolist()
    return Told(200, answer.headers["x-model-version"], probs, [body["class_name"] for body in bodies])


def _v2(answer: httpx.Response, body: Any, probs: Any) -> Told:
    (output,) = body["outputs"]
    assert answer.headers["x-model-version"] == body["model_version"]
    return Told(200, body["model_version"], np.reshape(np.float32(probs), output["shape"]))


async def v2(clients: Clients, asked: Asked) -> Told:
    """v2 over REST, all in JSON."""
    datatype, shape, _ = _raw(asked)
    if asked.side is None:
        data: Any = [text(image) for image in _encoded(asked)]
    else:
        data = PIXELS[asked.side][list(asked.numbers)].ravel().tolist()
    tensor = {"name": "image", "datatype": datatype, "shape": shape, "data": data}
    body = orjson.dumps({"inputs": [tensor]})
    answer = await clients.http.post(_path(asked), content=body, headers={"content-type": "application/json"})
    if answer.status_code != 200:
        return _refused(answer)
    return _v2(answer, answer.json(), answer.json()["outputs"][0]["data"])


async def v2_binary(clients: Clients, asked: Asked) -> Told:
    """v2 over REST with the binary extension, both ways."""
    datatype, shape, raw = _raw(asked)
    tensor = {
        "name": "image",
        "datatype": datatype,
        "shape": shape,
        "parameters": {"binary_data_size": len(raw)},
    }
    head = orjson.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}})
    headers = {
        "content-type": "application/octet-stream",
        "inference-header-content-length": str(len(head)),
    }
    answer = await clients.http.post(_path(asked), content=head + raw, headers=headers)
    if answer.status_code != 200:
        return _refused(answer)
    length = int(answer.headers["inference-header-content-length"])
    return _v2(answer, orjson.loads(answer.content[:length]), np.frombuffer(answer.content[length:], "<f4"))


async def v1(clients: Clients, asked: Asked) -> Told:
    """KServe's v1."""
    instances = [{"image": {"b64": base64.b64encode(image).decode()}} for image in _encoded(asked)]
    answer = await clients.http.post("/v1/models/cnn-image:predict", json={"instances": instances})
    if answer.status_code != 200:
        return _refused(answer)
    return Told(200, answer.headers["x-model-version"], np.float32(answer.json()["predictions"]))


async def over_grpc(clients: Clients, asked: Asked) -> Told:
    """v2 over gRPC, raw."""
    datatype, shape, raw = _raw(asked)
    message = pb.ModelInferRequest(
        model_name="cnn-image", model_version=asked.version or "", raw_input_contents=[raw]
    )
    message.inputs.add(name="image", datatype=datatype, shape=shape)
    try:
        answer = await clients.grpc.ModelInfer(message, timeout=60)
    except grpc.aio.AioRpcError as error:
        statuses = {grpc.StatusCode.NOT_FOUND: 404, grpc.StatusCode.INVALID_ARGUMENT: 422}
        return Told(statuses.get(error.code(), 500), error=f"{error.code()}: {error.details()}")
    probs = np.frombuffer(answer.raw_output_contents[0], "<f4").reshape(answer.outputs[0].shape)
    return Told(200, answer.model_version, probs)


BY_BYTES: tuple[Way, ...] = (predict, v2, v2_binary, v1, over_grpc)
BY_PIXELS: tuple[Way, ...] = (v2_binary, over_grpc, v2)
BY_NAME: tuple[Way, ...] = (v2, v2_binary, over_grpc)


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
            numbers = [(start + offset) % _DIFFERENT for offset in range(count)]
            began = time.perf_counter()
            told = await self.ask(way, Asked(numbers, **kind))
            # A steady load, and no overload: who is refused would otherwise ask all the time.
            await asyncio.sleep(time.perf_counter() - began if told.status == 200 else 0.1)


@asynccontextmanager
async def load(
    transformer: RunningTransformer, due: Due, living: Living, named: Sequence[str]
) -> AsyncIterator[Load]:
    """Clients ask as long as the block runs; the first wrong answer fails it.

    Args:
        transformer: Who is asked.
        due: What is right.
        living: Which versions live at first.
        named: Versions that some clients name.
    """
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    channel = grpc.aio.insecure_channel(f"127.0.0.1:{transformer.grpc_port}", options=options)
    async with httpx.AsyncClient(base_url=transformer.url, timeout=60) as http, channel:
        asking = Load(due, Clients(http, stubs.GRPCInferenceServiceStub(channel)), living)
        clients = [
            *(asking._client((way,), 1, first) for first, way in enumerate(BY_BYTES)),
            *(asking._client(BY_BYTES, 32, first) for first in (0, 20)),
            asking._client(BY_BYTES, 256, 0),
            *(asking._client(BY_PIXELS, count, 0, side=side) for side in PIXELS for count in (1, 8)),
            asking._client(BY_PIXELS[:2], 256, 0, side=64),
            *(asking._client(BY_NAME, count, 0, version=one) for one in named for count in (1, 256)),
        ]
        tasks = [asyncio.create_task(client) for client in clients]
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
