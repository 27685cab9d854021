"""What goes over the wire, write by write; limits on a request's head are tried in test_server.py."""

import asyncio
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from image_transformer.http_protocol import GuardedProtocol


class Wire:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.closed_after: int | None = None

    def write(self, data: bytes) -> None:
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


async def exchange(app: Any, request: bytes) -> Wire:
    config = uvicorn.Config(app, proxy_headers=False, log_config=None)
    config.load()
    state = ServerState()
    protocol = GuardedProtocol(config, state, {}, asyncio.get_running_loop())
    wire = Wire()
    protocol.connection_made(wire)  # type: ignore[arg-type]
    protocol.data_received(request)
    await asyncio.gather(*state.tasks)
    await asyncio.sleep(0)
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
