"""What is told about the models, and the filters beside the classifier."""

import asyncio
from typing import Any

import numpy as np
import pytest
from other_contracts import SEVEN, STRETCHED, decoded, picture
from serving import SmallModel

from image_transformer.codecs.tensors import Images
from image_transformer.errors import ServiceError
from model.contract import FILTERS_MODEL_NAME, MODEL_NAME, Contract

PARTS = ("compute_input", "compute_infer", "compute_output")
PICTURES = [picture(seed) for seed in range(20)]


async def told(service: Any, name: str = MODEL_NAME) -> Any:
    (one,) = (await service.inference.catalogue.statistics(name))["model_stats"]
    return one


def counts(one: Any) -> dict[str, int]:
    return {
        name: one["inference_stats"][name]["count"] for name in ("success", "fail", "queue", "compute_infer")
    }


async def test_requests_and_calls_are_counted(service: Any) -> None:
    await service.inference.classify(Images(PICTURES[:1]))
    await service.inference.classify(Images(PICTURES))
    with pytest.raises(ServiceError):
        await service.inference.classify(Images([*PICTURES[:3], b"no picture"]))
    with pytest.raises(ServiceError):  # nobody was asked for it
        await service.inference.classify(Images(PICTURES[:1], version="6"))
    one = await told(service)
    assert (one["name"], one["version"]) == (MODEL_NAME, "7")
    assert counts(one) == {"success": 2, "fail": 1, "queue": 2, "compute_infer": 2}
    assert one["inference_count"] == sum(service.fake.calls) == 21
    assert one["execution_count"] == len(service.fake.calls)
    sizes = {row["batch_size"]: row["compute_infer"]["count"] for row in one["batch_stats"]}
    assert sizes == {size: service.fake.calls.count(size) for size in service.fake.calls}
    spent = {name: part["ns"] for name, part in one["inference_stats"].items()}
    parts = spent["queue"] + spent["compute_infer"] + spent["compute_output"]
    assert 0 < parts < spent["success"], "the parts of requests in pieces are no more than the whole"
    assert 0 < spent["compute_input"] < spent["success"]
    for _ in range(5):  # what was decoded in vain is no part of what was answered
        with pytest.raises(ServiceError):
            await service.inference.classify(Images([*PICTURES, b"no picture"]))
    assert (await told(service))["inference_stats"]["compute_input"]["ns"] == spent["compute_input"]


async def test_an_explained_request_counts_as_one_and_its_decoding_with_it(service: Any) -> None:
    """Its masks are inferences and calls, of no request's time."""
    await service.inference.explain(Images(PICTURES[:1]), lambda: True)
    one = await told(service)
    assert counts(one) == {"success": 1, "fail": 0, "queue": 1, "compute_infer": 1}
    assert one["inference_count"] == sum(service.fake.calls) == 501
    assert one["execution_count"] == len(service.fake.calls)
    spent = {name: part["ns"] for name, part in one["inference_stats"].items()}
    assert spent["compute_input"] == int(service.metrics.decode_seconds.sample()[1] * 1e9) > 0
    assert sum(spent[name] for name in ("queue", *PARTS)) < spent["success"]
    with pytest.raises(ServiceError):
        await service.inference.explain(Images([b"no picture"]), lambda: True)
    assert counts(await told(service))["fail"] == 1


async def test_a_version_that_comes_back_goes_on_counting(service: Any) -> None:
    await service.inference.classify(Images(PICTURES[:1]))
    service.fake.model, service.fake.version = STRETCHED, "8"
    await service.triton.probe()
    assert (await told(service))["version"] == "8"
    assert (await told(service))["inference_count"] == 0
    service.fake.model, service.fake.version = SEVEN, "7"
    await service.triton.probe()
    assert (await told(service))["inference_count"] == 1


async def test_the_index(service: Any) -> None:
    catalogue = service.inference.catalogue
    service.fake.filters = True
    service.fake.older = [SmallModel(6)]
    await service.triton.probe()
    rows = [
        {"name": name, "version": version, "state": "READY"}
        for name in (MODEL_NAME, FILTERS_MODEL_NAME)
        for version in ("6", "7")
    ]
    assert await catalogue.index() == await catalogue.index(ready_only=True) == rows
    service.inference.closing = True
    assert {row["state"] for row in await catalogue.index()} == {"UNAVAILABLE"}
    assert await catalogue.index(ready_only=True) == []


async def test_the_index_while_triton_is_away(service: Any) -> None:
    await service.fake.stop()
    await service.triton.probe()
    (row,) = await service.inference.catalogue.index()
    assert row == {
        "name": MODEL_NAME,
        "version": "7",
        "state": "UNAVAILABLE",
        "reason": "The model is not ready; try again in a moment.",
    }
    assert await service.inference.catalogue.index(ready_only=True) == []
    assert not await service.inference.catalogue.ready(MODEL_NAME)


async def test_configurations_are_those_of_the_service(start_service: Any) -> None:
    service = await start_service(max_images=100, health_seconds=0.001)
    service.fake.filters = True
    catalogue = service.inference.catalogue
    assert await catalogue.names() == [MODEL_NAME, FILTERS_MODEL_NAME]
    config = await catalogue.configuration(MODEL_NAME, "7")
    assert (config["max_batch_size"], config["input"][0]["data_type"]) == (100, "TYPE_STRING")
    assert config["output"][0]["dims"] == [5]
    assert config["parameters"]["version"] == {"string_value": "7"}
    filters = await catalogue.configuration(FILTERS_MODEL_NAME)
    assert (filters["max_batch_size"], filters["output"][0]["dims"]) == (100, [32, 32, 12])
    service.fake.model = SmallModel(8, Contract(size=224))
    service.fake.version = "8"
    await service.triton.probe()
    await asyncio.sleep(0.002)
    larger = await catalogue.configuration(FILTERS_MODEL_NAME)
    assert (larger["max_batch_size"], larger["output"][0]["dims"]) == (6, [224, 224, 12])


async def test_metadata_and_configuration_agree(service: Any) -> None:
    """As in Triton: its clients take a shape from the one, and the batch's dimension from the other."""
    service.fake.filters = True
    for name in await service.inference.catalogue.names():
        described = await service.inference.catalogue.metadata(name)
        config = await service.inference.catalogue.configuration(name)
        for kind in ("input", "output"):
            (told,), (configured,) = described[f"{kind}s"], config[kind]
            assert told["name"] == configured["name"]
            assert told["shape"] == [-1, *configured["dims"]]


async def test_pictures_are_filtered(service: Any) -> None:
    service.fake.filters = True
    result = await service.inference.filter(Images(PICTURES))
    pixels = np.concatenate([decoded(SEVEN.contract, image) for image in PICTURES])
    np.testing.assert_array_equal(result.channels, np.concatenate([pixels] * 4, axis=3))
    assert result.version == "7"
    assert len(service.fake.calls) > 1, "in pieces"
    assert counts(await told(service, FILTERS_MODEL_NAME))["success"] == 1
    assert counts(await told(service))["success"] == 0
    assert service.metrics.versions == {}, "no image was classified"


async def test_filters_of_another_size(service: Any) -> None:
    service.fake.filters = True
    service.fake.model, service.fake.version = STRETCHED, "8"
    await service.triton.probe()
    result = await service.inference.filter(Images(PICTURES[:1]))
    assert result.channels.shape == (1, 64, 64, 12)
    assert result.contract == STRETCHED.contract
    pixels = np.concatenate([decoded(STRETCHED.contract, image) for image in PICTURES[:2]])
    result = await service.inference.filter(Images(pixels=pixels))
    np.testing.assert_array_equal(result.channels[..., :3], pixels)


async def test_filters_follow_a_new_version(service: Any) -> None:
    """The next version comes while a request waits for this one."""
    service.fake.filters = True
    await service.inference.filter(Images(PICTURES[:1]))
    service.fake.model, service.fake.version = STRETCHED, "8"
    result = await service.inference.filter(Images(PICTURES[:1]))
    assert (result.version, result.channels.shape) == ("8", (1, 64, 64, 12))


async def test_an_answer_that_would_be_too_large_is_refused(service: Any, failure: Any) -> None:
    service.fake.filters = True
    service.fake.model, service.fake.version = SmallModel(8, Contract(size=224)), "8"
    await service.triton.probe()
    with failure("too_many_images") as raised:
        await service.inference.filter(Images(PICTURES[:7]))
    assert raised.value.sentence == "The request has 7 images; send the filters at most 6 at once."
    assert len((await service.inference.filter(Images(PICTURES[:6]))).channels) == 6


async def test_a_version_without_filters(service: Any, failure: Any) -> None:
    assert await service.inference.catalogue.names() == [MODEL_NAME]
    for asked in (
        service.inference.filter(Images(PICTURES[:1])),
        service.inference.catalogue.metadata(FILTERS_MODEL_NAME),
        service.inference.catalogue.configuration(FILTERS_MODEL_NAME),
        service.inference.catalogue.statistics(FILTERS_MODEL_NAME),
        service.inference.catalogue.ready(FILTERS_MODEL_NAME),
    ):
        with failure("unknown_model") as raised:
            await asked
        assert raised.value.sentence == (
            "The version that is served came without 'cnn-image-filters'; ask for 'cnn-image'."
        )
    await service.fake.stop()
    await service.triton.probe()
    with failure("model_unavailable"):
        await service.inference.filter(Images(PICTURES[:1]))
