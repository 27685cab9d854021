"""Reads the tables of docs/errors.md, and makes every mistake in them on every route."""

import asyncio
import base64
import io
import re
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import orjson
import pytest
from grpc_interceptor.exceptions import GrpcException
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from PIL import Image

from image_transformer.errors import FAILURES
from image_transformer.grpc_service import ImageServicer
from image_transformer.observe import Observer

DOCUMENT = Path(__file__).parents[2] / "docs" / "errors.md"
LIMITS = {
    "max_images": 4,
    "max_pixels": 20_000,
    "max_image_bytes": 60_000,
    "max_body_bytes": 90_000,
    "body_seconds": 0.1,
    "triton_seconds": 0.1,
}
ROUTES = ("form", "raw", "v2", "v2 binary", "v1", "gRPC")


def table(title: str) -> list[list[str]]:
    """The rows of a section's table."""
    section = DOCUMENT.read_text().split(f"\n## {title}\n")[1].split("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


MISTAKES = {row[0]: dict(zip(ROUTES, row[1:], strict=True)) for row in table("Every mistake on every route")}
CASES = [(mistake, route) for mistake, cells in MISTAKES.items() for route in ROUTES if cells[route]]


def encoded(kind: str, size: tuple[int, int] = (40, 30)) -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(noise).save(buffer, kind)
    return buffer.getvalue()


GOOD = encoded("PNG")
IMAGES: dict[str, list[bytes]] = {
    "empty image": [b""],
    "text for an image": [b"hello, this is no image"],
    "image cut short": [GOOD[:500]],
    "SVG": [b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"></svg>'],
    "TIFF": [encoded("TIFF")],
    "too many pixels": [encoded("GIF", (200, 101))],
    "image too long": [encoded("BMP", (150, 133)) + bytes(1000)],
    "one bad image of three": [GOOD, GOOD, GOOD[:500]],
    "too many images": [GOOD] * 5,
    "no image": [],
}
BOUNDARY = "a-boundary"


def form(images: list[bytes], field: str = "file") -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"; filename="x"\r\n\r\n'.encode()
    return b"".join(head + image + b"\r\n" for image in images) + f"--{BOUNDARY}--\r\n".encode()


def text(image: bytes) -> str:
    return base64.b64encode(image).decode()


def raw_elements(images: list[bytes]) -> bytes:
    return b"".join(struct.pack("<I", len(image)) + image for image in images)


class Sender:
    """Sends images by one route, with the mistakes that are not the images' own."""

    path = "/predict"

    def __init__(self, service: Any) -> None:
        self.service = service

    def body(self, images: list[bytes]) -> tuple[bytes, dict[str, str]]:
        raise NotImplementedError

    async def send(self, images: list[bytes], **changes: Any) -> Any:
        body, headers = self.body(images)
        return await self.post(body, headers, **changes)

    async def post(self, body: Any, headers: dict[str, str], method: str = "POST", **changes: Any) -> Any:
        path = changes.pop("path", self.path)
        names = {name.replace("-", "_"): value for name, value in {**headers, **changes}.items()}
        return await self.service.call(method, path, body, **names)

    # Each method below is a mistake of the table, its spaces turned into underscores.
    async def empty_body(self) -> Any:
        return await self.post(b"", self.body([GOOD])[1])

    async def body_cut_short(self) -> Any:
        body, headers = self.body([GOOD])
        return await self.post(body[: len(body) // 2], headers)

    async def another_content_type(self) -> Any:
        body, headers = self.body([GOOD])
        return await self.post(body, {**headers, "content-type": "text/plain"})

    async def compressed_body(self) -> Any:
        body, headers = self.body([GOOD])
        return await self.post(body, {**headers, "content-encoding": "gzip"})

    async def body_too_long(self) -> Any:
        _, headers = self.body([GOOD])

        async def receive() -> Any:
            pytest.fail("a body that is announced to be too long is not read")

        return await self.post(b"", {**headers, "content-length": "90001"}, receive=receive)

    async def body_too_long__length_not_announced(self) -> Any:
        _, headers = self.body([GOOD])
        return await self.post([bytes(30_000)] * 4, headers)

    async def body_that_never_ends(self) -> Any:
        _, headers = self.body([GOOD])

        async def receive() -> Any:
            await asyncio.sleep(0.01)
            return {"type": "http.request", "body": b"x", "more_body": True}

        return await self.post(b"", headers, receive=receive)

    async def GET(self) -> Any:  # noqa: N802 - named as in the table
        return await self.post(b"", {}, method="GET")

    async def unknown_model(self) -> Any:
        body, headers = self.body([GOOD])
        return await self.post(body, headers, path=self.path.replace("cnn-image", "other"))


class Form(Sender):
    def body(self, images: list[bytes]) -> tuple[bytes, dict[str, str]]:
        return form(images), {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}

    async def another_field_or_input(self) -> Any:
        return await self.post(form([GOOD], "image"), self.body([])[1])


class Raw(Sender):
    def body(self, images: list[bytes]) -> tuple[bytes, dict[str, str]]:
        return b"".join(images), {"content-type": "image/png"}


class V1(Sender):
    path = "/v1/models/cnn-image:predict"

    def body(self, images: list[bytes]) -> tuple[bytes, dict[str, str]]:
        instances = [{"image": {"b64": text(image)}} for image in images]
        return orjson.dumps({"instances": instances}), {"content-type": "application/json"}

    async def not_JSON(self) -> Any:  # noqa: N802
        return await self.post(b"{'instances': ", self.body([])[1])

    async def another_field_or_input(self) -> Any:
        return await self.post(orjson.dumps({"inputs": []}), self.body([])[1])

    async def not_base64(self) -> Any:
        return await self.post(orjson.dumps({"instances": [{"image": {"b64": "??"}}]}), self.body([])[1])

    async def data_URI(self) -> Any:  # noqa: N802
        uri = "data:image/png;base64," + text(GOOD)
        return await self.post(orjson.dumps({"instances": [{"image": {"b64": uri}}]}), self.body([])[1])


class V2(Sender):
    path = "/v2/models/cnn-image/infer"

    def request(self, images: list[bytes], **changes: Any) -> dict[str, Any]:
        data = [text(image) for image in images]
        return {
            "inputs": [{"name": "image", "datatype": "BYTES", "shape": [len(data)], "data": data, **changes}]
        }

    def body(self, images: list[bytes]) -> tuple[bytes, dict[str, str]]:
        return orjson.dumps(self.request(images)), {"content-type": "application/json"}

    async def changed(self, **changes: Any) -> Any:
        return await self.post(orjson.dumps(self.request([GOOD], **changes)), self.body([])[1])

    async def not_JSON(self) -> Any:  # noqa: N802
        return await self.post(b"{'inputs': ", self.body([])[1])

    async def another_field_or_input(self) -> Any:
        return await self.changed(name="pixels")

    async def another_datatype(self) -> Any:
        return await self.changed(datatype="FP32")

    async def another_shape(self) -> Any:
        return await self.changed(shape=[1, 32])

    async def length_unlike_the_shape(self) -> Any:
        return await self.changed(shape=[2])

    async def pixels_over_255(self) -> Any:
        return await self.changed(datatype="UINT8", shape=[1, 32, 32, 3], data=[256] * 3072)

    async def not_base64(self) -> Any:
        return await self.changed(data=["??"])

    async def data_URI(self) -> Any:  # noqa: N802
        return await self.changed(data=["data:image/png;base64," + text(GOOD)])

    async def unknown_output(self) -> Any:
        request = {**self.request([GOOD]), "outputs": [{"name": "logits"}]}
        return await self.post(orjson.dumps(request), self.body([])[1])

    async def unknown_version(self) -> Any:
        return await self.send([GOOD], path="/v2/models/cnn-image/versions/6/infer")


class V2Binary(V2):
    def binary(self, tail: bytes, **changes: Any) -> tuple[bytes, dict[str, str]]:
        request = self.request([GOOD], parameters={"binary_data_size": len(tail)}, **changes)
        del request["inputs"][0]["data"]
        head = orjson.dumps(request)
        kind = {"content-type": "application/octet-stream"}
        return head + tail, {**kind, "inference-header-content-length": str(len(head))}

    def body(self, images: list[bytes]) -> tuple[bytes, dict[str, str]]:
        return self.binary(raw_elements(images), shape=[len(images)])

    async def changed(self, **changes: Any) -> Any:
        return await self.post(*self.binary(raw_elements([GOOD]), **changes))

    async def unknown_output(self) -> Any:
        body, headers = self.body([GOOD])
        length = int(headers["inference-header-content-length"])
        head = orjson.dumps({**orjson.loads(body[:length]), "outputs": [{"name": "logits"}]})
        return await self.post(
            head + body[length:], {**headers, "inference-header-content-length": str(len(head))}
        )


class Context:
    """As much of gRPC's context as the service uses."""

    trailer: tuple[tuple[str, str], ...] = ()

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return (("x-request-id", "from-the-client"),)

    def set_trailing_metadata(self, trailer: tuple[tuple[str, str], ...]) -> None:
        self.trailer = trailer

    def cancelled(self) -> bool:
        return False


class Grpc(Sender):
    def request(self, images: list[bytes]) -> pb.ModelInferRequest:
        request = pb.ModelInferRequest(model_name="cnn-image")
        request.inputs.add(name="image", datatype="BYTES", shape=[len(images)])
        request.raw_input_contents.append(raw_elements(images))
        return request

    async def send(self, images: list[bytes], **changes: Any) -> Any:
        return await self.ask(self.request(images))

    async def ask(self, request: pb.ModelInferRequest) -> Any:
        context = Context()
        servicer = ImageServicer(
            None, None, self.service.inference, Observer(self.service.metrics, log_all=False)
        )
        try:
            return await servicer.ModelInfer(request, context)
        except GrpcException as error:
            return error.status_code, error.details, dict(context.trailer)

    async def changed(self, **changes: Any) -> Any:
        request = self.request([GOOD])
        for name, value in changes.items():
            if name == "shape":
                request.inputs[0].shape[:] = value
            else:
                setattr(request.inputs[0], name, value)
        return await self.ask(request)

    async def empty_body(self) -> Any:
        return await self.ask(pb.ModelInferRequest(model_name="cnn-image"))

    async def another_field_or_input(self) -> Any:
        return await self.changed(name="pixels")

    async def another_datatype(self) -> Any:
        return await self.changed(datatype="FP32")

    async def another_shape(self) -> Any:
        return await self.changed(shape=[1, 32])

    async def length_unlike_the_shape(self) -> Any:
        return await self.changed(shape=[2])

    async def pixels_over_255(self) -> Any:
        request = pb.ModelInferRequest(model_name="cnn-image")
        tensor = request.inputs.add(name="image", datatype="UINT8", shape=[1, 32, 32, 3])
        tensor.contents.uint_contents.extend([256] * 3072)
        return await self.ask(request)

    async def unknown_output(self) -> Any:
        request = self.request([GOOD])
        request.outputs.add(name="logits")
        return await self.ask(request)

    async def unknown_version(self) -> Any:
        request = self.request([GOOD])
        request.model_version = "6"
        return await self.ask(request)

    async def unknown_model(self) -> Any:
        request = self.request([GOOD])
        request.model_name = "other"
        return await self.ask(request)


SENDERS: dict[str, type[Sender]] = {
    "form": Form,
    "raw": Raw,
    "v2": V2,
    "v2 binary": V2Binary,
    "v1": V1,
    "gRPC": Grpc,
}


async def too_much_at_once(service: Any, sender: Sender) -> Any:
    service.fake.answers.clear()
    batcher = service.inference._batcher
    waiting: list[asyncio.Task[Any]] = []
    async with asyncio.timeout(10):
        while batcher._queued < 2:
            waiting.append(asyncio.create_task(sender.send([GOOD])))
            while sum(service.fake.calls) + batcher._queued < len(waiting):  # noqa: ASYNC110
                await asyncio.sleep(0.001)
    answer = await sender.send([GOOD])
    service.fake.answers.set()
    await asyncio.gather(*waiting)
    return answer


async def triton_is_away(service: Any, sender: Sender) -> Any:
    await service.fake.stop()
    return await sender.send([GOOD])


async def triton_hangs(service: Any, sender: Sender) -> Any:
    service.fake.answers.clear()
    return await sender.send([GOOD])


FAULTS: dict[str, Callable[[Any, Sender], Awaitable[Any]]] = {
    "too much at once": too_much_at_once,
    "Triton is away": triton_is_away,
    "Triton hangs": triton_hangs,
}


@pytest.mark.parametrize(("mistake", "route"), CASES, ids=lambda value: value.replace(" ", "-"))
async def test_every_mistake_on_every_route(start_service: Any, mistake: str, route: str) -> None:
    service = await start_service(**LIMITS, max_queued_images=2 if mistake in FAULTS else 100)
    sender = SENDERS[route](service)
    if mistake in IMAGES:
        answer = await sender.send(IMAGES[mistake])
    elif mistake in FAULTS:
        answer = await FAULTS[mistake](service, sender)
    else:
        answer = await getattr(sender, re.sub(r"[ ,]", "_", mistake))()

    code = MISTAKES[mistake][route]
    failure = FAILURES[code]
    assert service.metrics.errors == {code: 1}
    if route == "gRPC":
        status, sentence, trailer = answer
        assert status is grpc.StatusCode[failure.grpc]
        assert trailer["code"] == code
        assert trailer["x-request-id"] == "from-the-client"
        assert trailer.get("retry-after") == (str(failure.retry_after) if failure.retry_after else None)
    else:
        content = answer.json()
        sentence = content["error"]
        assert answer.status == failure.http
        assert content["code"] == code
        assert content["request_id"] == answer.headers["x-request-id"]
        assert answer.headers.get("retry-after") == (
            str(failure.retry_after) if failure.retry_after else None
        )
        assert ("allow" in answer.headers) is (code == "method_not_allowed")
        assert ("index" in content) is (
            mistake == "one bad image of three" or mistake in {"not base64", "data URI"}
        )
    assert re.fullmatch(r"[A-Z0-9].*\.", sentence), "one sentence"


@pytest.mark.parametrize("route", ROUTES)
async def test_without_a_mistake_it_is_an_answer(start_service: Any, route: str) -> None:
    """What the table's mistakes are made in is right otherwise."""
    service = await start_service(**LIMITS)
    answer = await SENDERS[route](service).send([GOOD])
    assert isinstance(answer, pb.ModelInferResponse) or answer.status == 200


def test_the_documented_codes_are_the_codes() -> None:
    documented = {
        code: (int(http), status, int(after) if after else None)
        for code, http, status, after, _ in table("Codes")
    }
    assert documented == {
        code: (failure.http, failure.grpc, failure.retry_after) for code, failure in FAILURES.items()
    }
