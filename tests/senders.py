"""Every way into the transformer, and the mistakes that can be made on each; `docs/errors.md` names them."""

import asyncio
import base64
import gzip
import io
import struct
from typing import Any

import grpc
import numpy as np
import orjson
import pytest
from PIL import Image

from image_transformer.grpc import inference_pb2 as pb
from image_transformer.grpc.service import InferenceService
from image_transformer.observe.requests import Observer


def encoded(kind: str, size: tuple[int, int] = (40, 30)) -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(noise).save(buffer, kind)
    return buffer.getvalue()


GOOD = encoded("PNG")
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
        return await self.post(body, {**headers, "content-type": "video/mp4"})

    async def another_content_encoding(self) -> Any:
        body, headers = self.body([GOOD])
        return await self.post(body, {**headers, "content-encoding": "br"})

    async def body_that_is_no_gzip(self) -> Any:
        body, headers = self.body([GOOD])
        return await self.post(body, {**headers, "content-encoding": "gzip"})

    async def gzip_bomb(self) -> Any:
        _, headers = self.body([GOOD])
        return await self.post(gzip.compress(bytes(90_001)), {**headers, "content-encoding": "gzip"})

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


class OneTensor(Sender):
    """The mistakes in what v2 says about its one input, alike over REST and gRPC."""

    async def changed(self, **changes: Any) -> Any:
        """Sends a good image whose input's fields are changed."""
        raise NotImplementedError

    async def another_field_or_input(self) -> Any:
        return await self.changed(name="pixels")

    async def another_datatype(self) -> Any:
        return await self.changed(datatype="FP32")

    async def another_shape(self) -> Any:
        return await self.changed(shape=[1, 32])

    async def length_unlike_the_shape(self) -> Any:
        return await self.changed(shape=[2])


class V2(OneTensor):
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

    async def values_out_of_range(self) -> Any:
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

    def __init__(self) -> None:
        self.refusal: tuple[grpc.StatusCode, str, dict[str, str]] | None = None

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return (("x-request-id", "from-the-client"),)

    async def abort(
        self, code: grpc.StatusCode, details: str, trailing_metadata: tuple[tuple[str, str], ...]
    ) -> None:
        self.refusal = (code, details, dict(trailing_metadata))
        raise grpc.aio.AbortError

    def cancelled(self) -> bool:
        return False


class Grpc(OneTensor):
    def request(self, images: list[bytes]) -> pb.ModelInferRequest:
        request = pb.ModelInferRequest(model_name="cnn-image")
        request.inputs.add(name="image", datatype="BYTES", shape=[len(images)])
        request.raw_input_contents.append(raw_elements(images))
        return request

    async def send(self, images: list[bytes], **changes: Any) -> Any:
        return await self.ask(self.request(images))

    async def ask(self, request: pb.ModelInferRequest) -> Any:
        context = Context()
        observer = Observer(self.service.metrics, log_all=False)
        try:
            return await InferenceService(None, self.service.inference, observer).model_infer(
                request, context
            )
        except grpc.aio.AbortError:
            return context.refusal

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

    async def values_out_of_range(self) -> Any:
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


class Train(Sender):
    """POST /train; it takes no image, and its token is `token`."""

    path = "/train"

    def body(self, images: list[bytes]) -> tuple[bytes, dict[str, str]]:
        headers = {"authorization": "Bearer token", "prefer": "respond-async"}
        return b'{"epochs": 10}', {**headers, "content-type": "application/json"}

    async def wish(self, content: bytes) -> Any:
        return await self.post(content, self.body([])[1])

    async def not_JSON(self) -> Any:  # noqa: N802
        return await self.wish(b"epochs=10")

    async def another_field_or_input(self) -> Any:
        return await self.wish(b'{"epoch": 10}')

    async def another_datatype(self) -> Any:
        return await self.wish(b'{"epochs": "10"}')

    async def values_out_of_range(self) -> Any:
        return await self.wish(b'{"epochs": 1001}')

    async def no_token(self) -> Any:
        return await self.post(b"", {})

    async def wrong_token(self) -> Any:
        return await self.post(b"", {"authorization": "Bearer other"})

    async def training_switched_off(self) -> Any:
        return await self.send([])

    async def second_training(self) -> Any:
        await self.send([])
        return await self.send([])

    async def unknown_training(self) -> Any:
        return await self.post(b"", self.body([])[1], method="GET", path="/train/20260101-000000-abcdef")


SENDERS: dict[str, type[Sender]] = {
    "form": Form,
    "raw": Raw,
    "v2": V2,
    "v2 binary": V2Binary,
    "v1": V1,
    "gRPC": Grpc,
    "train": Train,
}
