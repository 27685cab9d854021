"""Other implementations as clients of the server: hyper's h2, and gRPC's own core."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import h2.config
import h2.connection
import h2.events
import pytest
from grpc import aio
from http2_peer import HEAD, Caller, message
from over_grpc import serve

from image_transformer.grpc.calls.method import Method
from image_transformer.grpc.server import GrpcServer, ServerLimits
from image_transformer.observe.metrics import Metrics
from image_transformer.observe.requests import Observer

ECHO, REPEAT = "/tests.Service/Echo", "/tests.Service/Repeat"
UNLIMITED = (("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1))


async def echo(request: bytes, context: Any) -> bytes:
    return request


async def repeat(requests: Any, context: Any) -> None:
    while (request := await context.read()) is not grpc.aio.EOF:
        for _ in range(20):
            await context.write(request)


@pytest.fixture
async def server() -> AsyncIterator[GrpcServer]:
    made = GrpcServer(
        Observer(Metrics(), log_all=False), ServerLimits(calls=200, message_bytes=8_000_000, ping_seconds=60)
    )
    many = Method(repeat, bytes, bytes, takes_many=True, gives_many=True)
    made.add({ECHO: Method(echo, bytes, bytes), REPEAT: many})
    yield made
    assert made._calls == 0


class Hyper:
    """h2's client."""

    def __init__(self, server: GrpcServer) -> None:
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self._h2.initiate_connection()
        self._caller = Caller(server, self._h2.data_to_send())
        self.trailers: dict[int, dict[str, str]] = {}
        self.data: dict[int, bytes] = {}

    async def exchange(self, calls: dict[int, bytes]) -> None:
        """Sends messages, each on its stream, as the windows allow, until all have their trailers."""
        for stream in calls:
            self._h2.send_headers(stream, HEAD)
        left = {stream: message(content) for stream, content in calls.items()}
        async with asyncio.timeout(60):
            while len(self.trailers) < len(calls):
                self._send(left)
                self._caller.says(self._h2.data_to_send())
                await asyncio.sleep(0)
                for written in self._caller.wire.writes:
                    self._hear(written)
                self._caller.wire.writes.clear()

    def goes(self) -> None:
        self._caller.goes()

    def _send(self, left: dict[int, bytes]) -> None:
        for stream in list(left):
            size = min(self._h2.local_flow_control_window(stream), 16_384, len(left[stream]))
            if size:
                end = size == len(left[stream])
                self._h2.send_data(stream, left[stream][:size], end_stream=end)
                left[stream] = left[stream][size:]
                if end:
                    del left[stream]

    def _hear(self, data: bytes) -> None:
        for event in self._h2.receive_data(data):
            assert not isinstance(event, h2.events.ConnectionTerminated | h2.events.StreamReset), event
            if isinstance(event, h2.events.DataReceived):
                self.data[event.stream_id] = self.data.get(event.stream_id, b"") + event.data
                self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.TrailersReceived):
                self.trailers[event.stream_id] = dict(event.headers)


async def test_h2_sends_and_gets_what_is_longer_than_any_window(server: GrpcServer) -> None:
    client = Hyper(server)
    calls = {
        1: b"a",
        3: b"b" * 3_000_000,
        5: b"c" * 65_530,
        7: b"d" * 4_000_000,
        9: b"e" * 2_500_000,
        11: b"",
    }
    await client.exchange(calls)
    assert client.trailers == {stream: {"grpc-status": "0"} for stream in calls}
    assert client.data == {stream: message(content) for stream, content in calls.items()}
    client.goes()


async def test_grpc_s_core_sends_and_gets_many_at_once(server: GrpcServer) -> None:
    port = await serve(server)
    sent = [
        bytes([number]) * size
        for number, size in enumerate((0, 1, 16_379, 16_380, 65_530, 65_531, 2_000_000))
    ]
    async with aio.insecure_channel(f"127.0.0.1:{port}", UNLIMITED) as channel, asyncio.timeout(60):
        call = channel.unary_unary(ECHO)
        assert await asyncio.gather(*[call(one) for one in sent * 8]) == sent * 8
    await server.stop(0)


async def test_pings_while_answers_stream_are_served(server: GrpcServer) -> None:
    """gRPC's core measures the bandwidth by pings, about one for each read, beside those that keep alive."""
    options = (
        *UNLIMITED,
        ("grpc.keepalive_time_ms", 10),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.http2.bdp_probe", 1),
    )
    port = await serve(server)
    async with aio.insecure_channel(f"127.0.0.1:{port}", options) as channel, asyncio.timeout(60):
        stream = channel.stream_stream(REPEAT)()
        for size in (10, 100_000, 10, 300_000) * 3:
            await stream.write(bytes(size))
            for _ in range(20):
                assert len(await stream.read()) == size
        await stream.done_writing()
        assert await stream.code() is grpc.StatusCode.OK
    await server.stop(0)
