"""uvicorn's HTTP protocol with what it leaves open: limits on a request's head, and errors in our words."""

import asyncio
from typing import Any, Final, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from image_transformer.errors import ServiceError
from image_transformer.request import request_id

_HEAD_BYTES: Final = 65_536
_HEAD_SECONDS: Final = 10.0
_CONNECTIONS: Final = 4096


class _Joining:
    """A transport that sends a response's head and body together.

    uvicorn writes them one after the other, and each write is a packet, a wake-up of the client and a few
    hundredths of what a request costs here. A head that no body follows at once, as in a stream, goes alone.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held = b""

    def write(self, data: bytes) -> None:
        if self._held:
            self._transport.write(self._held + data)
            self._held = b""
        elif data:
            self._held = data
            self._loop.call_soon(self._flush)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._held:
            self._transport.write(self._held)
            self._held = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class GuardedProtocol(HttpToolsProtocol):
    """One client's connection.

    uvicorn's parser takes a head of any length, and waits for its end for ever: both are limited here. A
    timer for each connection would cost more than the limit is worth: `close_slow` looks at all of them.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._head_bytes = 0
        self._head_since: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes the connection, unless there are too many."""
        joining = _Joining(cast(asyncio.Transport, transport), self.loop)
        super().connection_made(cast(asyncio.Transport, joining))
        self._head_since = self.loop.time()
        if len(self.connections) > _CONNECTIONS:
            self._refuse(ServiceError("overloaded", "Too many connections are open; try again in a second."))

    def data_received(self, data: bytes) -> None:
        """Parses, and gives up on a head that does not end."""
        if self._head_since is not None:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._head_since is not None and self._head_bytes > _HEAD_BYTES:
            self._refuse(
                ServiceError("head_too_long", f"The request's head is over {_HEAD_BYTES} bytes; send less.")
            )

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._head_since = self.loop.time()

    def on_headers_complete(self) -> None:
        """Its head is there."""
        self._head_since = None
        self._head_bytes = 0
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Answers what is no HTTP."""
        self._refuse(
            ServiceError("invalid_http", "This is not an HTTP request that can be read; send HTTP/1.1.")
        )

    def head_is_late(self, now: float) -> bool:
        """Tells whether a request's head has been coming in for too long."""
        return self._head_since is not None and now - self._head_since > _HEAD_SECONDS

    def _refuse(self, error: ServiceError) -> None:
        self._head_since = None
        if self.transport.is_closing():
            return
        body = error.body(request_id(None))
        self.transport.write(
            STATUS_LINE[error.failure.http]
            + b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
            + body
        )
        self.transport.close()


async def close_slow(connections: set[Any]) -> None:
    """Closes connections whose request's head does not come to its end, until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(1)
        for connection in list(connections):
            if isinstance(connection, GuardedProtocol) and connection.head_is_late(loop.time()):
                connection.transport.close()
