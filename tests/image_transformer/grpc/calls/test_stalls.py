"""What is begun and does not go on is ended; what may be silent is left alone."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from http2_peer import (
    CANCEL,
    DATA,
    END_STREAM,
    HEADERS,
    PREFACE,
    RST_STREAM,
    Caller,
    Frame,
    frame,
    message,
    only,
    settings,
    window,
)

from image_transformer.grpc.calls.method import Method
from image_transformer.grpc.server import GrpcServer, ServerLimits
from image_transformer.observe.metrics import Metrics
from image_transformer.observe.requests import Observer

MANY = "/tests.Service/Many"
DAYS = 500_000.0


class Clock:
    """The event loop's time, which goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(asyncio.get_running_loop(), "time", clock)
    return clock


async def one(request: bytes, _context: Any) -> bytes:
    return request * 100


async def many(call: Any, _context: Any) -> None:
    while (request := await call.read()) is not grpc.aio.EOF:
        await call.write(request * 100)


async def silent(_request: bytes, context: Any) -> None:
    await context.write(b"all is well")
    await asyncio.Event().wait()


@pytest.fixture
async def server(clock: Clock) -> AsyncIterator[GrpcServer]:
    limits = ServerLimits(calls=10, message_bytes=300_000)
    server = GrpcServer(Observer(Metrics(), log_all=False), limits)
    server.add(
        {
            "/tests.Service/Echo": Method(one, bytes, bytes),
            MANY: Method(many, bytes, bytes, takes_many=True, gives_many=True),
            "/tests.Service/Watch": Method(silent, bytes, bytes, gives_many=True),
        }
    )
    yield server
    assert (server._calls, server._lasting) == (0, 0), "all places are free again"


async def after(caller: Caller, clock: Clock, seconds: float) -> list[Frame]:
    """What is said when the client was looked at after some time, in which it answered pings."""
    clock.now += seconds
    caller.connection._watch.heard = True
    caller.connection.look(clock.now)
    return await caller.hears()


BEGUN = {
    "a head alone": ("", b""),
    "a part of a prefix": ("", b"\0\0"),
    "a part of a message": ("", message(b"abc")[:-1]),
    "a whole message without the stream's end": ("", message(b"abc")),
    "a part of one of many": (MANY, message(b"abc")[:-1]),
    "a part of a second": (MANY, message(b"abc") + b"\0"),
    "one that reserves all there is": (MANY, b"\0" + (300_000).to_bytes(4)),
}


@pytest.mark.parametrize("name", BEGUN)
async def test_what_is_begun_and_does_not_go_on_is_ended(server: GrpcServer, clock: Clock, name: str) -> None:
    path, said = BEGUN[name]
    caller = Caller(server)
    caller.says(caller.call(1, path=path))
    await after(caller, clock, 50)
    if said:
        caller.says(frame(DATA, 0, 1, said))
    await caller.hears()
    assert await after(caller, clock, 59 if said else 9) == []
    heard = await after(caller, clock, 2)
    told: dict[str, str] = {}
    for block in only(heard, HEADERS):
        told |= caller.fields(block)
    assert (told["grpc-status"], told["code"]) == ("4", "slow_body")
    assert told["grpc-message"] == "Nothing came of the message for 60 s; send it without a break."
    assert caller.connection.http2._intake._free == 300_000
    assert server._calls == 0
    caller.goes()


async def test_streams_that_have_nothing_begun_may_be_silent_for_days(
    server: GrpcServer, clock: Clock
) -> None:
    caller = Caller(server)
    caller.says(caller.call(1, path=MANY), caller.call(3, path=MANY), frame(DATA, 0, 3, message(b"a")))
    caller.says(caller.call(5, path="/tests.Service/Watch"), frame(DATA, END_STREAM, 5, message(b"a")))
    assert len(only(await caller.hears(), DATA)) == 2
    assert await after(caller, clock, DAYS) == []
    caller.says(frame(DATA, 0, 3, message(b"b")))
    assert len(only(await caller.hears(), DATA)) == 1
    caller.says(frame(DATA, 0, 1, message(b"b")[:3]))
    assert await after(caller, clock, 59) == [], "what is begun after days has its own time"
    caller.says(frame(DATA, 0, 1, message(b"b")[3:]))
    assert len(only(await caller.hears(), DATA)) == 1
    assert await after(caller, clock, DAYS) == []
    caller.goes()
    await caller.hears()


@pytest.mark.parametrize("path", ["", MANY])
async def test_an_answer_that_nobody_takes_is_given_up(server: GrpcServer, clock: Clock, path: str) -> None:
    caller = Caller(server, PREFACE + settings(window=0))
    caller.says(caller.call(1, path=path))
    await after(caller, clock, 50)
    caller.says(frame(DATA, 0 if path else END_STREAM, 1, message(b"a")))
    await caller.hears()
    assert await after(caller, clock, 59) == []
    caller.says(window(1, 10))
    assert len(only(await caller.hears(), DATA)) == 1
    assert await after(caller, clock, 59) == [], "it was taken a part of"
    heard = await after(caller, clock, 2)
    assert [(one.kind, one.number) for one in heard] == [(RST_STREAM, CANCEL)]
    assert caller.connection.http2.outflow.unsent == 0
    assert server._calls == 0
    caller.goes()


async def test_answers_that_share_the_connection_s_window_wait_for_each_other(
    server: GrpcServer, clock: Clock
) -> None:
    caller = Caller(server, PREFACE + settings(window=1_000_000))
    for number in (1, 3):
        caller.says(caller.call(number), frame(DATA, END_STREAM, number, message(bytes(1000))))
    await caller.hears()
    for _ in range(5):
        assert only(await after(caller, clock, 50), RST_STREAM) == []
        caller.says(window(0, 10))
        await caller.hears()
    assert only(await after(caller, clock, 59), RST_STREAM) == []
    assert {one.stream for one in only(await after(caller, clock, 2), RST_STREAM)} == {1, 3}
    caller.goes()


async def test_requests_that_wait_at_a_client_for_their_turn_are_no_stall(
    server: GrpcServer, clock: Clock
) -> None:
    """Over a slow way one is sent after the other; who is passed by far more than could be sent is one."""
    caller = Caller(server, PREFACE + settings(window=2**30) + window(0, 2**30))
    caller.says(caller.call(1), frame(DATA, 0, 1, message(bytes(1000))[:10]))
    sent = 0
    for number in range(3, 47, 2):
        caller.says(caller.call(number))
        for _ in range(2):
            caller.says(frame(DATA, 0, number, message(bytes(19_995))[sent % 2 * 10_000 :][:10_000]))
            sent += 1
            heard = await after(caller, clock, 50)
        assert only(heard, HEADERS) == [], "bytes come all the time"
        caller.says(frame(DATA, END_STREAM, number))
        assert len(only(await caller.hears(), HEADERS)) == 2
        if sent * 10_000 > 300_000 + 65_535:  # what all others may send
            break
    heard = await after(caller, clock, 50)
    assert {one.stream for one in only(heard, HEADERS)} == {1}
    caller.goes()


async def test_who_waits_for_room_is_not_to_blame(server: GrpcServer, clock: Clock) -> None:
    caller = Caller(server)
    caller.says(caller.call(1), frame(DATA, 0, 1, b"\0" + (300_000).to_bytes(4)))
    long = b"\0" + (200_000).to_bytes(4) + bytes(65_530)
    pieces = [frame(DATA, 0, 3, long[at : at + 16_384]) for at in range(0, len(long), 16_384)]
    caller.says(caller.call(3), *pieces)
    await caller.hears()
    for _ in range(3):
        assert await after(caller, clock, 50) == []
        caller.says(frame(DATA, 0, 1, bytes(100)))
        await caller.hears()
    heard = await after(caller, clock, 61)
    assert {one.stream for one in only(heard, HEADERS)} == {1}
    stream = caller.connection.http2.streams[3]
    assert stream.receive_window == 200_005 - 65_535, "its turn has come"
    assert await after(caller, clock, 59) == []
    assert {one.stream for one in only(await after(caller, clock, 2), HEADERS)} == {3}
    caller.goes()
