import asyncio
from typing import Any

import numpy as np
import pytest

from image_transformer.codecs.tensors import Probabilities
from image_transformer.errors import ServiceError
from image_transformer.triton.pool import Endpoint

PIXELS = np.random.default_rng(1).integers(0, 256, (3, 32, 32, 3), np.uint8)


async def infer(triton: Any, pixels: Any = PIXELS) -> Probabilities | ServiceError:
    result: asyncio.Future[Probabilities | ServiceError] = asyncio.get_running_loop().create_future()
    triton.infer(triton.newest, pixels.tobytes(), len(pixels), result.set_result)
    return await asyncio.wait_for(result, 60)


async def test_the_answer_is_the_models(service: Any, small_model: Any) -> None:
    result = await infer(service.triton)
    assert isinstance(result, Probabilities)
    np.testing.assert_array_equal(result.probs, small_model.probs(PIXELS))
    assert result.version == "7"


async def test_a_connection_is_used_again(service: Any) -> None:
    await infer(service.triton)
    before = service.fake.connections
    for _ in range(5):
        await infer(service.triton)
    assert service.fake.connections == before


async def test_a_lost_connection_is_tried_once_more(service: Any) -> None:
    service.fake.break_next = 1
    assert isinstance(await infer(service.triton), Probabilities)
    assert service.metrics.retries == 1


async def test_a_second_loss_is_told(service: Any) -> None:
    service.fake.break_next = 2
    result = await infer(service.triton)
    assert isinstance(result, ServiceError)
    assert result.code == "model_unavailable"
    assert len(service.fake.calls) == 2


async def test_a_second_loss_is_tried_again_while_nobody_knows_who_is_there(
    service: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pod that is killed still takes connections while its memory is given back, and answers none."""
    looks = []

    async def unknown(endpoint: Endpoint) -> bool:
        looks.append(endpoint)
        return False

    monkeypatch.setattr(service.triton, "look", unknown)
    service.fake.break_next = 2
    assert isinstance(await infer(service.triton), Probabilities)
    assert (len(looks), service.metrics.retries) == (1, 2)


async def test_a_look_that_gets_no_answer_says_so(service: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (endpoint,) = service.triton.endpoints.all
    assert await service.triton.look(endpoint)

    async def late(_: Endpoint) -> None:
        raise TimeoutError("no answer")

    monkeypatch.setattr(service.triton, "_ready_versions", late)
    assert not await service.triton.look(endpoint)
    assert endpoint.served


async def test_an_answer_that_does_not_come_is_told_in_time(start_service: Any) -> None:
    service = await start_service(triton_seconds=0.5)
    service.fake.answers.clear()
    result = await infer(service.triton)
    assert isinstance(result, ServiceError)
    assert result.code == "model_timeout"
    assert len(service.fake.calls) == 1, "what may be running already is not started a second time"


async def test_a_late_answer_is_nobody_elses(start_service: Any, small_model: Any) -> None:
    service = await start_service(triton_seconds=0.1)
    service.fake.answers.clear()
    await infer(service.triton, PIXELS[:1])
    service.triton.seconds = 60
    service.fake.answers.set()
    result = await infer(service.triton, PIXELS[1:])
    assert isinstance(result, Probabilities)
    np.testing.assert_array_equal(result.probs, small_model.probs(PIXELS[1:]))


@pytest.mark.parametrize("status", [400, 404, 500, 503])
async def test_a_refusal_is_no_fault_of_the_client(service: Any, status: int) -> None:
    service.fake.status = status
    result = await infer(service.triton)
    assert isinstance(result, ServiceError)
    assert result.code == "model_unavailable"


async def test_a_refusal_is_tried_once_more_over_a_new_connection(service: Any) -> None:
    service.fake.refused = service.fake.connections
    assert isinstance(await infer(service.triton), Probabilities)
    assert service.metrics.retries == 1


async def test_a_connection_ends_before_a_pod_has_drained(service: Any, monkeypatch: Any) -> None:
    await infer(service.triton)
    before = service.fake.connections
    monkeypatch.setattr("image_transformer.triton.pool._CONNECTION_AGE_SECONDS", 0.0)
    await infer(service.triton)
    assert service.fake.connections == before + 1


async def test_readiness_follows_in_both_directions(service: Any) -> None:
    assert service.triton.ready
    service.fake.status = 503
    await service.triton.probe()
    assert not service.triton.ready
    service.fake.status = 200
    await service.triton.probe()
    assert service.triton.ready


async def test_a_triton_that_is_gone_and_comes_back(service: Any) -> None:
    await service.fake.stop()
    result = await infer(service.triton)
    assert isinstance(result, ServiceError)
    assert not service.triton.ready, "a refused connection needs no second look"
    await service.fake.start()
    await service.triton.probe()
    assert isinstance(await infer(service.triton), Probabilities)


async def test_the_first_look_may_find_nobody(start_service: Any, fake_triton: Any) -> None:
    await fake_triton.stop()
    service = await start_service()
    assert not service.triton.ready


async def test_lineage_is_read_again_when_the_version_changes(service: Any) -> None:
    assert service.triton.newest.parameters["decoder_version"] == "1"
    service.fake.version = "8"
    service.fake.parameters = {"decoder_version": "2"}
    await service.triton.probe()
    assert service.triton.newest.version == "8"
    assert service.triton.newest.parameters == {"decoder_version": "2"}


async def test_every_address_of_a_name_gets_its_share(start_service: Any, small_model: Any) -> None:
    service = await start_service()
    other = type(service.fake)(small_model)
    await other.start()
    try:
        endpoints = service.triton.endpoints
        (first,) = endpoints.all
        second = endpoints.add(("127.0.0.1", other.port))
        await service.triton.probe()
        service.fake.answers.clear()
        other.answers.clear()
        tasks = [asyncio.create_task(infer(service.triton)) for _ in range(6)]
        await asyncio.sleep(0)
        assert (first.busy, second.busy) == (3, 3)
        service.fake.answers.set()
        other.answers.set()
        await asyncio.gather(*tasks)

        other.break_next = 1
        first.busy += 5  # so that the next one goes to the other, which breaks
        assert isinstance(await infer(service.triton), Probabilities)
        first.busy -= 5
        assert len(other.calls) == 4
        assert len(service.fake.calls) == 4, "the second attempt goes elsewhere"
    finally:
        await other.stop()


async def test_a_look_whose_connection_breaks_looks_again(service: Any) -> None:
    """One that breaks says little about a pod; three do."""
    service.fake.break_looks = 2
    await service.triton.probe()
    assert service.triton.ready
    service.fake.break_looks = 3
    await service.triton.probe()
    assert not service.triton.ready
    await service.triton.probe()
    assert service.triton.ready
