"""v2's routes about models, and its extensions that are not offered."""

import asyncio
from typing import Any

import numpy as np
import orjson
import pytest
from other_contracts import SEVEN, STRETCHED, decoded, picture
from senders import raw_elements

from image_transformer.inference.held import Held

CLASSIFIER, FILTERS = "/v2/models/cnn-image", "/v2/models/cnn-image-filters"
BODY = orjson.dumps(
    {"inputs": [{"name": "image", "datatype": "UINT8", "shape": [1, 32, 32, 3], "data": [7] * 3072}]}
)


@pytest.fixture
def filtering(service: Any) -> Any:
    service.fake.filters = True
    return service


async def test_both_models_are_told_of(filtering: Any) -> None:
    listed = await filtering.call("GET", "/v2/models")
    assert listed.json() == {"models": ["cnn-image", "cnn-image-filters"]}
    for path, output, shape in ((CLASSIFIER, "probs", [5]), (FILTERS, "filtered", [32, 32, 12])):
        for version in ("", "/versions/7"):
            described = (await filtering.call("GET", path + version)).json()
            assert described["versions"] == ["7"]
            assert described["outputs"] == [{"name": output, "datatype": "FP32", "shape": [-1, *shape]}]
            ready = await filtering.call("GET", f"{path}{version}/ready")
            assert ready.json() == {"name": path.split("/")[-1], "ready": True}
            config = (await filtering.call("GET", f"{path}{version}/config")).json()
            assert config["output"][0]["dims"] == shape
            (row,) = (await filtering.call("GET", f"{path}{version}/stats")).json()["model_stats"]
            assert (row["name"], row["version"]) == (path.split("/")[-1], "7")
    every = (await filtering.call("GET", "/v2/models/stats")).json()["model_stats"]
    assert [row["name"] for row in every] == ["cnn-image", "cnn-image-filters"]


@pytest.mark.parametrize("verb", ["", "/ready", "/config", "/stats"])
@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/v2/models/other", "unknown_model"),
        ("/v2/models/other/versions/7", "unknown_model"),
        (f"{CLASSIFIER}/versions/6", "unknown_version"),
        (f"{FILTERS}/versions/6", "unknown_version"),
    ],
)
async def test_what_is_not_served(filtering: Any, path: str, verb: str, code: str) -> None:
    answer = await filtering.call("GET", path + verb)
    assert (answer.status, answer.json()["code"]) == (404, code)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/v2/models", "GET, HEAD"),
        ("POST", CLASSIFIER, "GET, HEAD"),
        ("DELETE", f"{CLASSIFIER}/config", "GET, HEAD"),
        ("DELETE", f"{CLASSIFIER}/trace/setting", "GET, HEAD"),
        ("GET", "/v2/repository/index", "POST"),
        ("GET", f"{FILTERS}/infer", "POST"),
        ("GET", f"{FILTERS}/versions/7/infer", "POST"),
        ("GET", "/v2/repository/models/cnn-image/load", "POST"),
    ],
)
async def test_another_method_is_refused(filtering: Any, method: str, path: str, allowed: str) -> None:
    answer = await filtering.call(method, path)
    assert (answer.status, answer.headers["allow"]) == (405, allowed)


@pytest.mark.parametrize("verb", ["generate", "versions/7/generate", "trace", "versions"])
async def test_what_is_no_route_is_none_by_any_method(filtering: Any, verb: str) -> None:
    for method in ("GET", "POST", "PUT"):
        answer = await filtering.call(method, f"{CLASSIFIER}/{verb}")
        assert (answer.status, answer.json()["code"]) == (404, "unknown_route")


async def test_the_index(filtering: Any) -> None:
    rows = [
        {"name": "cnn-image", "version": "7", "state": "READY"},
        {"name": "cnn-image-filters", "version": "7", "state": "READY"},
    ]
    for body in (b"", b"{}", b'{"ready": true}', b'{"ready": false}'):
        assert (await filtering.call("POST", "/v2/repository/index", body)).json() == rows
    await filtering.fake.stop()
    await filtering.triton.probe()
    await filtering.inference.filters.probe()
    away = {"state": "UNAVAILABLE", "reason": "The model is not ready; try again in a moment."}
    assert (await filtering.call("POST", "/v2/repository/index")).json() == [row | away for row in rows]
    every = (await filtering.call("GET", "/v2/models/stats")).json()["model_stats"]
    assert [row["name"] for row in every] == ["cnn-image", "cnn-image-filters"]
    assert (await filtering.call("POST", "/v2/repository/index", b'{"ready": true}')).json() == []
    wrong = await filtering.call("POST", "/v2/repository/index", b'{"ready": "yes"}')
    assert (wrong.status, wrong.json()["code"]) == (422, "invalid_request")


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        (
            "/v2/repository/models/cnn-image/load",
            "Models are not loaded or unloaded here; promote a version.",
        ),
        ("/v2/repository/models/other/unload", "Models are not loaded or unloaded here; promote a version."),
        (
            "/v2/systemsharedmemory/region/mine/register",
            "System shared memory is not offered, as clients are on other machines; "
            "send tensors in the request.",
        ),
        (
            "/v2/cudasharedmemory/region/mine/register",
            "CUDA shared memory is not offered, as nothing here has a GPU's memory; "
            "send tensors in the request.",
        ),
        ("/v2/trace/setting", "Trace settings are not changed by requests; Triton has its own."),
        (f"{CLASSIFIER}/trace/setting", "Trace settings are not changed by requests; Triton has its own."),
        ("/v2/logging", "Log settings are not changed by requests; set CNN_IMAGE_LOG_REQUESTS."),
    ],
)
async def test_what_is_not_offered_says_why(service: Any, path: str, sentence: str) -> None:
    answer = await service.call("POST", path, b"{}")
    assert (answer.status, answer.json()["code"], answer.json()["error"]) == (400, "not_offered", sentence)


@pytest.mark.parametrize(
    ("path", "state"),
    [
        ("/v2/systemsharedmemory/status", []),
        ("/v2/systemsharedmemory/region/mine/status", []),
        ("/v2/cudasharedmemory/status", []),
        ("/v2/trace/setting", {}),
        (f"{CLASSIFIER}/trace/setting", {}),
        ("/v2/logging", {}),
    ],
)
async def test_what_is_not_offered_has_no_state(service: Any, path: str, state: object) -> None:
    answer = await service.call("GET", path)
    assert (answer.status, answer.json()) == (200, state)


async def test_unregistering_what_is_not_registered_succeeds(service: Any) -> None:
    """As Triton's: its clients do it before anything else."""
    for path in ("/v2/systemsharedmemory/unregister", "/v2/cudasharedmemory/region/mine/unregister"):
        answer = await service.call("POST", path)
        assert (answer.status, answer.body) == (200, b"")


async def test_filters_in_json_and_in_binary(filtering: Any) -> None:
    """Encoded pictures, and pixels; the answer as numbers, and as bytes."""
    pictures = [picture(1), picture(2)]
    pixels = np.concatenate([decoded(SEVEN.contract, one) for one in pictures])
    wanted = np.concatenate([pixels] * 4, axis=3).astype(np.float32)
    plain = await filtering.call("POST", f"{FILTERS}/infer", BODY)
    assert plain.headers["x-model-version"] == "7"
    content = plain.json()
    assert (content["model_name"], content["model_version"]) == ("cnn-image-filters", "7")
    (output,) = content["outputs"]
    assert (output["name"], output["datatype"], output["shape"]) == ("filtered", "FP32", [1, 32, 32, 12])
    assert output["data"] == [7.0] * 12288
    raw = raw_elements(pictures)
    tensor = {"name": "image", "datatype": "BYTES", "shape": [2, 1]}
    tensor["parameters"] = {"binary_data_size": len(raw)}
    outputs = [{"name": "filtered", "parameters": {"binary_data": True}}]
    head = orjson.dumps({"id": "mine", "inputs": [tensor], "outputs": outputs})
    sent = {"inference_header_content_length": str(len(head))}
    answer = await filtering.call("POST", f"{FILTERS}/versions/7/infer", head + raw, **sent)
    length = int(answer.headers["inference-header-content-length"])
    assert orjson.loads(answer.body[:length])["id"] == "mine"
    np.testing.assert_array_equal(np.frombuffer(answer.body[length:], "<f4").reshape(2, 32, 32, 12), wanted)


@pytest.mark.parametrize("path", [f"{CLASSIFIER}/infer", f"{FILTERS}/infer"])
@pytest.mark.parametrize(
    ("datatype", "shape", "sentence"),
    [
        (
            "FP32",
            [1, 64, 64, 3],
            "The input's datatype is 'FP32'; send BYTES (encoded images) or UINT8 (pixels).",
        ),
        (
            "INT32",
            [1, 64, 64, 3],
            "The input's datatype is 'INT32'; send BYTES (encoded images) or UINT8 (pixels).",
        ),
        ("UINT8", [1, 3, 64, 64], "The input's shape is [1, 3, 64, 64]; send {}."),
        ("UINT8", [1, 32, 32, 3], "The input's shape is [1, 32, 32, 3]; send {}."),
        ("UINT8", [1, 64, 64, 1], "The input's shape is [1, 64, 64, 1]; send {}."),
        ("UINT8", [64, 64, 3], "The input's shape is [64, 64, 3]; send {}."),
    ],
)
async def test_other_pixels_are_told_what_is_right(
    filtering: Any, path: str, datatype: str, shape: list[int], sentence: str
) -> None:
    """For both models, and by the version that is served."""
    filtering.fake.model, filtering.fake.version = STRETCHED, "8"
    await filtering.triton.probe()
    await filtering.inference.filters.probe()
    data = [0] * int(np.prod(shape))
    content = {"inputs": [{"name": "image", "datatype": datatype, "shape": shape, "data": data}]}
    answer = await filtering.call("POST", path, orjson.dumps(content))
    right = "[N] or [N, 1] for BYTES, [N, 64, 64, 3] for UINT8"
    assert (answer.status, answer.json()["error"]) == (422, sentence.format(right))


@pytest.mark.parametrize("path", [f"{CLASSIFIER}/infer", f"{FILTERS}/infer"])
@pytest.mark.parametrize("value", [300, -1, 256])
async def test_values_that_are_no_bytes_are_told_the_range(filtering: Any, path: str, value: int) -> None:
    answer = await filtering.call("POST", path, BODY.replace(b"[7,", b"[%d," % value, 1))
    assert answer.status == 422
    assert answer.json()["error"] == ("The input's `data` has values outside 0 to 255; send 8-bit pixels.")


async def test_an_output_of_the_other_model_is_refused(filtering: Any) -> None:
    for path, wrong, right in (
        (FILTERS, "probs", "'filtered'"),
        (CLASSIFIER, "filtered", "'probs', 'class_id', 'class_name', 'confidence', 'ood_score'"),
    ):
        content = {**orjson.loads(BODY), "outputs": [{"name": wrong}]}
        answer = await filtering.call("POST", f"{path}/infer", orjson.dumps(content))
        assert answer.status == 422
        assert f"There is no output {wrong!r}; ask for {right}, or" in answer.json()["error"]


async def test_answers_that_nobody_takes_are_bounded(start_service: Any) -> None:
    """A large answer goes out as it is taken; more of them are told 429, and who takes none is left."""
    service = await start_service(body_seconds=600)
    service.fake.filters = True
    pixels = bytes(256 * 3072)
    tensor = {"name": "image", "datatype": "UINT8", "shape": [256, 32, 32, 3]}
    tensor["parameters"] = {"binary_data_size": len(pixels)}
    outputs = [{"name": "filtered", "parameters": {"binary_data": True}}]
    head = orjson.dumps({"inputs": [tensor], "outputs": outputs})
    sent = {"inference_header_content_length": str(len(head))}
    whole = await service.call("POST", f"{FILTERS}/infer", head + pixels, **sent)
    assert len(whole.body) == int(whole.headers["content-length"]) > 256 * 12288 * 4
    service.routes._answers = Held(20_000_000)
    parts: asyncio.Queue[Any] = asyncio.Queue(2)  # who takes none waits at the third

    async def body() -> Any:
        return {"type": "http.request", "body": head + pixels}

    scope = {"type": "http", "method": "POST", "path": f"{FILTERS}/infer", "query_string": b""}
    scope["headers"] = [(b"inference-header-content-length", str(len(head)).encode())]
    stuck = asyncio.create_task(service.routes(scope, body, parts.put))
    while not parts.full():  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    refused = await service.call("POST", f"{FILTERS}/infer", head + pixels, **sent)
    assert (refused.status, refused.json()["code"]) == (429, "overloaded")
    assert (await service.call("POST", f"{FILTERS}/infer", BODY)).status == 200, "small ones go on"

    async def take_all() -> None:
        while True:
            await parts.get()

    taking = asyncio.create_task(take_all())
    await asyncio.wait_for(stuck, 60)
    taking.cancel()
    while not parts.empty():
        parts.get_nowait()
    assert service.routes._answers.count == 0
    service.settings.body_seconds = 0.01
    await asyncio.wait_for(service.routes(scope, body, parts.put), 60)
    assert parts.full()
    service.settings.body_seconds = 600
    assert service.routes._answers.count == 0
    assert (await service.call("POST", f"{FILTERS}/infer", head + pixels, **sent)).status == 200
