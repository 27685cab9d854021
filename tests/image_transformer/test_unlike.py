"""What is unlike anything learned is marked by every route, and refused where that is wished."""

import asyncio
import base64
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
import pytest
from PIL import Image

from image_transformer.grpc import inference_pb2 as pb
from image_transformer.grpc.service import InferenceService
from image_transformer.kserve_model import ImageModel
from image_transformer.observe.metrics import Metrics
from image_transformer.observe.requests import Observer
from image_transformer.observe.statistics import Statistics
from image_transformer.triton.served import read_served
from kserve import InferInput, InferRequest
from model.contract import Contract

MARK = "x-out-of-distribution"
PNG = {"content_type": "image/png"}
INFER = "/v2/models/cnn-image/infer"


def png(red: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32), (red, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def form(*reds: int) -> tuple[bytes, dict[str, str]]:
    parts = [b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\n%s\r\n' % png(red) for red in reds]
    return b"".join(parts) + b"--b--\r\n", {"content_type": "multipart/form-data; boundary=b"}


def v2(*reds: int, outputs: tuple[str, ...]) -> bytes:
    data = [base64.b64encode(png(red)).decode() for red in reds]
    tensor = {"name": "image", "datatype": "BYTES", "shape": [len(data)], "data": data}
    return orjson.dumps({"inputs": [tensor], "outputs": [{"name": name} for name in outputs]})


@pytest.fixture
async def scored(fake_triton: Any, start_service: Callable[..., Any]) -> Any:
    fake_triton.scored = True
    return await start_service()


@pytest.fixture
async def refusing(fake_triton: Any, start_service: Callable[..., Any]) -> Any:
    fake_triton.scored = True
    return await start_service(refuse_unlike=True)


async def test_a_header_marks_each_image_in_order_and_the_body_stays(scored: Any, small_model: Any) -> None:
    body, kind = form(90, 150, 250, 100)
    many = await scored.call("POST", "/predict", body, **kind)
    assert many.headers[MARK] == "false, true, true, false"
    pixels = np.zeros((1, 32, 32, 3), np.uint8)
    pixels[..., 0] = 250
    assert np.allclose(many.json()[2]["probabilities"], small_model.probs(pixels)[0], atol=1e-6)
    one = await scored.call("POST", "/predict", png(250), **PNG)
    assert one.headers[MARK] == "true"
    assert sorted(one.json()) == ["class_id", "class_name", "confidence", "filters_applied", "probabilities"]


async def test_it_does_not_matter_which_output_comes_first(scored: Any, small_model: Any) -> None:
    scored.fake.score_first = True
    answer = await scored.call("POST", "/predict", png(0), **PNG)
    assert answer.headers[MARK] == "false"
    assert np.allclose(
        answer.json()["probabilities"], small_model.probs(np.zeros((1, 32, 32, 3)))[0], atol=1e-6
    )


async def test_images_of_many_requests_keep_their_own_marks(scored: Any) -> None:
    reds = [0, 250, 120, 60, 101, 99] * 4
    answers = await asyncio.gather(*(scored.call("POST", "/predict", png(red), **PNG) for red in reds))
    assert [answer.headers[MARK] for answer in answers] == ["true" if red > 100 else "false" for red in reds]
    assert len(scored.fake.calls) < len(reds)


async def test_more_images_than_a_piece_has(scored: Any) -> None:
    reds = [0, 250] * 10
    body, kind = form(*reds)
    answer = await scored.call("POST", "/predict", body, **kind)
    assert answer.headers[MARK] == ", ".join(["false", "true"] * 10)


async def test_v1_and_v2_are_marked_and_v2_has_the_score_by_name(scored: Any) -> None:
    instance = {"image": {"b64": base64.b64encode(png(250)).decode()}}
    v1 = await scored.call("POST", "/v1/models/cnn-image:predict", orjson.dumps({"instances": [instance]}))
    assert v1.headers[MARK] == "true"
    assert [*v1.json()] == ["predictions"]
    plain = await scored.call("POST", INFER, v2(7, 250, outputs=()))
    assert [output["name"] for output in plain.json()["outputs"]] == ["probs"]
    assert plain.headers[MARK] == "false, true"
    named = await scored.call("POST", INFER, v2(7, 250, outputs=("ood_score", "class_id")))
    score, _ = named.json()["outputs"]
    assert score == {"name": "ood_score", "datatype": "FP32", "shape": [2], "data": [7.0, 250.0]}


async def test_kserves_own_routes_mark_too(scored: Any) -> None:
    """Those that the service takes where its fast routes are switched off."""
    model = ImageModel(scored.inference)
    encoded = [base64.b64encode(png(red)).decode() for red in (0, 150)]
    v1: dict[str, str] = {}
    await model.predict({"instances": encoded}, response_headers=v1)
    assert v1 == {"x-model-version": "7", MARK: "false, true"}
    tensor = InferInput("image", [1], "BYTES", encoded[1:])
    v2: dict[str, str] = {}
    await model.predict(InferRequest("cnn-image", [tensor]), response_headers=v2)
    assert v2[MARK] == "true"
    scored.fake.scored, scored.fake.version = False, "8"
    await scored.triton.probe()
    without: dict[str, str] = {}
    await model.predict({"instances": encoded}, response_headers=without)
    assert without == {"x-model-version": "8"}


async def test_grpc_has_the_score_by_name(scored: Any) -> None:
    service = InferenceService(None, scored.inference, Observer(Metrics(), log_all=False))  # type: ignore[arg-type]
    tensor = pb.ModelInferRequest.InferInputTensor(name="image", datatype="BYTES", shape=[1])
    tensor.contents.bytes_contents.append(png(77))
    wanted = pb.ModelInferRequest.InferRequestedOutputTensor(name="ood_score")
    request = pb.ModelInferRequest(model_name="cnn-image", inputs=[tensor], outputs=[wanted])
    answer = await service.infer(request, lambda: True)
    (output,) = answer.outputs
    assert (output.name, output.datatype, list(output.shape)) == ("ood_score", "FP32", [1])
    assert list(output.contents.fp32_contents) == [77.0]


async def test_info_says_where_it_marks(scored: Any) -> None:
    info = (await scored.call("GET", "/info")).json()
    assert info["lineage"]["unlike"] == {"mark_at": 100.0, "refuse_at": 200.0, "images": 2000}


async def test_a_version_without_a_score_sends_none(service: Any) -> None:
    answer = await service.call("POST", "/predict", png(250), **PNG)
    assert answer.status == 200
    assert MARK not in answer.headers
    asked = await service.call("POST", INFER, v2(250, outputs=("ood_score",)))
    assert (asked.status, asked.json()["code"]) == (422, "invalid_request")
    assert "Version 7 cannot tell what is unlike its training" in asked.json()["error"]
    assert "unlike" not in (await service.call("GET", "/info")).json()["lineage"]


async def test_of_two_versions_each_answers_for_itself(
    service: Any, beside: Callable[..., Any], small_model: Any
) -> None:
    """The older one has no score; which of them answers is told by the header beside."""
    await beside(type(small_model)(8), scored=True)
    seen = set()
    for _ in range(6):
        answer = await service.call("POST", "/predict", png(250), **PNG)
        seen.add((answer.headers["x-model-version"], answer.headers.get(MARK)))
    assert seen == {("7", None), ("8", "true")}


async def test_one_image_is_refused_and_many_are_marked(refusing: Any) -> None:
    answer = await refusing.call("POST", "/predict", png(250), **PNG)
    assert (answer.status, answer.json()["code"]) == (422, "unlike_training")
    assert answer.json()["error"] == (
        "The picture is unlike anything that version 7 has learned (score 250.00, over 200.00); send one of "
        "its classes, which /info lists."
    )
    assert refusing.triton.newest.counted.failures == 1
    marked = await refusing.call("POST", "/predict", png(150), **PNG)
    assert (marked.status, marked.headers[MARK]) == (200, "true")
    body, kind = form(250, 0)
    many = await refusing.call("POST", "/predict", body, **kind)
    assert (many.status, many.headers[MARK]) == (200, "true, false")


async def test_nothing_is_refused_unless_that_is_wished(scored: Any) -> None:
    assert (await scored.call("POST", "/predict", png(250), **PNG)).status == 200


@pytest.mark.parametrize("said", ["{}", "[1]", "no JSON", '{"mark_at": "high", "refuse_at": 1}'])
def test_what_is_said_in_another_way_counts_as_no_score(said: str) -> None:
    contract = {"string_value": Contract(model="m").to_json()}
    parameters = {"contract": contract, "unlike": {"string_value": said}}
    config = {"output": [{"name": "probs"}, {"name": "ood_score"}], "parameters": parameters}
    served = read_served("m", "1", config, "probs", Statistics())
    assert served.unlike is None
    assert b"ood_score" not in served.head(1)
