"""What goes over the wire, write by write; limits on a request's head are tried in test_server.py."""

import asyncio
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from image_transformer.http_protocol import GuardedProtocol, guarded


class Wire:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.closed_after: int | None = None

    def write(self, data: bytes) -> None:
        if self.is_closing():  # as uvloop has it
            raise RuntimeError("the handler is closed")
        self.writes.append(data)

    def close(self) -> None:
        self.closed_after = len(self.writes)

    def is_closing(self) -> bool:
        return self.closed_after is not None

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"sockname": ("127.0.0.1", 80), "peername": ("127.0.0.1", 1)}.get(name, default)

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


HEAD = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]}


async def whole(scope: Any, receive: Any, send: Any) -> None:
    await send(HEAD)
    await send({"type": "http.response.body", "body": b"body"})


async def in_parts(scope: Any, receive: Any, send: Any) -> None:
    await send(HEAD)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await send({"type": "http.response.body", "body": b"bo", "more_body": True})
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await send({"type": "http.response.body", "body": b"dy"})


class Server:
    """What all connections have in common."""

    def __init__(self, app: Any, max_requests: int = 2) -> None:
        self.saturated = False
        self.config = uvicorn.Config(app, proxy_headers=False, log_config=None)
        self.config.load()
        self.state = ServerState()
        self.turned_away = 0
        self._protocol = guarded(max_requests, lambda: self.saturated, self._count, lambda: None)

    def _count(self) -> None:
        self.turned_away += 1

    def connect(self) -> tuple[GuardedProtocol, Wire]:
        protocol = self._protocol(self.config, self.state, {}, asyncio.get_running_loop())
        wire = Wire()
        protocol.connection_made(wire)  # type: ignore[arg-type]
        return protocol, wire

    async def settle(self) -> None:
        await asyncio.gather(*self.state.tasks)
        await asyncio.sleep(0)


async def exchange(app: Any, request: bytes) -> Wire:
    server = Server(app)
    protocol, wire = server.connect()
    protocol.data_received(request)
    await server.settle()
    return wire


async def test_head_and_body_are_one_write() -> None:
    wire = await exchange(whole, b"GET / HTTP/1.1\r\n\r\n")
    [written] = wire.writes
    assert written.startswith(b"HTTP/1.1 200 OK\r\n")
    assert written.endswith(b"\r\n\r\nbody")


async def test_a_stream_goes_out_as_it_comes() -> None:
    wire = await exchange(in_parts, b"GET / HTTP/1.1\r\n\r\n")
    assert wire.writes[0].endswith(b"\r\n\r\n")
    assert wire.writes[1:] == [b"bo", b"dy"]


@pytest.mark.parametrize("app", [whole, in_parts])
async def test_all_is_written_before_the_connection_closes(app: Any) -> None:
    wire = await exchange(app, b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n")
    assert b"".join(wire.writes).endswith(b"\r\n\r\nbody")
    assert wire.closed_after == len(wire.writes)


POST = b"POST /predict HTTP/1.1\r\nx-request-id: mine\r\ncontent-length: 4\r\n\r\n"
AWAY = (
    b"HTTP/1.1 429 Too Many Requests\r\ncontent-type: application/json\r\ncontent-length: 107\r\n"
    b"x-request-id: mine\r\nretry-after: 1\r\n\r\n"
    b'{"error":"Too many requests are under way; try again in a second.",'
    b'"code":"overloaded","request_id":"mine"}'
)


class Gate:
    """An application that answers once it is told to."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["method"] == "POST":
            await self.opened.wait()
        await whole(scope, receive, send)


async def test_beyond_the_limit_a_request_is_turned_away_from_its_head_alone() -> None:
    gate = Gate()
    server = Server(gate, max_requests=2)
    taken = [server.connect() for _ in range(2)]
    for protocol, _ in taken:
        protocol.data_received(POST + b"body")
    protocol, wire = server.connect()
    protocol.data_received(POST)
    assert wire.writes == []  # on its way with what the loop does next
    await asyncio.sleep(0)
    assert wire.writes == [AWAY]
    assert server.turned_away == 1

    # Its body is not wanted, and the connection is as good as new.
    protocol.data_received(b"body")
    protocol.data_received(b"GET /health HTTP/1.1\r\n\r\n")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert wire.writes[1].startswith(b"HTTP/1.1 200 OK\r\n"), "health is told under any load"
    gate.opened.set()
    await server.settle()
    for _, served in taken:
        assert served.writes[0].endswith(b"\r\n\r\nbody")
    protocol.data_received(POST + b"body")
    await server.settle()
    assert wire.writes[2].endswith(b"\r\n\r\nbody")
    assert wire.closed_after is None


async def test_while_the_queue_takes_no_more_a_request_is_turned_away_from_its_head_alone() -> None:
    server = Server(whole)
    server.saturated = True
    protocol, wire = server.connect()
    protocol.data_received(POST + b"body")
    protocol.data_received(b"GET /health HTTP/1.1\r\n\r\n")
    await server.settle()
    await asyncio.sleep(0)
    written = b"".join(wire.writes)
    assert written.startswith(AWAY)
    assert written[len(AWAY) :].startswith(b"HTTP/1.1 200 OK\r\n"), "health is told under any load"
    server.saturated = False
    protocol.data_received(POST + b"body")
    await server.settle()
    assert wire.writes[-1].startswith(b"HTTP/1.1 200 OK\r\n")
    assert server.turned_away == 1


@pytest.mark.parametrize("more", [b"connection: close\r\n", b"expect: 100-continue\r\n"])
async def test_who_is_turned_away_and_would_leave_is_let_go(more: bytes) -> None:
    server = Server(Gate(), max_requests=0)
    protocol, wire = server.connect()
    protocol.data_received(POST[:-2] + more + b"\r\n")
    assert b"\r\nconnection: close\r\n\r\n{" in b"".join(wire.writes)
    assert wire.closed_after == 1


async def test_a_body_that_nobody_wants_may_not_take_for_ever() -> None:
    server = Server(Gate(), max_requests=0)
    protocol, _ = server.connect()
    protocol.data_received(POST + b"b")
    now = asyncio.get_running_loop().time()
    assert protocol.head_is_late(now + 60)
    protocol.data_received(b"ody")
    assert not protocol.head_is_late(now + 60)
    assert protocol.timeout_keep_alive_task is not None
    protocol.timeout_keep_alive_task.cancel()


@pytest.mark.parametrize("before", [0, 1], ids=["before the head", "between head and body"])
async def test_to_a_client_that_hung_up_nothing_is_written(before: int) -> None:
    """Of two requests on one connection, uvicorn tells only the second that the client is gone."""
    gone, caught = asyncio.Event(), []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            for message in (HEAD, {"type": "http.response.body", "body": b"body"}):
                if message is not HEAD or not before:
                    await gone.wait()
                await send(message)
        except Exception as error:
            caught.append(error)

    server = Server(app)
    protocol, wire = server.connect()
    protocol.data_received(b"GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n")
    for _ in range(before):
        await asyncio.sleep(0)
    wire.close()
    protocol.connection_lost(None)
    gone.set()
    await server.settle()
    assert not caught
    assert wire.writes == []
