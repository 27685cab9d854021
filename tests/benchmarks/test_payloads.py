"""The envelopes, read back by parsers that are not ours."""

import base64
import json
import struct
from email.parser import BytesParser
from email.policy import HTTP

from kserve.protocol.grpc.grpc_predict_v2_pb2 import ModelInferRequest

from benchmarks.serving import payloads
from benchmarks.serving.photographs import small_images

IMAGES = small_images(3)


def test_small_images_are_jpegs_of_different_classes() -> None:
    assert all(image.startswith(b"\xff\xd8\xff") for image in IMAGES)
    assert len(set(small_images(64))) == 64


def test_multipart_is_read_by_the_standard_library() -> None:
    body = payloads.multipart(IMAGES[:1])
    message = BytesParser(policy=HTTP).parsebytes(
        f"Content-Type: {body.headers['Content-Type']}\r\n\r\n".encode() + body.data
    )
    [part] = message.iter_parts()  # type: ignore[attr-defined]
    assert part.get_param("name", header="content-disposition") == "file"
    assert part.get_payload(decode=True) == IMAGES[0]


def test_v2_binary_has_the_json_and_then_each_image_after_its_length() -> None:
    body = payloads.v2_encoded(IMAGES, "encoded", trailing=(1,))
    head_length = int(body.headers["Inference-Header-Content-Length"])
    [tensor] = json.loads(body.data[:head_length])["inputs"]
    assert (tensor["name"], tensor["shape"], tensor["datatype"]) == ("encoded", [3, 1], "BYTES")
    tail = body.data[head_length:]
    assert tensor["parameters"]["binary_data_size"] == len(tail)
    found = []
    while tail:
        (length,) = struct.unpack_from("<I", tail)
        found.append(tail[4 : 4 + length])
        tail = tail[4 + length :]
    assert found == IMAGES


def test_base64_carries_the_images() -> None:
    v1 = json.loads(payloads.v1_base64(IMAGES).data)
    assert [base64.b64decode(one["image"]["b64"]) for one in v1["instances"]] == IMAGES
    plain = json.loads(payloads.json_base64(IMAGES).data)
    assert [base64.b64decode(one) for one in plain["images"]] == IMAGES


def test_grpc_is_read_by_the_protocol_s_own_message() -> None:
    request = ModelInferRequest.FromString(
        payloads.grpc_encoded(IMAGES, "ensemble", "encoded", trailing=(1,))
    )
    assert request.model_name == "ensemble"
    assert list(request.inputs[0].shape) == [3, 1]
    assert request.raw_input_contents[0] == payloads.length_prefixed(IMAGES)


def test_the_http_request_announces_its_length() -> None:
    request = payloads.http_request("/predict", "127.0.0.1:80", payloads.raw(IMAGES[:1]))
    head, _, body = request.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1:80\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert body == IMAGES[0]
