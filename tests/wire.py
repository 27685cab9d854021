"""The transformer's HTTP server with an application of the test's, with sockets and without."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import uvicorn
from uvicorn.server import ServerState

from image_transformer.http.http1.protocol import GuardedProtocol, guarded

App = TypeVar("App")


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

    def write_eof(self) -> None:
        self.close()

    def is_closing(self) -> bool:
        return self.closed_after is not None

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"sockname": ("127.0.0.1", 80), "peername": ("127.0.0.1", 1)}.get(name, default)

    def abort(self) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


HEAD = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]}


async def whole(scope: Any, receive: Any, send: Any) -> None:
    await send(HEAD)
    await send({"type": "http.response.body", "body": b"body"})


class Server:
    """What all connections have in common."""

    def __init__(self, app: Any, max_requests: int = 2, listener: socket.socket | None = None) -> None:
        self.saturated = False
        self.config = uvicorn.Config(app, proxy_headers=False, log_config=None)
        self.config.load()
        self.state = ServerState()
        self.turned_away = 0
        self._class = guarded(
            listener or socket.socket(), max_requests, lambda: self.saturated, self._count, lambda: None
        )

    def _count(self) -> None:
        self.turned_away += 1

    def protocol(self) -> GuardedProtocol:
        made = self._class(self.config, self.state, {}, asyncio.get_running_loop())
        made.access_log = False  # as `observe.logs.configure` has it
        return made

    def connect(self) -> tuple[GuardedProtocol, Wire]:
        protocol = self.protocol()
        wire = Wire()
        protocol.connection_made(wire)  # type: ignore[arg-type]
        return protocol, wire

    async def settle(self) -> None:
        await asyncio.gather(*self.state.tasks)
        await asyncio.sleep(0)


class Echo:
    """An application that answers each request by its path when its body is there, and remembers it."""

    def __init__(self) -> None:
        self.understood: list[tuple[str, str, bytes]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message["body"]
            if not message["more_body"]:
                break
        self.understood.append((scope["method"], scope["path"], body))
        said = scope["path"].encode()
        length = (b"content-length", b"%d" % len(said))
        await send({"type": "http.response.start", "status": 200, "headers": [length]})
        await send({"type": "http.response.body", "body": said})


@asynccontextmanager
async def listening(app: App) -> AsyncIterator[tuple[App, int]]:
    """Serves an application on a port of this machine."""
    server = Server(app, max_requests=100)
    served = await asyncio.get_running_loop().create_server(server.protocol, "127.0.0.1", 0)
    yield app, served.sockets[0].getsockname()[1]
    served.close()
