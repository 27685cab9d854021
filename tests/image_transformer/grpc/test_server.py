"""The gRPC server: all calls are taken up, none beyond the limit, none is lost at the end."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from grpc import aio
from over_grpc import serve

from image_transformer.grpc.calls.method import Method
from image_transformer.grpc.server import GrpcServer, ServerLimits
from image_transformer.observe.metrics import Metrics
from image_transformer.observe.requests import Observer

MOST = 50
PATH = "/tests.Service/Echo"


class Echo:
    """Gives back what it is sent, once it may."""

    def __init__(self) -> None:
        self.may = asyncio.Event()
        self.under_way = 0
        self.all_there = asyncio.Event()

    async def answer(self, request: bytes, context: Any) -> bytes:
        self.under_way += 1
        if self.under_way == MOST:
            self.all_there.set()
        await self.may.wait()
        return request


@pytest.fixture
async def echo() -> Echo:
    return Echo()


@pytest.fixture
async def server(echo: Echo) -> AsyncIterator[tuple[GrpcServer, aio.Channel]]:
    server = GrpcServer(Observer(Metrics(), log_all=False), ServerLimits(calls=MOST))
    server.add({PATH: Method(echo.answer, bytes, bytes)})
    port = await serve(server)
    async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield server, channel
    await server.stop(0)


async def test_calls_are_answered_each_its_own_and_those_beyond_the_limit_refused(
    server: tuple[GrpcServer, aio.Channel], echo: Echo
) -> None:
    call = server[1].unary_unary(PATH)
    taken = [asyncio.ensure_future(call(b"%d" % number)) for number in range(MOST)]
    async with asyncio.timeout(20):
        await echo.all_there.wait()
        for _ in range(3):
            with pytest.raises(aio.AioRpcError) as refused:
                await call(b"one more")
            assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        echo.may.set()
        assert await asyncio.gather(*taken) == [b"%d" % number for number in range(MOST)]
        assert await call(b"there is room again") == b"there is room again"


async def test_an_unknown_method_is_said_to_be_one(server: tuple[GrpcServer, aio.Channel]) -> None:
    with pytest.raises(aio.AioRpcError) as refused:
        await server[1].unary_unary("/tests.Service/Other")(b"")
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_call_under_way_is_answered_before_the_server_ends(
    server: tuple[GrpcServer, aio.Channel], echo: Echo
) -> None:
    answers = [asyncio.ensure_future(server[1].unary_unary(PATH)(b"late")) for _ in range(MOST)]
    async with asyncio.timeout(20):
        await echo.all_there.wait()
        ending = asyncio.create_task(server[0].stop(20))
        await asyncio.sleep(0)
        echo.may.set()
        assert await asyncio.gather(*answers) == [b"late"] * MOST
        await ending


async def test_streams_leave_half_of_the_places_to_single_calls(echo: Echo) -> None:
    server = GrpcServer(Observer(Metrics(), log_all=False), ServerLimits(calls=MOST))
    silent = asyncio.Event()

    async def stream(requests: Any, context: Any) -> None:
        await context.write(b"there")
        await silent.wait()

    many = Method(stream, bytes, bytes, takes_many=True, gives_many=True)
    server.add({PATH: Method(echo.answer, bytes, bytes), "/tests.Service/Stream": many})
    port = await serve(server)
    echo.may.set()
    async with aio.insecure_channel(f"127.0.0.1:{port}") as channel, asyncio.timeout(20):
        streams = [channel.stream_stream("/tests.Service/Stream")() for _ in range(MOST // 2)]
        assert [await one.read() for one in streams] == [b"there"] * (MOST // 2)
        with pytest.raises(aio.AioRpcError) as refused:
            await channel.stream_stream("/tests.Service/Stream")().read()
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert await channel.unary_unary(PATH)(b"alone") == b"alone"
        streams[0].cancel()
        while True:  # the server hears of it a moment later
            try:
                assert await channel.stream_stream("/tests.Service/Stream")().read() == b"there"
                break
            except aio.AioRpcError as error:
                assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED  # noqa: PT017
    silent.set()
    await server.stop(0)
