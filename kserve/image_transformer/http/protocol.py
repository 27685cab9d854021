"""uvicorn's HTTP protocol with what it leaves open: limits on heads and on load, and errors in our words."""

import asyncio
import re
import socket
from collections.abc import Callable
from typing import Any, Final, cast

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from image_transformer.errors import ServiceError
from image_transformer.http.request import request_id

_HEAD_BYTES: Final = 65_536
_HEAD_SECONDS: Final = 10.0
CONNECTIONS: Final = 4096
"""So many are open at most."""

_ACCEPTED_TOGETHER: Final = 256
_BLANK_LINE: Final = b"\r\n\r\n"
_GIVEN_ID: Final = re.compile(rb"\r\nx-request-id:[ \t]*([^\r]*)", re.IGNORECASE)
_OVERLOADED: Final = ServiceError("overloaded", "Too many requests are under way; try again in a second.")


class _Joining:
    """A transport that sends a response's head and body together.

    uvicorn writes them one after the other, and each write is a packet, a wake-up of the client and a few
    hundredths of what a request costs here. A head that no body follows at once, as in a stream, goes alone.
    What is written to a closed connection goes nowhere, as asyncio has it; uvloop raises, and uvicorn writes
    where a client hung up that had sent more than one request (it tells the last of them alone).
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held = b""

    def write(self, data: bytes) -> None:
        if self._held or self._transport.is_closing():
            self.write_whole(data)
        elif data:
            self._held = data
            self._loop.call_soon(self._flush)

    def write_whole(self, data: bytes) -> None:
        """Writes a response that nothing follows."""
        if not self._transport.is_closing():
            self._transport.write(self._held + data)
        self._held = b""

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._held:
            self.write_whole(b"")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class _Count:
    """Counts the requests in some bytes.

    Attributes:
        begun, ended: How many.
        stays: Whether the last one leaves the connection open.
    """

    def __init__(self, data: bytes) -> None:
        self.begun = self.ended = 0
        self.stays = False
        self._parser = httptools.HttpRequestParser(self)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.stays = False
        finally:
            del self._parser  # which has this

    def on_message_begin(self) -> None:
        self.begun += 1

    def on_message_complete(self) -> None:
        self.ended += 1
        self.stays = self._parser.should_keep_alive()


def _one_request(data: bytes) -> bool:
    """Tells whether this is one request, from its beginning to its end, that leaves the connection open."""
    count = _Count(data)
    return count.stays and count.begun == count.ended == 1


class GuardedProtocol(HttpToolsProtocol):
    """One client's connection.

    uvicorn's parser takes a head of any length, and waits for its end for ever: both are limited here. A
    timer for each connection would cost more than the limit is worth: `close_slow` looks at all of them.

    What there is no room for is answered here, from the head alone: turning a request away must cost little
    of what answering it would, or the ones that are answered suffer from those that are not. A request that
    came whole, as small ones do, is not even given to uvicorn, whose callbacks are most of the cost.

    Attributes:
        listener: Where more connections may wait to be accepted.
        connecting: Those that were just accepted.
        max_requests: So many may be under way; see `guarded`.
        saturated: Whether the queue takes no more.
        turned_away: Told of each request beyond.
        between: Called for each request, whatever becomes of it.
    """

    listener: socket.socket
    connecting: set[asyncio.Task[Any]]
    max_requests: int
    saturated: Callable[[], bool]
    turned_away: Callable[[], None]
    between: Callable[[], None]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._head_bytes = 0
        self._head_since: float | None = None
        self._idle_since: float | None = None
        self._between_requests = True
        self._discards_body = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes the connection, unless there are too many."""
        self._joining = _Joining(cast(asyncio.Transport, transport), self.loop)
        super().connection_made(cast(asyncio.Transport, self._joining))
        self._head_since = self.loop.time()
        self._accept_others()
        if len(self.connections) > CONNECTIONS:
            self._refuse(ServiceError("overloaded", "Too many connections are open; try again in a second."))

    def connection_lost(self, exc: Exception | None) -> None:
        """Lets go of the last request: with its body, it would wait in a cycle for the garbage collector."""
        super().connection_lost(exc)
        # Nothing is read any more, and a response that comes now goes nowhere.
        self.parser = self.cycle = cast(Any, None)

    def data_received(self, data: bytes) -> None:
        """Parses, and gives up on a head that does not end."""
        self._idle_since = None
        if self._between_requests and self._full() and data.startswith(b"POST ") and _one_request(data):
            self._turn_away_whole(data)
            return
        if self._head_since is not None and not self._discards_body:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._head_since is not None and self._head_bytes > _HEAD_BYTES:
            self._refuse(
                ServiceError("head_too_long", f"The request's head is over {_HEAD_BYTES} bytes; send less.")
            )

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._between_requests = False
        self._head_since = self.loop.time()

    def on_headers_complete(self) -> None:
        """Its head is there; questions about health and the like are answered under any load."""
        self._head_since = None
        self._head_bytes = 0
        self.between()
        if self._full() and self.parser.get_method() == b"POST":
            self._turn_away_from_head()
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Some of its body."""
        if not self._discards_body:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """All of it is there."""
        self._between_requests = True
        if not self._discards_body:
            super().on_message_complete()
            return
        self._discards_body = False
        self._head_since = None
        self._idle_since = self.loop.time()

    def send_400_response(self, msg: str) -> None:
        """Answers what is no HTTP."""
        self._refuse(
            ServiceError("invalid_http", "This is not an HTTP request that can be read; send HTTP/1.1.")
        )

    def is_late(self, now: float) -> bool:
        """Tells whether a head, a body that nobody wants or a next request has been awaited for too long.

        For the next request after one that was answered uvicorn has a timer of its own.
        """
        if self._head_since is not None:
            return now - self._head_since > _HEAD_SECONDS
        return self._idle_since is not None and now - self._idle_since > self.timeout_keep_alive

    def _accept_others(self) -> None:
        # libuv accepts one connection in a turn of the loop, and under load a turn takes long: the last of a
        # few thousand clients waited for a quarter of a minute. What fails here, libuv meets and sees to.
        try:
            for _ in range(_ACCEPTED_TOGETHER):
                accepted, _address = self.listener.accept()
                self.connecting.add(task := self.loop.create_task(self._connect(accepted)))
                task.add_done_callback(self.connecting.discard)
        except OSError:
            return

    async def _connect(self, accepted: socket.socket) -> None:
        another = type(self)(self.config, self.server_state, self.app_state, self.loop)
        await self.loop.connect_accepted_socket(lambda: another, accepted)

    def _full(self) -> bool:
        idle = self.cycle is None or self.cycle.response_complete
        return idle and (len(self.tasks) >= self.max_requests or self.saturated())

    def _turn_away_whole(self, data: bytes) -> None:
        self.between()
        self._unset_keepalive_if_required()
        given = _GIVEN_ID.search(data, 0, data.index(_BLANK_LINE))
        self._turn_away(given and given[1].rstrip(), stays=True)
        self._head_since = None
        self._idle_since = self.loop.time()

    def _turn_away_from_head(self) -> None:
        given = next((value for name, value in self.headers if name == b"x-request-id"), None)
        # Who waits for a "100 Continue" may send the body or not: that connection is of no more use.
        stays = self.parser.should_keep_alive() and not self.expect_100_continue
        self._discards_body = self._turn_away(given, stays=stays)
        self._head_since = self.loop.time() if self._discards_body else None

    def _turn_away(self, given: bytes | None, *, stays: bool) -> bool:
        """Answers, and tells whether the connection stays open: never while the service ends."""
        self.turned_away()
        stays = stays and (b"connection", b"close") not in self.server_state.default_headers
        self._answer(_OVERLOADED, request_id(given), close=not stays)
        return stays

    def _refuse(self, error: ServiceError) -> None:
        self._head_since = None
        if not self.transport.is_closing():
            self._answer(error, request_id(None), close=True)

    def _answer(self, error: ServiceError, identity: str, *, close: bool) -> None:
        body = error.body(identity)
        wait = error.failure.retry_after
        self._joining.write_whole(
            STATUS_LINE[error.failure.http]
            + b"content-type: application/json\r\ncontent-length: %d\r\n" % len(body)
            + b"x-request-id: %s\r\n" % identity.encode()
            + (b"" if wait is None else b"retry-after: %d\r\n" % wait)
            + (b"connection: close\r\n\r\n" if close else b"\r\n")
            + body
        )
        if close:
            self.transport.close()


def guarded(
    listener: socket.socket,
    max_requests: int,
    saturated: Callable[[], bool],
    turned_away: Callable[[], None],
    between: Callable[[], None],
) -> type[GuardedProtocol]:
    """Returns the protocol for a server, which makes its connections itself.

    Args:
        listener: The socket that the server listens on.
        max_requests: Requests that may be under way on all connections.
        saturated: Asked for each request whether the queue takes no more.
        turned_away: Called for each request beyond.
        between: Called for each request, whatever becomes of it: what else wants doing in a long turn.
    """
    return type(
        "Guarded",
        (GuardedProtocol,),
        {
            "listener": listener,
            "connecting": set(),
            "max_requests": max_requests,
            "saturated": staticmethod(saturated),
            "turned_away": staticmethod(turned_away),
            "between": staticmethod(between),
        },
    )


async def close_slow(connections: set[Any]) -> None:
    """Closes connections from which what is due does not come, until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(1)
        for connection in list(connections):
            if isinstance(connection, GuardedProtocol) and connection.is_late(loop.time()):
                connection.transport.close()
