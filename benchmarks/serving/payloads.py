"""How one request with some images looks to each contender: the same photographs in different envelopes."""

import base64
import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from model.contract import IMAGE_SHAPE, INPUT_NAME, MODEL_NAME, OUTPUT_NAME


@dataclass(frozen=True)
class Body:
    """A request's body and the headers it needs."""

    data: bytes
    headers: dict[str, str]


def raw(images: Sequence[bytes]) -> Body:
    """The image itself."""
    [image] = images
    return Body(image, {"Content-Type": "image/jpeg"})


def multipart(images: Sequence[bytes]) -> Body:
    """An upload in the field `file`, as a browser or curl sends it."""
    [image] = images
    boundary = "------------------------d74496d66958873e"
    head = (
        f"--{boundary}\r\n"
        'Content-Disposition: form-data; name="file"; filename="image.jpg"\r\n'
        "Content-Type: image/jpeg\r\n\r\n"
    )
    data = head.encode() + image + f"\r\n--{boundary}--\r\n".encode()
    return Body(data, {"Content-Type": f"multipart/form-data; boundary={boundary}"})


def v1_base64(images: Sequence[bytes]) -> Body:
    """KServe's v1 protocol: base64 in JSON."""
    instances = [{"image": {"b64": base64.b64encode(image).decode()}} for image in images]
    return Body(json.dumps({"instances": instances}).encode(), {"Content-Type": "application/json"})


def json_base64(images: Sequence[bytes]) -> Body:
    """A list of base64 images in JSON."""
    encoded = [base64.b64encode(image).decode() for image in images]
    return Body(json.dumps({"images": encoded}).encode(), {"Content-Type": "application/json"})


def length_prefixed(images: Sequence[bytes]) -> bytes:
    """v2's binary form of a BYTES tensor: each element after its length."""
    return b"".join(struct.pack("<I", len(image)) + image for image in images)


def v2_encoded(images: Sequence[bytes], name: str = INPUT_NAME, *, trailing: tuple[int, ...] = ()) -> Body:
    """v2 REST with encoded images in the binary extension, the answer as JSON."""
    data = length_prefixed(images)
    return _v2(name, [len(images), *trailing], "BYTES", data, binary_answer=False)


def v2_base64(images: Sequence[bytes]) -> Body:
    """v2 REST as JSON alone, the images in base64."""
    tensor = {
        "name": INPUT_NAME,
        "shape": [len(images)],
        "datatype": "BYTES",
        "data": [base64.b64encode(image).decode() for image in images],
    }
    return Body(json.dumps({"inputs": [tensor]}).encode(), {"Content-Type": "application/json"})


def v2_pixels(pixels: Sequence[bytes]) -> Body:
    """v2 REST with decoded pixels in the binary extension, the answer binary too: the leanest there is."""
    return _v2(INPUT_NAME, [len(pixels), *IMAGE_SHAPE], "UINT8", b"".join(pixels), binary_answer=True)


def _v2(name: str, shape: list[int], datatype: str, data: bytes, *, binary_answer: bool) -> Body:
    head = json.dumps(
        {
            "inputs": [
                {
                    "name": name,
                    "shape": shape,
                    "datatype": datatype,
                    "parameters": {"binary_data_size": len(data)},
                }
            ],
            "outputs": [{"name": OUTPUT_NAME, "parameters": {"binary_data": binary_answer}}],
        }
    ).encode()
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head))}
    return Body(head + data, headers)


def grpc_encoded(images: Sequence[bytes], model: str, name: str, *, trailing: tuple[int, ...] = ()) -> bytes:
    """A v2 gRPC `ModelInferRequest`, serialized, with encoded images as raw contents."""
    # Imported here: it pulls in the whole of kserve, which the HTTP scenarios do without.
    from kserve.protocol.grpc.grpc_predict_v2_pb2 import ModelInferRequest

    request = ModelInferRequest(model_name=model or MODEL_NAME)
    tensor = request.inputs.add(name=name, datatype="BYTES")
    tensor.shape.extend([len(images), *trailing])
    request.raw_input_contents.append(length_prefixed(images))
    return bytes(request.SerializeToString())


def http_request(path: str, host: str, body: Body) -> bytes:
    """The whole HTTP/1.1 request, as it goes over the wire."""
    headers = {"Host": host, **body.headers, "Content-Length": str(len(body.data))}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode() + body.data
