"""One request of a client by each way in: what is asked, over REST or gRPC, and what comes back."""

import base64
import io
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

import grpc.aio
import httpx
import numpy as np
import orjson
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from other_contracts import picture
from PIL import Image
from senders import raw_elements, text

logging.getLogger("httpx").setLevel(logging.WARNING)  # it says a line a request

DIFFERENT = 40


def _pictures() -> list[bytes]:
    """Small pictures of several shapes, as PNG and JPEG."""
    found = [picture(seed) for seed in range(DIFFERENT // 2)]
    for seed in range(DIFFERENT - len(found)):
        buffer = io.BytesIO()
        with Image.open(io.BytesIO(picture(seed + 100))) as image:
            image.rotate(90 * seed, expand=True).save(buffer, "JPEG", quality=90)
        found.append(buffer.getvalue())
    return found


PICTURES = _pictures()
PIXELS = {
    side: np.random.default_rng(side).integers(0, 256, (DIFFERENT, side, side, 3), np.uint8)
    for side in (32, 64)
}


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
