"""What a call is told where it has no answer, and what one client may not have."""

import asyncio
import logging
import random

import pytest
from grpc_service import MANY, Service, data
from http2_peer import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PING,
    PREFACE,
    RST_STREAM,
    Caller,
    frame,
    message,
    only,
    reset,
    settings,
    window,
)

from image_transformer.errors import ServiceError
from image_transformer.grpc.server import GrpcServer

BOTH = END_HEADERS | END_STREAM


@pytest.mark.parametrize("contents", [(), (b"a", b"b")])
async def test_another_number_of_messages_than_one(server: GrpcServer, contents: tuple[bytes, ...]) -> None:
    caller = Caller(server)
    caller.says(caller.call(1), data(1, *contents))
    told = await caller.status(1)
    assert (told["grpc-status"], told["code"]) == ("12", "invalid_request")
    caller.says(caller.call(3, flags=END_HEADERS), data(3, b"a", b"b", flags=0))
    assert (await caller.status(3))["grpc-status"] in ("12", "3")
    caller.goes()


async def test_a_message_that_is_cut(server: GrpcServer) -> None:
    caller = Caller(server)
    for number, path in ((1, ""), (3, MANY)):
        caller.says(caller.call(number, path=path), frame(DATA, END_STREAM, number, message(b"abc")[:-1]))
        told = await caller.status(number)
        assert (told["grpc-status"], told["code"]) == ("3", "invalid_request")
        assert "ends before its length" in told["grpc-message"]
    caller.goes()


async def test_what_is_refused_has_its_reason_and_sends_no_more(server: GrpcServer, service: Service) -> None:
    caller = Caller(server)
    large = b"\0" + (300_001).to_bytes(4)
    cases = [
        (caller.call(1, path="/tests.Service/Other"), "12", "unknown_route", "Method not found!"),
        (caller.call(3, ("grpc-encoding", "gzip")), "12", "unsupported_encoding", "is disabled."),
        (caller.call(5, ("x", "v" * 16_384)), "8", "head_too_long", "16,384 bytes"),
        (
            caller.call(7) + frame(DATA, 0, 7, large),
            "8",
            "too_many_bytes",
            "larger than max (300001 vs. 300000)",
        ),
        (caller.call(9, path=MANY) + frame(DATA, 0, 9, large), "8", "too_many_bytes", "larger than max"),
        (
            caller.call(11, path=MANY) + frame(DATA, 0, 11, b"\1\0\0\0\0"),
            "13",
            "unsupported_encoding",
            "compressed",
        ),
    ]
    for number, (said, status, code, words) in enumerate(cases):
        caller.says(said)
        heard = await caller.hears()
        (head,) = only(heard, HEADERS)
        told = caller.fields(head)
        assert (head.flags, told[":status"], told["grpc-status"], told["code"]) == (BOTH, "200", status, code)
        assert words in told["grpc-message"]
        assert told["x-request-id"]
        assert [(one.stream, one.number) for one in only(heard, RST_STREAM)] == [(2 * number + 1, 0)]
    assert service.begun == []
    caller.goes()


async def test_beyond_the_limit_calls_are_told_when_to_come_again(
    server: GrpcServer, service: Service
) -> None:
    service.may.clear()
    caller = Caller(server)
    caller.says(*[caller.call(2 * number + 1) + data(2 * number + 1, b"x") for number in range(11)])
    told = await caller.status(21)
    assert (told["grpc-status"], told["code"], told["retry-after"]) == ("8", "overloaded", "1")
    assert server._observer.metrics.errors["overloaded"] == 1
    caller.says(reset(1))
    await caller.hears()
    caller.says(caller.call(23), data(23, b"y"))
    service.may.set()
    assert (await caller.status(23))["grpc-status"] == "0"
    caller.goes()


async def test_failures_have_their_status(
    server: GrpcServer, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    caller = Caller(server)
    service.answer = ServiceError("model_unavailable", "The model is away.")
    caller.says(caller.call(1), data(1, b"a"))
    told = await caller.status(1)
    assert (told["grpc-status"], told["code"], told["retry-after"]) == ("14", "model_unavailable", "2")
    service.answer = ZeroDivisionError("secret")
    with caplog.at_level(logging.ERROR):
        for number, path in ((3, ""), (5, MANY)):
            caller.says(caller.call(number, path=path), data(number, b"a"))
            told = await caller.status(number)
            assert (told["grpc-status"], told["code"]) == ("13", "internal")
            assert "secret" not in told["grpc-message"]
            assert caplog.records[-1].request_id == told["x-request-id"]
    caller.goes()


async def test_who_takes_no_answers_gets_no_more_of_them(server: GrpcServer, service: Service) -> None:
    service.answer = b"z" * 200_000
    caller = Caller(server, PREFACE + settings(window=0))
    caller.says(caller.call(1), data(1, b"a"), caller.call(3), data(3, b"b"))
    await caller.hears()
    caller.says(caller.call(5), data(5, b"c"))
    told = await caller.status(5)
    assert (told["grpc-status"], told["code"]) == ("8", "overloaded")
    caller.goes()


async def test_who_asks_and_does_not_read_is_not_read(server: GrpcServer) -> None:
    caller = Caller(server)
    caller.connection.pause_writing()
    caller.wire.reading = True
    caller.says(frame(PING, payload=bytes(8)))
    assert caller.wire.reading
    caller.wire.buffered = 2_000_000
    caller.says(frame(PING, payload=bytes(8)))
    assert not caller.wire.reading
    caller.connection.resume_writing()
    assert caller.wire.reading
    caller.goes()


async def test_whatever_is_said_nothing_raises_and_all_places_are_free_again(
    server: GrpcServer, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    rng = random.Random(13)
    for _ in range(200):
        caller = Caller(server)
        said = b""
        for number in range(1, 1 + 2 * rng.randrange(1, 8), 2):
            timeout = [("grpc-timeout", rng.choice(("1n", "1u", "1S", "x")))] if rng.random() < 0.3 else []
            said += caller.call(number, *timeout, path=rng.choice(("", "", MANY, "/tests.Service/Other")))
            said += data(number, rng.randbytes(rng.randrange(50)), flags=rng.randrange(2))
            said += rng.choice(
                (b"", b"", reset(number), window(number, 9), settings(window=rng.randrange(40)))
            )
        changed = bytearray(said)
        for _ in range(rng.randrange(4)):
            at = rng.randrange(len(changed))
            changed[at : at + rng.randrange(3)] = rng.randbytes(rng.randrange(3))
        cut = rng.randrange(len(changed))
        caller.says(bytes(changed[:cut]))
        if rng.random() < 0.5:
            await asyncio.sleep(0)
        caller.says(bytes(changed[cut:]))
        await caller.hears()
        caller.goes()
    await caller.hears()
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
