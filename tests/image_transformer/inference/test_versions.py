"""Versions of other contracts, one after the other and side by side: each answers by its own."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import numpy as np
import orjson
import pytest
from other_contracts import CROPPED, MODELS, SEVEN, STRETCHED, TEN, due, picture
from senders import SENDERS
from serving import SmallModel

from model.contract import CLASSES, MODEL_NAME
from model.images.decode import DECODER_VERSION


async def until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not happened():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


async def serve(service: Any, model: SmallModel) -> None:
    """Replaces the version that the service's Triton serves, unseen by the service."""
    service.fake.model, service.fake.version = model, str(model.version)
    service.fake.parameters = {"decoder_version": DECODER_VERSION}


Start = Callable[[SmallModel], Awaitable[Any]]


def probabilities(route: str, answer: Any) -> tuple[str, Any]:
    """The version and the probabilities of one image, whatever the route."""
    if route == "gRPC":
        (output,) = answer.outputs
        assert output.name == "probs"
        probs = np.frombuffer(answer.raw_output_contents[0], "<f4").reshape(output.shape)
        return answer.model_version, probs[0]
    assert answer.status == 200, answer.body
    version = answer.headers["x-model-version"]
    content = answer.json()
    if route in {"v2", "v2 binary"}:
        (output,) = content["outputs"]
        return content["model_version"], np.float32(output["data"]).reshape(output["shape"])[0]
    return version, np.float32(content["predictions"][0] if route == "v1" else content["probabilities"])


@pytest.mark.parametrize("model", [SEVEN, STRETCHED, CROPPED], ids=["layout 1", "stretched", "cropped"])
@pytest.mark.parametrize("route", ["form", "raw", "v2", "v2 binary", "v1", "gRPC"])
async def test_every_route_answers_by_the_versions_contract(
    service: Any, route: str, model: SmallModel
) -> None:
    await serve(service, model)
    image = picture()
    answer = await SENDERS[route](service).send([image])
    version, probs = probabilities(route, answer)
    assert version == str(model.version)
    assert np.array_equal(probs, due(model, image))
    if route in {"form", "raw"}:
        body = answer.json()
        assert body["class_id"] == int(probs.argmax())
        assert body["class_name"] == model.contract.classes[body["class_id"]]
        assert body["filters_applied"] == list(model.contract.filters)


async def test_what_waits_for_a_version_that_goes_is_decoded_again_for_the_next(service: Any) -> None:
    """32 pixels stretched, 64 stretched, 64 cropped: each time three are under way and others wait."""
    image = picture()
    for before, after in ((SEVEN, STRETCHED), (STRETCHED, CROPPED), (CROPPED, SEVEN)):
        await serve(service, before)
        await service.triton.probe()
        service.fake.answers.clear()
        service.fake.calls.clear()
        tasks = []
        for number in range(3):
            tasks.append(asyncio.create_task(SENDERS["raw"](service).send([image])))
            await until(lambda number=number: len(service.fake.calls) == number + 1)  # type: ignore[misc]
        tasks += [asyncio.create_task(SENDERS["raw"](service).send([image])) for _ in range(20)]
        await until(lambda: service.inference._batcher._queued == 20)
        await serve(service, after)
        service.fake.answers.set()
        answers = [probabilities("raw", answer) for answer in await asyncio.gather(*tasks)]
        versions = [version for version, _ in answers]
        assert versions == [str(before.version)] * 3 + [str(after.version)] * 20
        for version, probs in answers:
            assert np.array_equal(probs, due(MODELS[version], image))
    assert not service.metrics.errors


async def test_many_images_are_answered_by_one_version_though_it_changes(service: Any) -> None:
    """Some are under way to the old version, others wait, and all are decoded again for the new one."""
    await serve(service, STRETCHED)
    await service.triton.probe()
    service.fake.answers.clear()
    images = [picture(seed) for seed in range(40)]
    task = asyncio.create_task(SENDERS["form"](service).send(images))
    await until(lambda: len(service.fake.calls) == 3)
    await serve(service, CROPPED)
    service.fake.answers.set()
    answer = await task
    assert answer.status == 200
    assert answer.headers["x-model-version"] == "9"
    for image, body in zip(images, answer.json(), strict=True):
        assert np.array_equal(np.float32(body["probabilities"]), due(CROPPED, image))
        assert body["class_name"] == CROPPED.contract.classes[body["class_id"]]
    assert service.metrics.versions == {"9": 40}


async def test_a_version_that_is_asked_for_and_goes_is_not_served(
    service: Any, failure: Callable[[str], Any]
) -> None:
    await serve(service, STRETCHED)
    answer = await service.call(
        "POST",
        "/v2/models/cnn-image/versions/7/infer",
        SENDERS["v2"](service).body([picture()])[0],
    )
    assert answer.status == 404
    assert answer.json()["error"] == "Version '7' is not served; version 8 is. Ask for it, or for none."


async def test_two_versions_side_by_side(service: Any, beside: Start) -> None:
    await beside(STRETCHED)
    sender, image = SENDERS["v2"](service), picture()
    body, _ = sender.body([image])
    for model in (SEVEN, STRETCHED):
        path = f"/v2/models/cnn-image/versions/{model.version}"
        for _ in range(3):
            version, probs = probabilities("v2", await service.call("POST", path + "/infer", body))
            assert version == str(model.version)
            assert np.array_equal(probs, due(model, image))
        described = (await service.call("GET", path)).json()
        assert described["versions"] == [version]
        assert described["outputs"][0]["shape"] == [-1, len(model.contract.classes)]
        assert (await service.call("GET", path + "/ready")).status == 200
    assert (await service.inference.catalogue.metadata(MODEL_NAME))["versions"] == ["7", "8"]
    refused = await service.call("POST", "/v2/models/cnn-image/versions/6/infer", body)
    assert refused.status == 404
    sentence = "Version '6' is not served; versions 7 and 8 are. Ask for one of them, or for none."
    assert refused.json()["error"] == sentence


async def test_versions_share_the_load_and_a_call_holds_one_alone(service: Any, beside: Start) -> None:
    other = await beside(STRETCHED)
    service.fake.answers.clear()
    other.answers.clear()
    images = [picture(seed) for seed in range(24)]
    tasks = [
        asyncio.create_task(service.call("POST", "/predict", one, content_type="image/png")) for one in images
    ]
    await until(lambda: sum(service.fake.calls) + sum(other.calls) + service.inference._batcher._queued == 24)
    service.fake.answers.set()
    other.answers.set()
    versions = []
    for image, task in zip(images, tasks, strict=True):
        version, probs = probabilities("raw", await task)
        assert np.array_equal(probs, due(MODELS[version], image))
        versions.append(version)
    assert 8 <= versions.count("8") <= 16


async def test_a_version_that_has_more_to_do_gets_less(service: Any, beside: Start) -> None:
    other = await beside(STRETCHED)
    other.answers.clear()
    tasks = []
    for number in range(1, 13):
        tasks.append(asyncio.create_task(SENDERS["raw"](service).send([picture()])))
        await until(lambda number=number: sum(service.fake.calls) + sum(other.calls) == number)  # type: ignore[misc]
        await until(lambda: service.fake.waiting == 0)
    assert len(other.calls) <= 2
    other.answers.set()
    assert [answer.status for answer in await asyncio.gather(*tasks)] == [200] * 12


async def test_a_triton_with_two_versions_ready(service: Any) -> None:
    """As while one takes the other's place: the newest answers, and the other where it alone can."""
    await serve(service, CROPPED)
    service.fake.older = [SEVEN, STRETCHED]
    await service.triton.probe()
    assert (await service.inference.catalogue.metadata(MODEL_NAME))["versions"] == ["7", "8", "9"]
    sender, image = SENDERS["v2"](service), picture()
    for path, model in (("", CROPPED), ("", CROPPED), ("/versions/7", SEVEN), ("/versions/8", STRETCHED)):
        answer = await sender.send([image], path=f"/v2/models/cnn-image{path}/infer")
        version, probs = probabilities("v2", answer)
        assert version == str(model.version)
        assert np.array_equal(probs, due(model, image))
    _, answer = await pixels(service, 32)
    assert probabilities("v2", answer)[0] == "7"
    _, answer = await pixels(service, 64)
    assert probabilities("v2", answer)[0] == "9"


async def test_a_pod_of_another_version_takes_over_when_the_last_of_one_dies(
    service: Any, beside: Start
) -> None:
    other = await beside(CROPPED)
    other.answers.clear()
    tasks = [asyncio.create_task(SENDERS["raw"](service).send([picture()])) for _ in range(12)]
    await until(lambda: sum(service.fake.calls) + sum(other.calls) + service.inference._batcher._queued >= 6)
    await other.stop()
    answers = [probabilities("raw", answer) for answer in await asyncio.gather(*tasks)]
    assert {version for version, _ in answers} == {"7"}
    assert not service.metrics.errors


@pytest.mark.parametrize("route", ["v2", "v2 binary", "gRPC"])
async def test_pixels_of_another_size_are_told_both_sizes(service: Any, route: str) -> None:
    await serve(service, STRETCHED)
    await service.triton.probe()
    sender = SENDERS[route](service)
    if route == "v2":
        answer = await sender.changed(datatype="UINT8", shape=[1, 32, 32, 3], data=[0] * 3072)
    else:
        answer = await sender.changed(datatype="UINT8", shape=[1, 32, 32, 3])
    sentence = "The input's shape is [1, 32, 32, 3]; send [N] or [N, 1] for BYTES, [N, 64, 64, 3] for UINT8."
    if route == "gRPC":
        assert answer[:2] == (grpc.StatusCode.INVALID_ARGUMENT, sentence)
    else:
        assert answer.status == 422
        assert answer.json()["error"] == sentence


async def pixels(service: Any, side: int, version: str = "") -> Any:
    noise = np.random.default_rng(side).integers(0, 256, (1, side, side, 3), np.uint8)
    tensor = {
        "name": "image",
        "datatype": "UINT8",
        "shape": list(noise.shape),
        "data": noise.ravel().tolist(),
    }
    path = f"/v2/models/cnn-image{version}/infer"
    return noise, await service.call("POST", path, orjson.dumps({"inputs": [tensor]}))


async def test_pixels_go_to_the_version_of_their_size(service: Any, beside: Start) -> None:
    await beside(STRETCHED)
    for model in (SEVEN, STRETCHED, SEVEN, STRETCHED):
        noise, answer = await pixels(service, model.contract.size)
        version, probs = probabilities("v2", answer)
        assert version == str(model.version)
        assert np.array_equal(probs, model.probs(noise)[0])
    _, answer = await pixels(service, 48)
    assert answer.status == 422
    assert answer.json()["error"] == (
        "The input's shape is [1, 48, 48, 3]; "
        "send [N] or [N, 1] for BYTES, [N, 64, 64, 3] or [N, 32, 32, 3] for UINT8."
    )
    _, answer = await pixels(service, 32, version="/versions/8")
    assert answer.status == 422
    assert "[1, 32, 32, 3]; send [N] or [N, 1] for BYTES, [N, 64, 64, 3] for" in answer.json()["error"]


async def test_pixels_of_a_size_that_goes_are_told_the_next(service: Any) -> None:
    """They cannot be decoded again."""
    await serve(service, STRETCHED)
    _, answer = await pixels(service, 32)
    assert answer.status == 422
    assert "[1, 32, 32, 3]" in answer.json()["error"]
    assert "[N, 64, 64, 3]" in answer.json()["error"]


async def test_while_no_version_is_known_pixels_of_any_size_are_told_to_wait(
    start_service: Any, fake_triton: Any
) -> None:
    fake_triton.status = 503
    service = await start_service()
    for side in (32, 64, 5):
        _, answer = await pixels(service, side)
        assert (answer.status, answer.json()["code"]) == (503, "model_unavailable")
    assert (await service.inference.catalogue.metadata(MODEL_NAME))["versions"] == []


async def test_what_is_told_of_a_version_of_another_contract(service: Any) -> None:
    await serve(service, CROPPED)
    await service.triton.probe()
    info = (await service.call("GET", "/info")).json()
    assert (info["model"], info["version"]) == ("cnn-image", "9")
    assert info["lineage"] == {"decoder_version": DECODER_VERSION, "version": "9"}
    assert info["classes"] == list(TEN[::-1])
    assert info["unlearned"] == [TEN[-1], TEN[-4]]
    assert (info["input_shape"], info["fit"], info["filters"]) == ([64, 64, 3], "crop", [])
    assert info["architecture"] == (
        "4 x [Conv 32/64/128/128, BatchNorm, ReLU, MaxPool, Dropout 0.3]; "
        "Dense 512, ReLU, Dropout 0.5; Dense 10, softmax"
    )
    assert (await service.inference.catalogue.metadata(MODEL_NAME))["outputs"][0]["shape"] == [-1, 10]


async def test_info_says_all_that_are_served_and_describes_the_one_that_is_asked_for(
    service: Any, beside: Start
) -> None:
    await beside(CROPPED)
    for query, model in (("", CROPPED), ("?version=9", CROPPED), ("?version=7", SEVEN)):
        info = (await service.call("GET", "/info" + query)).json()
        assert (info["version"], info["versions"]) == (str(model.version), ["7", "9"])
        assert info["lineage"]["version"] == str(model.version)
        assert info["classes"] == list(model.contract.classes)
        assert (info["input_shape"], info["fit"]) == ([model.contract.size] * 2 + [3], model.contract.fit)
    refused = await service.call("GET", "/info?version=8")
    assert (refused.status, refused.json()["code"]) == (404, "unknown_version")


async def test_the_defaults_info_is_what_it_was(service: Any) -> None:
    info = (await service.call("GET", "/info")).json()
    assert list(info) == [
        *("model", "version", "versions", "lineage", "classes", "filters", "architecture", "input_shape"),
        *("fit", "unlearned", "decoder_version", "formats", "limits"),
    ]
    assert info["classes"] == list(CLASSES)
    assert info["filters"] == ["smoothing", "edge_detection", "sharpness"]
    assert info["architecture"] == (
        "frozen 3x3 filters (smoothing, edge detection, sharpness) beside the image; "
        "3 x [Conv 32/64/128, BatchNorm, ReLU, MaxPool, Dropout 0.3]; "
        "Dense 512, ReLU, Dropout 0.5; Dense 5, softmax"
    )
    assert (info["input_shape"], info["fit"], info["unlearned"]) == ([32, 32, 3], "stretch", [])


NEWER = (
    '{"classes": ["a", "b"], "size": 512, "fit": "stretch", "network": "cnn", "filters": [], "unlearned": []}'
)
REASON = (
    "Version 8 of the model cannot be served by this release, so update cnn-image or promote another "
    "version: The size 512 is not offered; choose one of 32, 48, 64, 96, 128, 160, 192, 224."
)


async def test_a_version_whose_contract_cannot_be_read_is_not_used(
    service: Any, caplog: pytest.LogCaptureFixture
) -> None:
    await serve(service, SmallModel(8))
    service.fake.parameters["contract"] = NEWER
    for _ in range(3):
        await service.triton.probe()
    health = await service.call("GET", "/health")
    assert (health.status, health.json()["error"]) == (503, REASON)
    answer = await SENDERS["raw"](service).send([picture()])
    assert (answer.status, answer.json()["error"]) == (503, REASON)
    said = [record for record in caplog.records if getattr(record, "reason", "") == REASON]
    assert len(said) == 1

    await serve(service, CROPPED)
    await service.triton.probe()
    assert (await service.call("GET", "/health")).json()["version"] == "9"


async def test_beside_a_version_that_cannot_be_read_others_serve(service: Any, beside: Any) -> None:
    other = await beside(SmallModel(8), contract=NEWER)
    for _ in range(4):
        assert probabilities("raw", await SENDERS["raw"](service).send([picture()]))[0] == "7"
    assert other.calls == []
    assert (await service.call("GET", "/health")).status == 200


async def test_a_decoder_that_differs_from_any_served_versions_is_counted(service: Any, beside: Any) -> None:
    def mismatch() -> float:
        return next(
            sample.value
            for metric in service.metrics.collect()
            for sample in metric.samples
            if sample.name == "cnn_image_decoder_mismatch"
        )

    await serve(service, STRETCHED)
    await service.triton.probe()
    assert mismatch() == 0
    await beside(CROPPED, decoder_version="1")
    assert mismatch() == 1
