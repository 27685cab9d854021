import asyncio
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from image_transformer.codecs.tensors import Images
from image_transformer.inference import batching
from image_transformer.triton.served import Served
from model.contract import DEFAULT_CONTRACT, Contract


def pixels(count: int, seed: int = 0) -> Images:
    return Images(pixels=np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), np.uint8))


async def until(happened: Any) -> None:
    async with asyncio.timeout(10):
        while not happened():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


async def test_an_idle_service_sends_an_image_at_once(service: Any) -> None:
    await service.inference.classify(pixels(1))
    assert service.fake.calls == [1]


async def hold_every_call(service: Any) -> list[asyncio.Task[Any]]:
    """Sends two images after the other until no more calls may be under way; Triton keeps them waiting."""
    service.fake.answers.clear()
    held = []
    for count in range(1, service.inference.settings.calls_in_flight + 1):
        held.append(asyncio.create_task(service.inference.classify(pixels(2))))
        await until(lambda count=count: len(service.fake.calls) == count)
    return held


async def asked_while_held(service: Any, small_model: Any, requests: list[Images]) -> list[int]:
    """Sends requests while every call is held, then lets Triton answer; returns the further calls' sizes."""
    held = await hold_every_call(service)
    tasks = [asyncio.create_task(service.inference.classify(request)) for request in requests]
    await until(lambda: service.inference._batcher.queued == sum(len(request) for request in requests))
    service.fake.answers.set()
    results = await asyncio.gather(*tasks)
    await asyncio.gather(*held)
    assert service.fake.most_waiting == 3
    for request, result in zip(requests, results, strict=True):
        np.testing.assert_array_equal(result.probs, small_model.probs(request.pixels))
    return list(service.fake.calls[3:])


async def test_load_makes_the_batches(service: Any, small_model: Any) -> None:
    """While all calls are under way images wait; then they go out together, a fair share a call."""
    requests = [pixels(2, seed) for seed in range(15)]
    assert await asked_while_held(service, small_model, requests) == [14, 8, 8]


async def test_single_images_share_one_call(service: Any, small_model: Any) -> None:
    requests = [pixels(1, seed) for seed in range(30)]
    assert await asked_while_held(service, small_model, requests) == [30]


async def test_more_single_images_than_two_calls_take_go_beside_it(
    service: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "_SLOW_CALL_SECONDS", 60)
    service.fake.answers.clear()
    tasks = [asyncio.create_task(service.inference.classify(pixels(1)))]
    await until(lambda: service.fake.calls == [1])
    tasks += [asyncio.create_task(service.inference.classify(pixels(1))) for _ in range(70)]
    await until(lambda: service.fake.calls == [1, 32])
    service.fake.answers.set()
    await asyncio.gather(*tasks)
    assert service.fake.calls == [1, 32, 32, 6]


async def test_single_images_wait_for_the_call_under_way(
    service: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "_SLOW_CALL_SECONDS", 60)
    service.fake.answers.clear()
    first = asyncio.create_task(service.inference.classify(pixels(1)))
    await until(lambda: service.fake.calls == [1])
    others = [asyncio.create_task(service.inference.classify(pixels(1))) for _ in range(5)]
    await until(lambda: service.inference._batcher.queued == 5)
    service.fake.answers.set()
    await asyncio.gather(first, *others)
    assert service.fake.calls == [1, 5]


async def test_where_that_call_is_slow_they_go_beside_it(service: Any) -> None:
    """One instance is stuck: the other goes on, and nobody else has to come for that."""
    service.fake.answers.clear()
    first = asyncio.create_task(service.inference.classify(pixels(1)))
    await until(lambda: service.fake.calls == [1])
    others = [asyncio.create_task(service.inference.classify(pixels(1))) for _ in range(5)]
    await until(lambda: service.fake.calls == [1, 5])
    assert not first.done()
    others.append(asyncio.create_task(service.inference.classify(pixels(1))))
    (lane,) = service.inference._batcher._lanes.values()
    await until(lambda: service.fake.calls == [1, 5, 1] or lane.look_is_due)
    assert not lane.look_is_due, "the stuck one holds up nobody a second time"
    service.fake.answers.set()
    await asyncio.gather(first, *others)


@pytest.mark.parametrize(("held", "next_one"), [(1, 2), (2, 1)])
async def test_single_images_and_requests_of_several_do_not_wait_for_one_another(
    service: Any, monkeypatch: pytest.MonkeyPatch, held: int, next_one: int
) -> None:
    monkeypatch.setattr(batching, "_SLOW_CALL_SECONDS", 60)
    service.fake.answers.clear()
    tasks = [asyncio.create_task(service.inference.classify(pixels(held)))]
    await until(lambda: service.fake.calls == [held])
    tasks.append(asyncio.create_task(service.inference.classify(pixels(next_one))))
    await until(lambda: service.fake.calls == [held, next_one])
    service.fake.answers.set()
    await asyncio.gather(*tasks)


@pytest.mark.parametrize(
    ("contract", "brief"),
    [
        (DEFAULT_CONTRACT, True),
        (replace(DEFAULT_CONTRACT, size=48), False),
        (Contract(("a", "b"), size=96, network="efficientnet-lite0", filters=()), False),
    ],
)
def test_single_images_wait_for_a_brief_network_alone(contract: Contract, brief: bool) -> None:
    assert Served("m", "1", contract, {}).brief is brief


async def test_single_images_of_a_longer_network_go_side_by_side(
    service: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Served, "brief", False)
    await asyncio.gather(*(service.inference.classify(pixels(1)) for _ in range(30)))
    assert service.fake.calls == [15, 8, 7]


async def test_what_comes_at_once_goes_out_at_once_and_together(service: Any) -> None:
    await asyncio.gather(*(service.inference.classify(pixels(1)) for _ in range(30)))
    assert service.fake.calls == [30]
    await asyncio.gather(*(service.inference.classify(pixels(2)) for _ in range(15)))
    assert service.fake.calls[1:] == [14, 8, 8]


async def test_a_call_takes_no_more_than_it_may(start_service: Any) -> None:
    service = await start_service(images_per_call=4)
    await asyncio.gather(*(service.inference.classify(pixels(1)) for _ in range(30)))
    assert max(service.fake.calls) == 4


async def test_a_large_request_goes_out_in_several_calls(service: Any, small_model: Any) -> None:
    request = pixels(30)
    result = await service.inference.classify(request)
    assert sorted(service.fake.calls) == [6, 8, 8, 8]
    np.testing.assert_array_equal(result.probs, small_model.probs(request.pixels))


async def test_no_room_in_the_queue_is_said_at_once(start_service: Any, failure: Any) -> None:
    service = await start_service(max_queued_images=8)
    tasks = await hold_every_call(service)
    tasks += [asyncio.create_task(service.inference.classify(pixels(1))) for _ in range(8)]
    await asyncio.sleep(0)
    with failure("overloaded"):
        await service.inference.classify(pixels(1))
    service.fake.answers.set()
    await asyncio.gather(*tasks)


async def test_while_the_oldest_has_waited_for_long_no_more_are_taken(
    start_service: Any, failure: Any
) -> None:
    service = await start_service(queue_seconds=0.05)
    held = await hold_every_call(service)
    held += [asyncio.create_task(service.inference.classify(pixels(8))) for _ in range(16)]
    await until(lambda: service.inference.saturated)
    with failure("overloaded"):
        await service.inference.classify(pixels(1))
    service.fake.answers.set()
    await asyncio.gather(*held)
    assert not service.inference.saturated
    await service.inference.classify(pixels(1))


async def test_a_short_queue_may_wait_as_long_as_triton_takes(start_service: Any) -> None:
    service = await start_service(queue_seconds=0.0001)
    held = await hold_every_call(service)
    held += [asyncio.create_task(service.inference.classify(pixels(8))) for _ in range(15)]
    await asyncio.sleep(0.01)
    assert not service.inference.saturated
    held.append(asyncio.create_task(service.inference.classify(pixels(1))))
    service.fake.answers.set()
    await asyncio.gather(*held)


async def test_who_hung_up_gets_no_work_done(service: Any) -> None:
    gone = False
    held = await hold_every_call(service)
    waiting = asyncio.create_task(service.inference.classify(pixels(2), lambda: not gone))
    cancelled = asyncio.create_task(service.inference.classify(pixels(3)))
    await asyncio.sleep(0)
    gone = True
    cancelled.cancel()
    service.fake.answers.set()
    await asyncio.gather(*held)
    with pytest.raises(Exception, match=r"^$"):
        await waiting
    assert service.fake.calls == [2, 2, 2]


async def test_what_waits_is_answered_when_triton_goes(service: Any, failure: Any) -> None:
    held = await hold_every_call(service)
    waiting = asyncio.create_task(service.inference.classify(pixels(1)))
    await asyncio.sleep(0)
    await service.fake.stop()
    with failure("model_unavailable"):
        await waiting
    for task in held:
        with failure("model_unavailable"):
            await task


async def test_what_waits_too_long_is_told(start_service: Any, failure: Any) -> None:
    service = await start_service(triton_seconds=0.5)
    service.fake.answers.clear()
    held = []
    for calls in range(1, 5):
        held.append(asyncio.create_task(service.inference.classify(pixels(1))))
        await until(lambda calls=calls: len(service.fake.calls) == calls)  # type: ignore[misc]
    waiting = asyncio.create_task(service.inference.classify(pixels(1)))
    await asyncio.sleep(0)
    service.inference._batcher._max_wait = 0
    for task in (*held, waiting):
        with failure("model_timeout"):
            await asyncio.wait_for(task, 60)
    assert len(service.fake.calls) == 4, "what waited too long never goes out"


async def test_one_request_is_answered_by_one_version(service: Any, small_model: Any) -> None:
    """A new version comes between the calls of a request: all of it is asked again."""
    service.fake.answers.clear()
    request = pixels(40)
    task = asyncio.create_task(service.inference.classify(request))
    await until(lambda: len(service.fake.calls) == 3)
    service.fake.version = "8"
    service.fake.answers.set()
    result = await asyncio.wait_for(task, 60)
    assert result.version == "8"
    assert sum(service.fake.calls) == 32 + 40, "what version 7 had answered already is asked of version 8 too"
    np.testing.assert_array_equal(result.probs, small_model.probs(request.pixels))
    assert service.metrics.versions == {"8": 40}
