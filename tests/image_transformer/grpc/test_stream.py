"""ModelStreamInfer: every message has its answer, in their order, whatever the others are like."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import numpy as np
import pytest
from grpc import aio
from over_grpc import OverGrpc, request

from image_transformer.grpc import inference_pb2 as pb
from model.contract import CLASSES
from model.images.decode import decode_image


async def until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not happened():  # noqa: ASYNC110 - what is waited for is another task's
            await asyncio.sleep(0.005)


def faults(jpeg: bytes) -> dict[str, tuple[pb.ModelInferRequest | bytes, str]]:
    """Messages that fail, each with the code that its client is told."""
    two_inputs = request(jpeg)
    two_inputs.inputs.add(name="image")
    flag = request(jpeg)
    flag.parameters["triton_enable_empty_final_response"].int64_param = 1
    grown = pb.ModelInferRequest()
    for _ in range(1_400):
        grown.outputs.add()
    return {
        "no image": (request(b"no image"), "not_an_image"),
        "another model": (request(jpeg, model_name="other"), "unknown_model"),
        "another version": (request(jpeg, model_version="6"), "unknown_version"),
        "two inputs": (two_inputs, "invalid_request"),
        "a flag that is a number": (flag, "invalid_request"),
        "no message": (b"\xff\xff\xff", "invalid_request"),
        "one that would grow": (grown, "too_many_bytes"),
    }


@pytest.mark.usefixtures("small_limit")
async def test_answers_come_in_the_order_of_the_messages_whatever_each_is_like(
    over_grpc: OverGrpc, jpegs: list[bytes], small_model: Any
) -> None:
    probs = small_model.probs(np.stack([decode_image(jpeg) for jpeg in jpegs]))
    bad = list(faults(jpegs[0]).values())

    async def messages() -> AsyncIterator[pb.ModelInferRequest | bytes]:
        for number in range(35):
            yield request(jpegs[number % len(jpegs)], f"good-{number}")
            message, _ = bad[number % len(bad)]
            if isinstance(message, pb.ModelInferRequest):
                message.id = f"bad-{number}"
            yield message

    answers = [answer async for answer in over_grpc.method("ModelStreamInfer")(messages())]
    assert len(answers) == 70
    for number in range(35):
        good, failed = answers[2 * number : 2 * number + 2]
        assert not good.error_message
        assert good.infer_response.id == f"good-{number}"
        assert good.infer_response.parameters["triton_final_response"].bool_param is True
        (output,) = good.infer_response.outputs
        np.testing.assert_allclose(output.contents.fp32_contents, probs[number % len(jpegs)], atol=1e-5)
        message, code = bad[number % len(bad)]
        assert failed.error_message
        assert failed.infer_response.parameters["code"].string_param == code
        unread = isinstance(message, bytes) or code == "too_many_bytes"
        assert failed.infer_response.id == ("" if unread else f"bad-{number}")
        assert not failed.infer_response.outputs
    assert over_grpc.service.metrics.answers["grpc_stream", 200] == 35
    classes = next(over_grpc.service.metrics.outcomes.collect()).samples
    given = Counter(CLASSES[probs[number % len(jpegs)].argmax()] for number in range(35))
    assert {one.labels["class"]: one.value for one in classes if one.value} == given
    assert over_grpc.service.inference.held.count == over_grpc.service.metrics.under_way == 0


async def test_a_stream_has_so_much_under_way_and_the_rest_waits_with_its_client(
    over_grpc: OverGrpc, jpegs: list[bytes]
) -> None:
    """It waits; it is not told that there is too much to do, as many calls at once would be."""
    service = over_grpc.service
    service.fake.answers.clear()
    call = over_grpc.method("ModelStreamInfer")()
    sending = asyncio.create_task(send(call, [request(jpegs[0], str(number)) for number in range(600)]))
    reading = asyncio.create_task(read(call, 600))
    await until(lambda: service.metrics.under_way >= 100)
    most = 0
    for _ in range(50):
        await asyncio.sleep(0)
        most = max(most, service.metrics.under_way)
    assert most <= 128
    service.fake.answers.set()
    answers = await reading
    await sending
    assert [answer.infer_response.id for answer in answers] == [str(number) for number in range(600)]
    assert not any(answer.error_message for answer in answers)


async def test_large_messages_are_under_way_by_their_bytes(over_grpc: OverGrpc, jpegs: list[bytes]) -> None:
    service = over_grpc.service
    service.fake.answers.clear()
    picture = jpegs[0] + bytes(3_000_000)  # what follows a JPEG's end is nothing to a decoder
    call = over_grpc.method("ModelStreamInfer")()
    sending = asyncio.create_task(send(call, [request(picture, str(number)) for number in range(12)]))
    reading = asyncio.create_task(read(call, 12))
    await until(lambda: service.metrics.under_way == 5)
    assert service.inference.held.count < 20_000_000
    service.fake.answers.set()
    assert [answer.infer_response.id for answer in await reading] == [str(number) for number in range(12)]
    await sending


async def test_without_room_for_its_bytes_a_message_is_told_and_the_stream_goes_on(
    over_grpc: OverGrpc, jpegs: list[bytes]
) -> None:
    held = over_grpc.service.inference.held
    held.take(held._most)
    call = over_grpc.method("ModelStreamInfer")()
    await call.write(request(jpegs[0], "early"))
    (answer,) = await read(call, 1)
    assert answer.infer_response.id == "early"
    assert answer.infer_response.parameters["code"].string_param == "overloaded"
    held.give_back(held._most)
    await call.write(request(jpegs[0], "late"))
    await call.done_writing()
    (answer,) = await read(call, 1)
    assert (answer.infer_response.id, answer.error_message) == ("late", "")
    assert await call.code() is grpc.StatusCode.OK


async def test_who_goes_takes_all_that_was_under_way_with_him(
    over_grpc: OverGrpc, jpegs: list[bytes]
) -> None:
    service = over_grpc.service
    service.fake.answers.clear()
    call = over_grpc.method("ModelStreamInfer")()
    messages = [request(jpegs[0], str(number)) for number in range(500)]
    sending = asyncio.create_task(send(call, messages))
    await until(lambda: service.metrics.under_way >= 100)
    call.cancel()
    await until(lambda: service.metrics.under_way == 0 and service.inference.held.count == 0)
    with pytest.raises((aio.AioRpcError, asyncio.CancelledError, asyncio.InvalidStateError)):
        await sending
    told = {status for route, status in service.metrics.answers if route == "grpc_stream"}
    assert told == {499}, "nothing went on until it was too late for it"
    sent = sum(service.fake.calls)
    service.fake.answers.set()
    stream = over_grpc.method("ModelStreamInfer")()
    await send(stream, [request(jpegs[0], "next")])
    (answer,) = await read(stream, 1)
    assert answer.infer_response.id == "next"
    assert sum(service.fake.calls) == sent + 1, "what had waited for Triton was not sent any more"


async def test_the_servers_end_answers_what_is_under_way_and_says_so(
    over_grpc: OverGrpc, jpegs: list[bytes]
) -> None:
    service = over_grpc.service
    service.fake.answers.clear()
    call = over_grpc.method("ModelStreamInfer")()
    await send(call, [request(jpegs[0], str(number)) for number in range(20)], more=True)
    await until(lambda: service.metrics.under_way == 20)
    over_grpc.ending.begin()
    service.fake.answers.set()
    answers = await read(call, 20)
    assert [answer.infer_response.id for answer in answers] == [str(number) for number in range(20)]
    with pytest.raises(aio.AioRpcError) as ended:
        await read(call, 1)
    assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
    assert dict(ended.value.trailing_metadata())["code"] == "shutting_down"


async def test_by_tritons_header_an_error_is_the_streams_status(
    over_grpc: OverGrpc, jpegs: list[bytes]
) -> None:
    call = over_grpc.method("ModelStreamInfer")(metadata=(("triton_grpc_error", "true"),))
    await send(call, [request(jpegs[0], "good")], more=True)
    (answer,) = await read(call, 1)
    assert (answer.infer_response.id, answer.error_message) == ("good", "")
    await send(
        call, [request(b"no image", "bad")], more=True
    )  # it ends here: what is sent later finds no stream
    with pytest.raises(aio.AioRpcError) as raised:
        await call.read()
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "not an image" in raised.value.details()
    told = dict(raised.value.trailing_metadata())
    assert (told["code"], told["x-request-id"]) == ("not_an_image", "bad")
    await until(lambda: over_grpc.service.inference.held.count == 0)


async def test_a_mistake_of_ours_fails_its_message_alone(
    over_grpc: OverGrpc, jpegs: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    inference = over_grpc.service.inference
    classify = inference._classifier.answer

    async def broken(images: Any, alive: Any) -> Any:
        if images.version == "7":
            raise ZeroDivisionError
        return await classify(images, alive)

    monkeypatch.setattr(inference._classifier, "answer", broken)
    call = over_grpc.method("ModelStreamInfer")()
    await send(call, [request(jpegs[0], "a", model_version="7"), request(jpegs[0], "b")])
    first, second = await read(call, 2)
    assert first.infer_response.parameters["code"].string_param == "internal"
    assert "ZeroDivisionError" not in first.error_message
    assert (second.infer_response.id, second.error_message) == ("b", "")


async def send(call: Any, messages: list[pb.ModelInferRequest], *, more: bool = False) -> None:
    for message in messages:
        await call.write(message)
    if not more:
        await call.done_writing()


async def read(call: Any, count: int) -> list[pb.ModelStreamInferResponse]:
    async with asyncio.timeout(60):
        return [await call.read() for _ in range(count)]


async def test_of_what_becomes_large_less_is_under_way(
    over_grpc: OverGrpc, jpegs: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The filters make sixteen times the picture of each; an answer that is not fetched stays."""
    service = over_grpc.service
    served = service.triton.known[0]
    monkeypatch.setattr(type(served), "shape", (224, 224, 12))
    service.fake.answers.clear()
    call = over_grpc.method("ModelStreamInfer")()
    await send(call, [request(jpegs[0], str(number)) for number in range(20)])
    await until(lambda: service.metrics.under_way == 6)
    for _ in range(100):
        await asyncio.sleep(0)
    assert service.metrics.under_way == 6
    service.fake.answers.set()
    answers = await read(call, 20)
    assert [answer.infer_response.id for answer in answers] == [str(number) for number in range(20)]
