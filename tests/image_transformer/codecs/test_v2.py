import base64
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
import pytest

from image_transformer.codecs.outputs import Asked
from image_transformer.codecs.tensors import Images, Probabilities, Written
from image_transformer.codecs.v2 import InferRequest, answer, from_raw, parse_json, parse_request
from model.contract import DEFAULT_CONTRACT

JPEG = b"\xff\xd8not decoded here"
PIXELS = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)


def tensor(**changes: Any) -> dict[str, Any]:
    text = base64.b64encode(JPEG).decode()
    return {"name": "image", "datatype": "BYTES", "shape": [1], "data": [text], **changes}


def without(key: str) -> dict[str, Any]:
    made = tensor()
    del made[key]
    return made


def parse(inputs: Any, *, tail: bytes = b"", length: str | None = None, **content: Any) -> InferRequest:
    body = orjson.dumps({"inputs": inputs, **content})
    if tail and length is None:
        length = str(len(body))
    return parse_request(body + tail, length, "7", 256)


def as_bytes(*elements: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(element)) + element for element in elements)


@pytest.mark.parametrize(("shape", "data"), [([1], ["/9g="]), ([1, 1], [["/9g="]]), ([1, 1], ["/9g="])])
def test_encoded_images_in_json(shape: list[int], data: list[Any]) -> None:
    request = parse([tensor(shape=shape, data=data)], id="mine")
    assert request == InferRequest(Images([b"\xff\xd8"], version="7"), "mine")


@pytest.mark.parametrize("shape", [[2], [2, 1]])
def test_encoded_images_behind_the_json(shape: list[int]) -> None:
    tail = as_bytes(JPEG, b"second")
    parameters = {"binary_data_size": len(tail)}
    inputs = [{"name": "image", "datatype": "BYTES", "shape": shape, "parameters": parameters}]
    assert parse(inputs, tail=tail).images == Images([JPEG, b"second"], version="7")


def test_an_image_without_any_json() -> None:
    request = parse_request(JPEG, "0", "7", 256)
    assert request == InferRequest(Images([JPEG], version="7"), None, (Asked(binary=True),))


@pytest.mark.parametrize("data", [PIXELS.ravel().tolist(), PIXELS.tolist()])
def test_pixels_in_json(data: list[Any]) -> None:
    images = parse([tensor(datatype="UINT8", shape=[2, 32, 32, 3], data=data)]).images
    np.testing.assert_array_equal(images.pixels, PIXELS)


def test_pixels_behind_the_json() -> None:
    inputs = [
        {
            "name": "image",
            "datatype": "UINT8",
            "shape": [2, 32, 32, 3],
            "parameters": {"binary_data_size": PIXELS.nbytes},
        }
    ]
    images = parse(inputs, tail=PIXELS.tobytes()).images
    np.testing.assert_array_equal(images.pixels, PIXELS)


@pytest.mark.parametrize(
    ("content", "binary"),
    [
        ({}, False),
        ({"parameters": {"binary_data_output": True}}, True),
        ({"outputs": [{"name": "probs"}]}, False),
        ({"outputs": [{"name": "probs", "parameters": {"binary_data": True}}]}, True),
        ({"outputs": [{"name": "probs"}], "parameters": {"binary_data_output": True}}, True),
        (
            {
                "outputs": [{"name": "probs", "parameters": {"binary_data": False}}],
                "parameters": {"binary_data_output": True},
            },
            False,
        ),
        ({"outputs": []}, False),
    ],
)
def test_who_asks_for_binary_outputs_gets_them(content: dict[str, Any], binary: bool) -> None:
    assert parse([tensor()], **content).outputs == (Asked(binary=binary),)


ROWS = PIXELS[:1].tolist()


@pytest.mark.parametrize(
    "inputs",
    [
        pytest.param(None, id="inputs missing"),
        pytest.param({}, id="inputs not a list"),
        pytest.param([], id="no input"),
        pytest.param([tensor(), tensor()], id="two inputs"),
        pytest.param(["image"], id="input not an object"),
        pytest.param([tensor(name="pixels")], id="another name"),
        pytest.param([without("name")], id="no name"),
        pytest.param([tensor(parameters=[])], id="parameters not an object"),
        pytest.param([tensor(datatype="FP32")], id="another datatype"),
        pytest.param([without("datatype")], id="no datatype"),
        pytest.param([tensor(datatype=["BYTES"])], id="datatype not a string"),
        pytest.param([without("shape")], id="no shape"),
        pytest.param([tensor(shape=1)], id="shape not a list"),
        pytest.param([tensor(shape=[])], id="shape empty"),
        pytest.param([tensor(shape=[1.0])], id="shape of floats"),
        pytest.param([tensor(shape=[True])], id="shape of booleans"),
        pytest.param([tensor(shape=[1, 2])], id="two columns"),
        pytest.param([tensor(shape=[0], data=[])], id="no image"),
        pytest.param([tensor(shape=[-1])], id="negative shape"),
        pytest.param([tensor(shape=[2])], id="fewer elements than the shape says"),
        pytest.param([tensor(data=["/9g=", "/9g="])], id="more elements than the shape says"),
        pytest.param([without("data")], id="no data"),
        pytest.param([tensor(data="/9g=")], id="data not a list"),
        pytest.param([tensor(data=[5])], id="element not a string"),
        pytest.param([tensor(data=["/9g"])], id="base64 without padding"),
        pytest.param([tensor(data=["/9g=\n"])], id="base64 with a line break"),
        pytest.param([tensor(data=["_9g="])], id="URL-safe base64"),
        pytest.param([tensor(data=["ünïcode"])], id="not base64 at all"),
        pytest.param([tensor(data=["data:image/jpeg;base64,/9g="])], id="data URI"),
        pytest.param([tensor(datatype="UINT8", shape=[1], data=[1])], id="pixels without their shape"),
        pytest.param([tensor(datatype="UINT8", shape=[1, 3, 32, 32], data=ROWS)], id="channels first"),
        pytest.param([tensor(datatype="UINT8", shape=[1, 32, 32, 3], data=[1, 2])], id="too few pixels"),
        pytest.param([tensor(datatype="UINT8", shape=[1, 32, 32, 3], data=[[1], [1, 2]])], id="ragged"),
        pytest.param([tensor(datatype="UINT8", shape=[1, 32, 32, 3], data=[0.5] * 3072)], id="floats"),
        pytest.param([tensor(datatype="UINT8", shape=[1, 32, 32, 3], data=[True] * 3072)], id="booleans"),
        pytest.param([tensor(datatype="UINT8", shape=[1, 32, 32, 3], data=["1"] * 3072)], id="strings"),
        pytest.param([tensor(datatype="UINT8", shape=[1, 32, 32, 3], data=[256] * 3072)], id="256"),
        pytest.param([tensor(datatype="UINT8", shape=[1, 32, 32, 3], data=[-1] * 3072)], id="-1"),
        pytest.param([tensor(datatype="UINT8", shape=[1, 32, 32, 3], data=[2**63] * 3072)], id="huge values"),
        pytest.param([tensor(parameters={"binary_data_size": 4})], id="bytes announced that are not there"),
        pytest.param([tensor(parameters={"shared_memory_region": "mine"})], id="in shared memory"),
    ],
)
def test_inputs_of_the_wrong_form(inputs: Any, failure: Callable[[str], Any]) -> None:
    with failure("invalid_request"):
        parse(inputs)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param({"id": 5}, id="id not a string"),
        pytest.param({"parameters": []}, id="parameters not an object"),
        pytest.param({"outputs": {}}, id="outputs not a list"),
        pytest.param({"outputs": ["probs"]}, id="output not an object"),
        pytest.param({"outputs": [{"name": "logits"}]}, id="unknown output"),
        pytest.param({"outputs": [{"name": "probs"}, {"name": "probs"}]}, id="output twice"),
        pytest.param({"outputs": [{"name": "probs", "parameters": 5}]}, id="output's parameters"),
        pytest.param(
            {"outputs": [{"name": "probs", "parameters": {"shared_memory_region": "r"}}]}, id="shared memory"
        ),
        pytest.param(
            {"outputs": [{"name": "probs", "parameters": {"classification": -1}}]},
            id="too few classes",
        ),
        pytest.param(
            {"outputs": [{"name": "probs", "parameters": {"classification": "3"}}]}, id="classes in a text"
        ),
        pytest.param(
            {"outputs": [{"name": "probs", "parameters": {"classification": True}}]}, id="classes as true"
        ),
        pytest.param(
            {"outputs": [{"name": "confidence", "parameters": {"classification": 3}}]},
            id="of a number",
        ),
    ],
)
def test_requests_of_the_wrong_form(content: dict[str, Any], failure: Callable[[str], Any]) -> None:
    with failure("invalid_request"):
        parse([tensor()], **content)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'"text"', b"\xff\xfe", b"[" * 2000])
def test_bodies_that_are_no_json_object(body: bytes, failure: Callable[[str], Any]) -> None:
    with failure("invalid_request"):
        parse_request(body, None, None, 256)


@pytest.mark.parametrize("length", ["-1", "x", "999999", "1.5", "²", "", "9" * 5000])
def test_a_json_length_that_cannot_be(length: str, failure: Callable[[str], Any]) -> None:
    with failure("invalid_request"):
        parse([tensor()], length=length)


def binary(size: int, **changes: Any) -> dict[str, Any]:
    return {**without("data"), "parameters": {"binary_data_size": size}, **changes}


@pytest.mark.parametrize(
    ("inputs", "tail"),
    [
        pytest.param([tensor()], b"more", id="bytes nobody announced"),
        pytest.param([binary(3)], b"1234", id="fewer announced"),
        pytest.param([binary(True)], b"1", id="announced as true"),
        pytest.param([binary(4, data=[])], b"1234", id="twice"),
        pytest.param([binary(3)], b"\x01\x00\x00", id="half a length"),
        pytest.param([binary(5)], b"\x02\x00\x00\x00x", id="shorter than its length"),
        pytest.param([binary(4)], b"\xff\xff\xff\xff", id="a length of four gigabytes"),
        pytest.param([binary(10)], as_bytes(b"a", b"b"), id="more elements than the shape says"),
        pytest.param([binary(5, shape=[2])], as_bytes(b"a"), id="fewer elements than the shape says"),
        pytest.param([binary(4, datatype="UINT8", shape=[1, 32, 32, 3])], b"1234", id="too few pixels"),
    ],
)
def test_bytes_of_the_wrong_length(inputs: Any, tail: bytes, failure: Callable[[str], Any]) -> None:
    with failure("invalid_request"):
        parse(inputs, tail=tail)


def test_too_many_images_are_refused_before_they_are_read(failure: Callable[[str], Any]) -> None:
    with failure("too_many_images"):
        parse([tensor(shape=[257])])


def test_a_list_of_millions_is_refused_before_it_is_built(failure: Callable[[str], Any]) -> None:
    with failure("too_many_bytes"):
        parse_request(b'{"inputs": [' + b"0," * 1_100_000 + b"0]}", None, None, 256)


def test_the_index_of_a_bad_element_is_named(failure: Callable[[str], Any]) -> None:
    with failure("invalid_request") as raised:
        parse([tensor(shape=[2], data=["/9g=", "!"])])
    assert raised.value.index == 1
    assert raised.value.sentence.startswith("Image 1: ")


def test_empty_elements_are_the_decoders_business() -> None:
    assert from_raw("BYTES", as_bytes(b"", b""), [2], None).encoded == [b"", b""]


PROBS = np.array([[0.1, 0.2, 0.3, 0.15, 0.25]], np.float32)


def test_an_answer_in_json_holds_each_float_exactly() -> None:
    request = InferRequest(Images([JPEG]), "mine")
    body, length = answer("cnn-image", request, Probabilities(PROBS, "7"))
    assert length is None
    content = orjson.loads(body)
    (output,) = content.pop("outputs")
    assert content == {"model_name": "cnn-image", "model_version": "7", "id": "mine"}
    assert np.array_equal(np.float32(output.pop("data")), PROBS[0])
    assert output == {"name": "probs", "datatype": "FP32", "shape": [1, 5]}


def test_an_answer_in_binary_follows_its_json() -> None:
    request = InferRequest(Images([JPEG]), None, (Asked(binary=True),))
    body, length = answer("cnn-image", request, Probabilities(PROBS, "7"))
    assert length is not None
    assert body[length:] == PROBS.tobytes()
    content = orjson.loads(body[:length])
    assert "id" not in content
    assert content["outputs"][0]["parameters"] == {"binary_data_size": 20}


OUTPUTS = [
    {"name": "class_name"},
    {"name": "probs", "parameters": {"classification": 2, "binary_data": True}},
    {"name": "class_id", "parameters": {"binary_data": True}},
    {"name": "confidence"},
]


def test_outputs_come_in_the_order_that_is_asked_for() -> None:
    request = parse([tensor()], outputs=OUTPUTS)
    body, length = answer("cnn-image", request, Probabilities(PROBS, "7"))
    assert length is not None
    names, probs, ids, confidence = orjson.loads(body[:length])["outputs"]
    assert names == {"name": "class_name", "datatype": "BYTES", "shape": [1], "data": ["bird"]}
    classes = as_bytes(b"0.300000:2:bird", b"0.250000:4:dog")
    assert probs == {
        "name": "probs",
        "datatype": "BYTES",
        "shape": [1, 2],
        "parameters": {"binary_data_size": len(classes)},
    }
    assert ids == {
        "name": "class_id",
        "datatype": "INT64",
        "shape": [1],
        "parameters": {"binary_data_size": 8},
    }
    assert np.float32(confidence.pop("data")) == PROBS[0, 2]
    assert confidence == {"name": "confidence", "datatype": "FP32", "shape": [1]}
    assert body[length:] == classes + struct.pack("<q", 2)


def test_an_empty_id_is_none() -> None:
    assert parse([tensor()], id="").id is None


JSON_BOMBS = {
    "numbers": b'{"inputs": [' + b"1.5," * 1_000_001 + b"1]}",
    "lists": b'{"inputs": [' + b"[]," * 300_000 + b"1]}",
    "objects": b'{"inputs": [' + b"{}," * 10_001 + b"1]}",
    "texts": b'{"inputs": [' + b'"",' * 20_001 + b"1]}",
    "a wide letter": b'{"inputs": "' + b"a" * 1_000_000 + "\u0100".encode() + b'"}',
    "an escaped wide letter": b'{"inputs": "' + b"a" * 1_000_000 + b'\\u0100"}',
}


@pytest.mark.parametrize("name", JSON_BOMBS)
def test_json_that_would_grow_is_refused_before_it_is_read(
    name: str, failure: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orjson, "loads", lambda _: pytest.fail("it was read"))
    with failure("too_many_bytes"):
        parse_json(JSON_BOMBS[name])


def test_as_many_large_images_as_the_page_says_fit_into_json(failure: Callable[[str], Any]) -> None:
    for size, most in ((64, 72), (128, 18), (224, 5)):
        shape = (size, size, 3)
        for count in (most, most + 1):
            tensor = {"name": "image", "datatype": "UINT8", "shape": [count, *shape]}
            pixels = np.zeros((count, *shape), np.uint8)
            body = orjson.dumps({"inputs": [{**tensor, "data": pixels}]}, option=orjson.OPT_SERIALIZE_NUMPY)
            if count == most:
                assert len(parse_request(body, None, None, 256, (shape,)).images) == most
            else:
                with failure("too_many_bytes") as error:
                    parse_json(body)
                assert "raw bytes" in str(error.value)


def test_the_most_pixels_in_rows_and_texts_with_escapes_are_read() -> None:
    tensor = {"name": "image", "datatype": "UINT8", "shape": [256, 32, 32, 3]}
    pixels = np.full((256, 32, 32, 3), 255, np.uint8)
    body = orjson.dumps({"inputs": [{**tensor, "data": pixels}]}, option=orjson.OPT_SERIALIZE_NUMPY)
    images = parse_request(body, None, None, 256).images
    assert images.pixels is not None
    assert (images.pixels == pixels).all()
    padded = b'{"instances": "' + b"\\/" * 600_000 + "é".encode() + b'\\u003d"}'  # as Gson and PHP write it
    assert parse_json(padded)["instances"] == "/" * 600_000 + "é="


@pytest.mark.parametrize("identity", [None, 'of "mine"'])
@pytest.mark.parametrize("asked", [(Asked(),), (Asked(binary=True),)], ids=["JSON", "binary"])
@pytest.mark.parametrize("count", [1, 3])
def test_the_probabilities_alone_are_written_as_beside_others(
    count: int, asked: tuple[Asked, ...], identity: str | None
) -> None:
    """Byte for byte: both have a way of their own."""
    probs = np.random.default_rng(3).dirichlet(np.ones(5), 4).astype(np.float32)
    written = Written(probs, DEFAULT_CONTRACT)
    result = Probabilities(probs, "7", written=written).part(1, 1 + count)
    body, length = answer("cnn-image", InferRequest(Images(), identity, asked), result)
    beside = InferRequest(Images(), identity, (*asked, Asked("class_id")))
    both, both_length = answer("cnn-image", beside, result)
    other = b',{"name":"class_id","datatype":"INT64","shape":[%d],"data":' % count
    head, tail = both[:both_length], both[both_length:] if both_length is not None else b""
    start = head.index(other)
    head = head[:start] + head[head.index(b"}", start) + 1 :]
    assert body == head + tail
    assert length == (len(head) if asked[0].binary else None)
