"""What calls take is accounted for: windows, places, and the patience that a client has."""

import asyncio

import pytest
from grpc_service import MANY, READS, Service, data
from http2_peer import (
    DATA,
    END_STREAM,
    HEADERS,
    PREFACE,
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

from image_transformer.grpc.server import GrpcServer


async def test_an_answer_that_another_one_s_turn_writes_is_told_of(
    server: GrpcServer, service: Service
) -> None:
    """What is sent in a turn has a bound; what is left is written when somebody else sends."""
    service.may.clear()
    service.answer = bytes(280_000)
    caller = Caller(server, PREFACE + settings(window=2**30) + window(0, 2**30))
    caller.says(caller.call(1), data(1, b"a"))
    caller.says(caller.call(3, path=MANY), data(3, b"b", flags=END_STREAM))
    caller.says(caller.call(5), data(5, b"c"))
    await caller.hears()
    service.may.set()
    heard = await caller.hears()
    ends = {one.stream for one in only(heard, HEADERS) if one.flags & END_STREAM}
    assert ends == {1, 3, 5}
    assert server._calls == 0
    caller.goes()


async def test_an_end_that_was_not_told_yet_frees_its_place_when_the_client_goes(
    server: GrpcServer, service: Service
) -> None:
    """One answer's turn writes the end of another; the connection breaks before that is told."""
    service.may.clear()
    service.answer = bytes(280_000)
    caller = Caller(server, PREFACE + settings(window=2**30) + window(0, 2**30))
    caller.says(caller.call(1), data(1, b"a"), caller.call(3), data(3, b"b"))
    await caller.hears()
    service.may.set()
    http2 = caller.connection.http2
    for _ in range(20):
        if http2.untold:
            break
        await asyncio.sleep(0)
    assert http2.untold
    assert server._calls > 0
    caller.wire.closed = True
    caller.goes()
    await caller.hears()
    assert server._calls == 0


async def test_what_was_read_is_not_kept(server: GrpcServer) -> None:
    caller = Caller(server)
    caller.says(caller.call(1), data(1, b"a"))
    await caller.hears()
    assert caller.connection.http2._events == []
    caller.goes()


async def test_for_what_came_in_the_same_read_no_window_is_given(server: GrpcServer) -> None:
    caller = Caller(server)
    caller.says(caller.call(1), frame(DATA, 0, 1, b"\0" + (300_000).to_bytes(4)))
    long = b"\0" + (200_000).to_bytes(4) + bytes(65_530)
    pieces = [frame(DATA, 0, 3, long[at : at + 16_384]) for at in range(0, len(long), 16_384)]
    await caller.hears()
    caller.says(caller.call(3), *pieces)
    assert only(await caller.hears(), WINDOW_UPDATE) == []
    stream = caller.connection.http2.streams[3]
    assert (stream.held, stream.receive_window) == (65_535, 0), "the first has reserved all there is"
    caller.says(caller.call(5), *[piece.replace(b"\0\0\0\3", b"\0\0\0\5", 1) for piece in pieces], reset(3))
    stream = caller.connection.http2.streams[5]
    assert (stream.held, stream.receive_window) == (65_535, 0)
    caller.says(reset(1))
    assert stream.receive_window == 200_005 - 65_535
    caller.goes()


async def test_data_is_accounted_for_once_a_read(server: GrpcServer, monkeypatch: pytest.MonkeyPatch) -> None:
    caller = Caller(server)
    kept = []
    monkeypatch.setattr(caller.connection.http2, "keeps", lambda stream, *said: kept.append(said))
    caller.says(
        caller.call(1),
        *[frame(DATA, 0, 1, bytes([byte])) for byte in message(bytes(100))[:50]],
    )
    assert kept == [(50, 105, 55)]
    caller.goes()


async def test_small_messages_are_no_flood_while_they_are_taken(server: GrpcServer, service: Service) -> None:
    caller = Caller(server)
    caller.says(caller.call(1, path=READS))
    control = caller.connection.http2._patience._control
    control._left, control._a_second = 3, 0
    for _ in range(10):
        caller.says(frame(DATA, 0, 1, message(b"")))
        caller.says(frame(DATA, 0, 1, message(b"x")[:3]), frame(DATA, 0, 1, message(b"x")[3:]))
        await caller.hears()
    assert service.begun == [b"", b"x"] * 10
    assert not caller.connection.http2.over
    caller.says(*[frame(DATA, 0, 1, bytes([byte])) for byte in message(b"y" * 50)])
    assert caller.connection.http2.over
    caller.goes()
    await asyncio.sleep(0)


@pytest.mark.parametrize("way", ["deadlines", "bad messages"])
async def test_work_that_is_begun_for_nothing_counts_as_given_up(
    server: GrpcServer, service: Service, way: str
) -> None:
    service.may.clear()
    caller = Caller(server)
    caller.connection.http2._patience._resets._a_second = 0
    for number in range(1, 2002, 2):
        if way == "deadlines":
            caller.says(caller.call(number, ("grpc-timeout", "1n")), data(number, b"a"))
        else:
            caller.says(caller.call(number, path=MANY))
            await asyncio.sleep(0)
            caller.says(frame(DATA, 0, number, b"\7\0\0\0\0"))
        for _ in range(20):
            if not server._calls:
                break
            await asyncio.sleep(0)
        assert caller.connection.http2.over == (number == 2001)
    assert ended(await caller.hears())[1] == b"too_many_resets"
    caller.goes()


async def test_an_answer_that_cannot_be_written_is_a_mistake_of_ours(
    server: GrpcServer, service: Service
) -> None:
    caller = Caller(server)
    service.answer = "no bytes"
    for number, path in ((1, ""), (3, MANY)):
        caller.says(caller.call(number, path=path), data(number, b"a"))
        told = await caller.status(number)
        assert (told["grpc-status"], told["code"]) == ("13", "internal")
    caller.goes()
