"""Calls on a connection: begun together, answered together, and in step with their clients' windows."""

import asyncio

from grpc_service import MANY, Service, data
from http2_peer import (
    DATA,
    END_STREAM,
    HEADERS,
    PREFACE,
    WINDOW_UPDATE,
    Caller,
    frame,
    message,
    only,
    reset,
    settings,
    window,
)

from image_transformer.grpc.server import GrpcServer


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
