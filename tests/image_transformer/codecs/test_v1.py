from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
import pytest

from image_transformer.codecs.tensors import Probabilities
from image_transformer.codecs.v1 import v1_answer, v1_request

ROWS = np.array([[0.1, 0.2, 0.3, 0.15, 0.25], [0.9, 0.025, 0.025, 0.025, 0.025]], np.float32)
JPEG, B64 = b"\xff\xd8", "/9g="


def test_v1() -> None:
    body = {"instances": [{"image": {"b64": B64}}, {"image": {"b64": ""}}]}
    images, key = v1_request(body, 8)
    assert images == [JPEG, b""]
    assert v1_answer(key, Probabilities(ROWS, "7")).startswith(b'{"predictions":[[')
    assert np.array_equal(
        np.float32(orjson.loads(v1_answer(key, Probabilities(ROWS, "7")))["predictions"]), ROWS
    )


@pytest.mark.parametrize(
    "instance",
    [
        {"image": {"b64": B64}},
        {"image": {"b64": B64}, "key": "1"},
        {"image": B64},
        {"image_bytes": {"b64": B64}},
        {"b64": B64},
        B64,
        f"data:image/jpeg;base64,{B64}",
        {"image": {"b64": f"data:image/jpeg;base64,{B64}"}},
        f"DATA:image/svg+xml;charset=utf-8;BASE64,{B64}",
    ],
)
def test_an_instance_in_all_its_forms(instance: Any) -> None:
    assert v1_request({"instances": [instance, instance]}, 8) == ([JPEG, JPEG], "predictions")
    assert v1_request({"inputs": [instance, instance], "signature_name": "serving_default"}, 8) == (
        [JPEG, JPEG],
        "outputs",
    )


@pytest.mark.parametrize(
    "inputs",
    [
        {"image": [{"b64": B64}]},
        {"image": {"b64": B64}},
        {"image_bytes": [B64]},
        {"b64": B64},
        B64,
    ],
)
def test_columns_in_all_their_forms(inputs: Any) -> None:
    images, key = v1_request({"inputs": inputs}, 8)
    assert images == [JPEG]
    assert np.array_equal(np.float32(orjson.loads(v1_answer(key, Probabilities(ROWS, "7")))["outputs"]), ROWS)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"instances": []},
        {"instances": {"image": {"b64": ""}}},
        {"instances": [{"image": {}}]},
        {"instances": [{"image": {"b64": None}}]},
        {"instances": [{"picture": {"b64": B64}}]},
        {"instances": [{"image": {"image": {"b64": B64}}}]},
        {"instances": ["no base64"]},
        {"instances": ["data:image/png,raw"]},
        {"instances": ["data:image/png;base64"]},
        {"instances": [5]},
        {"inputs": []},
        {"inputs": {}},
        {"inputs": [B64], "instances": [B64]},
        {"instances": [B64], "signature_name": "other"},
        {"instances": [B64], "signature_name": []},
    ],
)
def test_requests_of_the_wrong_form(body: dict[str, Any], failure: Callable[[str], Any]) -> None:
    with failure("invalid_request"):
        v1_request(body, 8)


@pytest.mark.parametrize("key", ["instances", "inputs"])
def test_too_many_images(key: str, failure: Callable[[str], Any]) -> None:
    with failure("too_many_images"):
        v1_request({key: [B64] * 9}, 8)
