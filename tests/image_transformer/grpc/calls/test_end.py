"""How calls and connections end, whoever ends them, and that nothing is left of them."""

import asyncio
import gc

import pytest
from grpc_service import MANY, Service, data
from http2_peer import (
    ACK,
    DATA,
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    RST_STREAM,
    Caller,
    ended,
    frame,
    message,
    only,
    reset,
    settings,
)

from image_transformer.errors import ServiceError
from image_transformer.grpc.calls.call import Call
from image_transformer.grpc.calls.connection import ClientConnection
from image_transformer.grpc.http2.stream import Stream
from image_transformer.grpc.server import GrpcServer


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


async def test_what_follows_the_last_word_costs_nothing(
    server: GrpcServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller = Caller(server)
    ends = []
    monkeypatch.setattr(caller.wire, "write_eof", lambda: ends.append(1))
    caller.says(frame(PING, 0, 1, bytes(8)))
    await caller.hears()
    timers = len(caller.connection._timers)
    for _ in range(5):
        caller.says(bytes(1000))
        await caller.hears()
    assert (ends, len(caller.connection._timers)) == ([1], timers)
    caller.goes()


async def test_the_last_answer_goes_out_as_long_as_the_grace_lasts(
    server: GrpcServer, service: Service
) -> None:
    server.connection_grace_seconds = 500
    for age, ended_early in ((499, False), (501, True)):
        caller = Caller(server)
        service.may.clear()
        caller.says(caller.call(1), data(1, b"a"))
        await caller.hears()
        caller.connection.leave()
        caller.connection._leave_now()
        caller.wire.buffered = 400_000
        service.may.set()
        assert [one.payload for one in only(await caller.hears(), DATA)] == [message(b"a")]
        now = asyncio.get_running_loop().time()
        for second in range(5, age, 30):
            caller.wire.buffered -= 1000
            caller.connection.look(now + second)
        assert not caller.wire.closed
        caller.wire.buffered -= 1000
        caller.connection.look(now + age)
        assert caller.wire.closed == ended_early
        if not ended_early:
            caller.wire.buffered = 0
            caller.connection.look(now + age + 0.1)
            caller.connection.look(now + age + 0.2)
            assert not caller.wire.closed, "it is read for a moment more"
        caller.goes()


async def test_who_takes_nothing_of_the_last_answer_is_let_go(server: GrpcServer) -> None:
    caller = Caller(server)
    now = asyncio.get_running_loop().time()
    caller.connection.leave()
    caller.wire.buffered = 400_000
    caller.connection._leave_now()
    await caller.hears()
    caller.connection.look(now + 5)
    caller.connection.look(now + 64)
    assert not caller.wire.closed
    caller.connection.look(now + 66)
    assert caller.wire.closed
    caller.goes()
    for unwritten in (0, 400_000):
        caller = Caller(server)
        caller.wire.buffered = unwritten
        caller.connection.end()
        now = asyncio.get_running_loop().time()
        caller.connection.look(now + 1)
        assert not caller.wire.closed
        caller.connection.look(now + 3)
        assert caller.wire.closed, "the server's end waits for nobody"
        caller.goes()


async def test_who_is_gone_ahead_of_the_last_word_does_not_stop_the_end(
    server: GrpcServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone() -> None:
        raise OSError(107, "Transport endpoint is not connected")

    caller = Caller(server)
    monkeypatch.setattr(caller.wire, "write_eof", gone)
    caller.connection.end()
    assert caller.wire.closed
    caller.goes()


async def test_what_the_kernel_has_not_delivered_is_waited_for(server: GrpcServer) -> None:
    """Only then the client has read the end of its answer; a socket that is closed before that resets it."""
    server.connection_grace_seconds = 500
    caller = Caller(server)
    now = asyncio.get_running_loop().time()
    caller.connection.leave()
    caller.wire.ends[0].send(b"the end of an answer")
    caller.connection._leave_now()
    await caller.hears()
    for second in (5, 10, 50):
        caller.connection.look(now + second)
    assert not caller.wire.closed
    caller.wire.ends[1].recv(100)
    caller.connection.look(now + 51)
    caller.connection.look(now + 52)
    assert not caller.wire.closed, "it is read for a moment more"
    caller.connection.look(now + 54)
    assert caller.wire.closed
    caller.connection.look(now + 55)
    caller.goes()


async def test_one_connection_that_cannot_be_looked_at_costs_no_other(
    server: GrpcServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(now: float) -> None:
        raise ZeroDivisionError

    first, second = Caller(server), Caller(server)
    looked = []
    monkeypatch.setattr(first.connection, "look", broken)
    monkeypatch.setattr(second.connection, "look", looked.append)
    server.look(5.0)
    assert (first.wire.closed, second.wire.closed, looked) == (True, False, [5.0])
    first.goes()
    second.goes()
