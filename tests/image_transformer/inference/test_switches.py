"""Versions that go, and come back, in the middle of a request: it is answered, by one of them alone."""

import asyncio
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from grpc import StatusCode
from other_contracts import CROPPED, MODELS, SEVEN, STRETCHED, due, picture
from senders import SENDERS
from serving import SmallModel

from image_transformer.codecs.tensors import Images
from image_transformer.inference.room import Room
from image_transformer.triton import client
from model.images.decode import DECODER_VERSION

FORTY = [picture(seed) for seed in range(40)]


async def until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not happened():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


def serve(fake: Any, model: SmallModel) -> None:
    """Replaces the version that a Triton serves, unseen by the service."""
    fake.model, fake.version = model, str(model.version)
    fake.parameters = {"decoder_version": DECODER_VERSION}


def check(result: Any, images: list[bytes], version: str) -> None:
    assert result.version == version
    model = MODELS[version]
    assert result.contract.classes == model.contract.classes
    assert np.array_equal(result.probs, np.stack([due(model, image) for image in images]))


def jumping(seconds: float) -> Any:
    """A clock on which so many seconds pass between two looks at it."""
    now = iter(np.arange(1, 10**6) * seconds)
    return SimpleNamespace(time=lambda: float(next(now)))


async def switched(service: Any, *walk: SmallModel) -> asyncio.Task[Any]:
    """Asks for forty images; whenever three calls are under way, the next version takes their place."""
    serve(service.fake, walk[0])
    await service.triton.probe()
    fake = service.fake
    fake.answers.clear()
    task = asyncio.create_task(service.inference.classify(Images(FORTY)))
    for model in walk[1:]:
        await until(lambda: fake.waiting == 3 or task.done())
        serve(fake, model)
        fake.answers.set()
        fake.answers.clear()
        await until(lambda: fake.waiting == 0 or task.done())
    fake.answers.set()
    await asyncio.wait((task,))
    return task


async def test_a_request_follows_however_many_switches_meet(service: Any) -> None:
    """For ten seconds each, which is longer than Triton may take to answer."""
    service.inference._classifier._loop = jumping(10)
    task = await switched(service, SEVEN, STRETCHED, CROPPED, STRETCHED, SEVEN, CROPPED)
    check(task.result(), FORTY, "9")
    assert not service.metrics.errors
    assert service.metrics.versions == {"9": 40}


@pytest.fixture
def patient(start_service: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A version that comes back is waited for, for as long as a test takes."""
    monkeypatch.setattr(client, "_RETURN_SECONDS", 60.0)


@pytest.mark.usefixtures("patient")
async def test_between_a_pod_that_went_and_one_that_is_not_found_yet_a_request_waits(service: Any) -> None:
    service.fake.status = 503
    await service.triton.probe()
    tasks = [asyncio.create_task(service.inference.classify(Images(FORTY[:count]))) for count in (1, 40)]
    done, _ = await asyncio.wait(tasks, timeout=0.05)
    assert not done
    service.fake.status = 200
    serve(service.fake, STRETCHED)
    await service.triton.probe()
    for task, count in zip(tasks, (1, 40), strict=True):
        check(await task, FORTY[:count], "8")
    assert not service.metrics.errors


@pytest.mark.usefixtures("patient")
async def test_what_was_asked_of_the_pod_that_went_waits_as_well(service: Any) -> None:
    """Of the calls three are under way and the rest is queued; none of them is lost with the pod."""
    serve(service.fake, SEVEN)
    await service.triton.probe()
    service.fake.answers.clear()
    task = asyncio.create_task(service.inference.classify(Images(FORTY)))
    await until(lambda: service.fake.waiting == 3)
    service.fake.status = 503
    service.fake.answers.set()
    await until(lambda: not service.triton.ready)
    service.fake.status = 200
    serve(service.fake, CROPPED)
    await service.triton.probe()
    check(await task, FORTY, "9")
    assert not service.metrics.errors


@pytest.mark.usefixtures("patient")
async def test_a_model_that_was_never_there_is_not_waited_for(
    start_service: Any, fake_triton: Any, failure: Any
) -> None:
    fake_triton.status = 503
    service = await start_service()
    async with asyncio.timeout(20):
        with failure("model_unavailable"):
            await service.inference.classify(Images(FORTY))


async def test_it_does_not_follow_for_ever(service: Any, failure: Any) -> None:
    service.inference._classifier._loop = jumping(61)
    task = await switched(service, SEVEN, STRETCHED, CROPPED)
    with failure("model_unavailable"):
        task.result()


async def test_a_version_that_is_refused_while_it_is_ready_is_asked_again(service: Any) -> None:
    """As where a rollback brings it back in the same moment."""
    service.fake.refuse_next = 9
    check(await service.inference.classify(Images(FORTY)), FORTY, "7")
    assert service.fake.refuse_next == 0


async def test_but_no_longer_than_an_answer_may_take(start_service: Any, failure: Any) -> None:
    service = await start_service(triton_seconds=0.3)
    service.fake.refuse_next = 10**9
    with failure("model_unavailable"):
        await service.inference.classify(Images(FORTY[:1]))
    assert service.metrics.retries > 1


async def test_a_version_that_is_gone_on_two_pods_is_asked_at_the_third(service: Any, beside: Any) -> None:
    """No image is decoded again, and none is answered by what the two have instead."""
    others = [await beside(SEVEN), await beside(SEVEN)]
    for fake in (service.fake, others[0]):
        serve(fake, CROPPED)
    check(await service.inference.classify(Images(FORTY, version="7")), FORTY, "7")
    assert sum(service.metrics.decode_seconds._counts) == 40
    assert service.triton.endpoints.count(service.triton.known[-1]) == 1


@pytest.fixture
async def gated(service: Any) -> AsyncIterator[Any]:
    """A service whose decoder waits at the 17th picture until it is let on; it counts what it decodes."""
    decode, gate = service.inference._decoder.decode_small, asyncio.Event()
    decoded: list[int] = []

    async def waiting(data: bytes, index: int | None, _alive: Any, *rest: Any) -> Any:
        if index == 16:
            await gate.wait()
        decoded.append(index or 0)
        return decode(data, index, *rest)

    service.inference._decoder.decode_large = waiting
    service.inference._decoder.decode_small = lambda *_: None  # which nothing waits in
    service.gate, service.decoded = gate, decoded
    yield service
    gate.set()


async def test_between_two_pieces_the_rest_is_not_decoded_for_a_version_that_is_gone(gated: Any) -> None:
    task = asyncio.create_task(gated.inference.classify(Images(FORTY)))
    await until(lambda: len(gated.decoded) == 16)
    serve(gated.fake, STRETCHED)
    await gated.triton.probe()
    gated.gate.set()
    check(await task, FORTY, "8")
    assert gated.decoded == [*range(24), *range(40)]


async def test_nor_for_a_client_that_hung_up(gated: Any) -> None:
    there = True
    task = asyncio.create_task(gated.inference.classify(Images(FORTY), lambda: there))
    await until(lambda: len(gated.decoded) == 16)
    there = False
    gated.gate.set()
    await asyncio.wait((task,))
    assert type(task.exception()).__name__ == "ClientGoneError"
    assert gated.decoded == [*range(24)]


@pytest.mark.parametrize("route", ["v2", "v2 binary", "gRPC"])
async def test_many_images_for_a_version_that_goes_meanwhile(gated: Any, beside: Any, route: str) -> None:
    """The client asked for that one: it is told that it is gone, and what there is."""
    await beside(CROPPED)
    sender = SENDERS[route](gated)
    if route == "gRPC":
        request = sender.request(FORTY)
        request.model_version = "7"
        task = asyncio.create_task(sender.ask(request))
    else:
        task = asyncio.create_task(sender.send(FORTY, path="/v2/models/cnn-image/versions/7/infer"))
    await until(lambda: len(gated.decoded) == 16)
    serve(gated.fake, STRETCHED)
    gated.gate.set()
    sentence = "Version '7' is not served; versions 8 and 9 are. Ask for one of them, or for none."
    answer = await task
    if route == "gRPC":
        assert answer[:2] == (StatusCode.NOT_FOUND, sentence)
    else:
        assert (answer.status, answer.json()["error"]) == (404, sentence)
        assert answer.json()["code"] == "unknown_version"


async def test_versions_share_requests_of_many_images(service: Any, beside: Any) -> None:
    """Two pods of each; eight requests at once, of which none has an answer while they are shared out."""
    fakes = [service.fake, await beside(SEVEN), await beside(CROPPED), await beside(CROPPED)]
    for fake in fakes:
        fake.answers.clear()
    tasks = [asyncio.create_task(service.inference.classify(Images(FORTY))) for _ in range(8)]
    await until(lambda: sum(sum(fake.calls) for fake in fakes) + service.inference._batcher._queued == 320)
    for fake in fakes:
        fake.answers.set()
    results = await asyncio.gather(*tasks)
    for result in results:
        check(result, FORTY, result.version)
    assert service.metrics.versions == {"7": 160, "9": 160}
    assert service.inference._batcher.load(service.triton.known[0]) == 0


async def test_decoded_images_of_many_requests_wait_for_room(service: Any) -> None:
    """There is room for one request of forty images at 32 pixels, and for any one alone."""
    service.inference._classifier.squares = room = Room(40 * 3072)
    service.fake.answers.clear()
    tasks = [asyncio.create_task(service.inference.classify(Images(FORTY))) for _ in range(3)]
    await until(lambda: sum(service.fake.calls) + service.inference._batcher._queued == 40)
    assert sum(service.metrics.decode_seconds._counts) == 40
    assert room.free == 0
    serve(service.fake, STRETCHED)  # four times as large
    service.fake.answers.set()
    for result in await asyncio.gather(*tasks):
        check(result, FORTY, "8")
    assert room.free == 40 * 3072


async def test_one_address_behind_which_pods_of_two_versions_take_turns(
    start_service: Any, service: Any
) -> None:
    """As behind a Service's own address: each connection leads to the next pod."""
    fakes = [service.fake, type(service.fake)(CROPPED, version="9")]
    await fakes[1].start()
    turn = 0

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
        writer.close()

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal turn
        turn += 1
        to = await asyncio.open_connection("127.0.0.1", fakes[turn % 2].port)
        await asyncio.gather(pipe(reader, to[1]), pipe(to[0], writer), return_exceptions=True)

    async with await asyncio.start_server(connection, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        mixed = await start_service(predictor_host=f"127.0.0.1:{port}")
        watch = asyncio.create_task(mixed.triton.watch(0.05))
        seen: set[str] = set()
        for _ in range(10):
            asked = [Images(FORTY if number % 4 == 0 else FORTY[:1]) for number in range(12)]
            results = await asyncio.gather(*(mixed.inference.classify(images) for images in asked))
            for images, result in zip(asked, results, strict=True):
                check(result, list(images.encoded), result.version)
            seen |= {result.version for result in results}
        watch.cancel()
        mixed.triton.endpoints.close()
    assert seen == {"7", "9"}
    await fakes[1].stop()
