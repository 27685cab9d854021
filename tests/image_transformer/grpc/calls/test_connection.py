"""Calls on a connection: begun together, answered together, refused, given up, and ended."""

import asyncio
import gc
import logging
import random
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from http2_peer import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    RST_STREAM,
    WINDOW_UPDATE,
    Caller,
    ended,
    frame,
    message,
    only,
    reset,
    settings,
    window,
)

from image_transformer.errors import ServiceError
from image_transformer.grpc.calls.call import Call
from image_transformer.grpc.calls.connection import ClientConnection
from image_transformer.grpc.calls.method import Method
from image_transformer.grpc.http2.stream import Stream
from image_transformer.grpc.server import GrpcServer, ServerLimits
from image_transformer.observe.metrics import Metrics
from image_transformer.observe.requests import Observer

MANY = "/tests.Service/Many"
BOTH = END_HEADERS | END_STREAM


class Service:
    """Answers as it is told.

    Attributes:
        begun: Messages whose answering has begun, in turns of the event loop.
        gone: Messages that were cancelled.
    """

    def __init__(self) -> None:
        self.may = asyncio.Event()
        self.may.set()
        self.begun: list[bytes] = []
        self.gone: list[bytes] = []
        self.answer: Any = None

    async def one(self, request: bytes, context: Any) -> bytes:
        self.begun.append(request)
        try:
            await self.may.wait()
        except asyncio.CancelledError:
            self.gone.append(request)
            raise
        if isinstance(self.answer, Exception):
            raise self.answer
        return request if self.answer is None else self.answer

    async def many(self, requests: Any, context: Any) -> None:
        while (request := await context.read()) is not grpc.aio.EOF:
            self.begun.append(request)
            await self.may.wait()
            await context.write(request if self.answer is None else self.answer)


@pytest.fixture
async def service() -> Service:
    return Service()


@pytest.fixture
async def server(service: Service) -> AsyncIterator[GrpcServer]:
    limits = ServerLimits(calls=10, message_bytes=300_000)
    server = GrpcServer(Observer(Metrics(), log_all=False), limits)
    server.add(
        {
            "/tests.Service/Echo": Method(service.one, bytes, bytes),
            MANY: Method(service.many, bytes, bytes, takes_many=True, gives_many=True),
        }
    )
    yield server
    assert (server._calls, server._lasting) == (0, 0), "all places are free again"


def data(stream: int, *contents: bytes, flags: int = END_STREAM) -> bytes:
    return frame(DATA, flags, stream, b"".join(message(one) for one in contents))


async def test_calls_that_come_together_begin_and_are_answered_together(
    server: GrpcServer, service: Service
) -> None:
    caller = Caller(server)
    await caller.hears()
    caller.says(*[caller.call(number) + data(number, b"%d" % number) for number in (1, 3, 5)])
    assert service.begun == []
    await asyncio.sleep(0)
    assert service.begun == [b"1", b"3", b"5"]
    for _ in range(5):
        await asyncio.sleep(0)
    assert len(caller.wire.writes) == 1, "all three answers are one write"
    heard = await caller.hears()
    assert [one.payload for one in only(heard, DATA)] == [message(b"1"), message(b"3"), message(b"5")]
    first = only(heard, HEADERS)
    assert caller.fields(first[0]) == {":status": "200", "content-type": "application/grpc"}
    assert caller.fields(first[1]) == {"grpc-status": "0"}
    caller.goes()


async def test_a_message_in_pieces(server: GrpcServer, service: Service) -> None:
    caller = Caller(server)
    whole = message(b"x" * 300)
    caller.says(caller.call(1))
    for at in range(0, len(whole), 7):
        caller.says(frame(DATA, 0, 1, whole[at : at + 7]))
    await caller.hears()
    assert service.begun == []
    caller.says(frame(DATA, END_STREAM, 1))
    assert (await caller.status(1))["grpc-status"] == "0"
    assert service.begun == [b"x" * 300]
    caller.goes()


async def test_what_a_long_message_reserves_is_free_again(server: GrpcServer, service: Service) -> None:
    caller = Caller(server)
    intake = caller.connection.http2._intake
    service.may.clear()
    for number in (1, 3):
        caller.says(caller.call(number))
        left = message(b"y" * 250_000)
        while left:
            stream = caller.connection.http2.streams[number]
            size = min(16_384, stream.receive_window)
            assert size > 0, "it may always go on"
            caller.says(frame(DATA, END_STREAM if size >= len(left) else 0, number, left[:size]))
            left = left[size:]
        await caller.hears()
        assert intake._free == 300_000
    assert [len(one) for one in service.begun] == [250_000] * 2
    service.answer = b"both"
    service.may.set()
    assert (await caller.status(1))["grpc-status"] == "0"
    caller.goes()


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


async def test_a_call_that_is_given_up_with_it_never_begins(server: GrpcServer, service: Service) -> None:
    caller = Caller(server)
    caller.says(*[caller.call(number) + data(number, b"x") + reset(number) for number in range(1, 200, 2)])
    await caller.hears()
    assert service.begun == []
    caller.says(caller.call(201), data(201, b"x"))
    caller.says(reset(201))  # before the loop has come to it
    await caller.hears()
    assert service.begun == []
    assert server._calls == 0
    caller.goes()


async def test_who_gives_up_or_goes_has_nothing_done_any_more(server: GrpcServer, service: Service) -> None:
    service.may.clear()
    caller = Caller(server)
    caller.says(caller.call(1), data(1, b"a"), caller.call(3), data(3, b"b"))
    await caller.hears()
    caller.says(reset(1))
    assert await caller.hears() == []
    assert service.gone == [b"a"]
    caller.goes()
    for _ in range(5):
        await asyncio.sleep(0)
    assert service.gone == [b"a", b"b"]


async def test_a_deadline_ends_a_call(server: GrpcServer, service: Service) -> None:
    service.may.clear()
    caller = Caller(server)
    caller.says(caller.call(1, ("grpc-timeout", "1m")), data(1, b"a"))
    caller.says(caller.call(3, ("grpc-timeout", "1m"), path=MANY))
    await asyncio.sleep(0.02)
    heard = await caller.hears()
    told = [caller.fields(one) for one in only(heard, HEADERS)]
    assert [(one["grpc-status"], one["grpc-message"]) for one in told] == [("4", "Deadline Exceeded")] * 2
    assert service.gone == [b"a"]
    service.may.set()
    caller.says(caller.call(5, ("grpc-timeout", "1H")), data(5, b"b"))
    assert (await caller.status(5))["grpc-status"] == "0"
    caller.goes()


async def test_an_answer_that_nobody_takes_is_given_up_at_its_deadline(server: GrpcServer) -> None:
    caller = Caller(server, PREFACE + settings(window=0))
    caller.says(caller.call(1, ("grpc-timeout", "1m")), data(1, b"a"))
    await asyncio.sleep(0.02)
    assert [one.number for one in only(await caller.hears(), RST_STREAM)] == [8]
    assert caller.connection.http2.outflow.unsent == 0
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


async def test_a_stream_waits_for_its_client_s_window(server: GrpcServer, service: Service) -> None:
    caller = Caller(server, PREFACE + settings(window=19))
    service.answer = b"z" * 15
    caller.says(caller.call(1, path=MANY), data(1, b"a", b"b", b"c", flags=0))
    heard = await caller.hears()
    assert sum(len(one.payload) for one in only(heard, DATA)) == 19
    assert service.begun == [b"a"], "the next is read when the first answer is taken"
    caller.says(window(1, 20))
    assert sum(len(one.payload) for one in only(await caller.hears(), DATA)) == 20
    assert service.begun == [b"a", b"b"], "of the second one byte waits"
    caller.says(window(1, 1000), frame(DATA, END_STREAM, 1))
    assert (await caller.status(1))["grpc-status"] == "0"
    caller.goes()


async def test_what_a_stream_does_not_read_its_client_keeps(server: GrpcServer, service: Service) -> None:
    service.may.clear()
    caller = Caller(server)
    caller.says(caller.call(1, path=MANY))
    for _ in range(3):
        caller.says(data(1, *[b"m" * 95] * 163, flags=0))
    await caller.hears()
    stream = caller.connection.http2.streams[1]
    assert stream.receive_window == 65_535 - 3 * 16_300
    assert only(await caller.hears(), WINDOW_UPDATE) == []
    service.may.set()
    given = [one.number for one in only(await caller.hears(), WINDOW_UPDATE)]
    for _ in range(40):
        given += [one.number for one in only(await caller.hears(), WINDOW_UPDATE)]
    assert stream.receive_window > 32_768
    assert len(given) == 1
    caller.says(reset(1))
    await caller.hears()
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


async def test_a_fault_is_told_before_the_connection_ends(server: GrpcServer) -> None:
    caller = Caller(server)
    caller.says(frame(PING, 0, 1, bytes(8)))
    heard = await caller.hears()
    assert ended(heard)[1] == b"a PING of a stream"
    assert caller.wire.at_its_end
    assert not caller.wire.closed, "what still comes is read, or the reset would take the last words along"
    caller.goes()


async def test_after_the_last_word_nothing_is_written(server: GrpcServer, service: Service) -> None:
    caller = Caller(server, PREFACE + settings(window=0))
    caller.says(caller.call(1, ("grpc-timeout", "30m")), data(1, b"a"))
    await caller.hears()
    caller.connection.end()
    assert caller.wire.at_its_end
    await caller.hears()
    await asyncio.sleep(0.05)
    assert await caller.hears() == []
    caller.goes()


async def test_of_a_silent_client_a_sign_is_asked_and_waited_for(server: GrpcServer) -> None:
    caller = Caller(server)
    await caller.hears()
    now = asyncio.get_running_loop().time()
    look = caller.connection.look
    look(now)
    look(now + 59)
    assert await caller.hears() == []
    look(now + 61)
    (ping,) = await caller.hears()
    assert (ping.kind, ping.flags) == (PING, 0)
    look(now + 120)
    assert not caller.wire.closed
    caller.says(frame(PING, ACK, 0, ping.payload))
    look(now + 122)
    look(now + 181)
    look(now + 183)
    assert len(await caller.hears()) == 1
    look(now + 244)
    assert caller.wire.closed
    caller.goes()


async def test_who_does_not_greet_is_let_go(server: GrpcServer) -> None:
    caller = Caller(server, PREFACE[:10])
    now = asyncio.get_running_loop().time()
    caller.connection.look(now + 19)
    assert not caller.wire.closed
    caller.connection.look(now + 21)
    assert caller.wire.closed
    caller.goes()


async def test_the_end_answers_what_is_under_way_and_tells_the_rest(
    server: GrpcServer, service: Service
) -> None:
    service.may.clear()
    caller = Caller(server)
    caller.says(caller.call(1), data(1, b"a"))
    await caller.hears()
    stopping = asyncio.create_task(server.stop(20))
    first, ping = await caller.hears()
    assert (first.kind, first.payload[:4]) == (GOAWAY, b"\x7f\xff\xff\xff")
    caller.says(caller.call(3), data(3, b"b"), frame(PING, ACK, 0, ping.payload))
    last = await caller.hears()
    assert [(one.kind, one.payload[:4]) for one in last] == [(GOAWAY, b"\0\0\0\3")]
    service.may.set()
    heard = await caller.hears()
    assert [one.payload for one in only(heard, DATA)] == [message(b"a"), message(b"b")]
    assert caller.wire.at_its_end
    caller.goes()
    await stopping
    assert Caller(server).wire.closed, "nobody joins any more"


async def test_what_lasts_longer_than_the_end_is_told(server: GrpcServer, service: Service) -> None:
    service.may.clear()
    caller = Caller(server)
    caller.says(caller.call(1), data(1, b"a"), caller.call(3, path=MANY))
    await caller.hears()
    stopping = asyncio.create_task(server.stop(0))
    heard = []
    while len(only(heard, HEADERS)) < 2:
        heard += await caller.hears()
    told = [caller.fields(one) for one in only(heard, HEADERS)]
    assert [(one["grpc-status"], one["code"]) for one in told] == [("14", "shutting_down")] * 2
    assert service.gone == [b"a"]
    caller.goes()
    await stopping


async def test_nothing_is_left_for_the_garbage_collector(server: GrpcServer, service: Service) -> None:
    """It looks rarely: what a call or a connection leaves behind is in no cycle."""

    def there() -> list[object]:
        kinds = (Call, Stream, ClientConnection, asyncio.Task)
        return [
            one for one in gc.get_objects() if isinstance(one, kinds) and one is not asyncio.current_task()
        ]

    gc.collect()
    gc.disable()
    try:
        caller = Caller(server)
        caller.says(caller.call(1), data(1, b"a"), caller.call(3, path=MANY), data(3, b"b", flags=0))
        assert len(there()) == 7
        await caller.hears()
        caller.says(
            caller.call(5), data(5, b"a", b"b"), caller.call(7, ("grpc-timeout", "1S")), data(7, b"x")
        )
        await caller.hears()
        service.answer = ServiceError("internal", "It broke.")
        caller.says(caller.call(9), data(9, b"a"))
        await caller.hears()
        caller.goes()
        del caller
        for _ in range(20):
            await asyncio.sleep(0)
        service.answer = None
        assert there() == []
    finally:
        gc.enable()


async def test_a_long_message_behind_one_that_waits_comes_to_its_end(
    server: GrpcServer, service: Service
) -> None:
    """While the first is not read, the window fills with the second: then its length has to be told."""
    service.may.clear()
    service.answer = b"read"
    caller = Caller(server)
    caller.says(caller.call(1, path=MANY))
    stream = caller.connection.http2.streams[1]
    left = message(b"a") + message(b"a") + message(b"b" * 200_000)
    while left and (size := min(16_384, stream.receive_window, len(left))):
        caller.says(frame(DATA, 0, 1, left[:size]))
        left = left[size:]
        await caller.hears()
    assert (stream.receive_window, len(service.begun)) == (0, 1)
    service.may.set()
    while left:
        await caller.hears()
        size = min(16_384, stream.receive_window, len(left))
        assert size > 0, "it may always go on"
        caller.says(frame(DATA, END_STREAM if size == len(left) else 0, 1, left[:size]))
        left = left[size:]
    assert (await caller.status(1))["grpc-status"] == "0"
    assert [len(one) for one in service.begun] == [1, 1, 200_000]
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
