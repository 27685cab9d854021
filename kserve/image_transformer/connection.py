"""One kept-alive HTTP/1.1 connection to Triton.

No client library, because the machine's time is better spent on images: this one sends ready-made requests,
one at a time, and parses the answers with llhttp (httptools).
"""

import asyncio
from collections.abc import Callable
from typing import NamedTuple, cast

import httptools


class Answer(NamedTuple):
    """What Triton said.

    Attributes:
        status: HTTP status.
        json_length: Length of the JSON in front of binary tensors, or None.
        body: JSON, and tensors where there are any.
    """

    status: int
    json_length: int | None
    body: bytes


Done = Callable[[Answer | OSError], None]
"""Takes the answer; ConnectionError means none will come, TimeoutError that it did not come in time."""


class Connection(asyncio.Protocol):
    """A connection; `ask` when `idle`."""

    def __init__(
        self, on_idle: Callable[["Connection"], None], on_lost: Callable[["Connection"], None]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_idle = on_idle
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._done: Done | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._body: list[bytes] = []
        self._json_length: int | None = None
        self.opened = self._loop.time()

    def ask(self, request: bytes, seconds: float, done: Done) -> None:
        """Sends a whole request; `done` is called once, from the event loop."""
        self._done = done
        self._timer = self._loop.call_later(
            seconds, self._fail, TimeoutError(f"no answer within {seconds:g} s")
        )
        if self._transport is None or self._transport.is_closing():
            self._loop.call_soon(self._fail, ConnectionError("the connection was closed"))
        else:
            self._transport.write(request)

    def close(self) -> None:
        """Closes the connection; a request under way gets a ConnectionError."""
        self._fail(ConnectionError("the connection was closed"))

    def _fail(self, error: OSError) -> None:
        # After a failure the rest of an answer may still come in: such a connection is of no use any more.
        if self._transport is not None:
            self._transport.abort()
        if (done := self._take()) is not None:
            done(error)

    def _take(self) -> Done | None:
        done, self._done = self._done, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return done

    # asyncio's side
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps the transport."""
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tells the pool, and whoever waits."""
        self._on_lost(self)
        self._fail(ConnectionError(str(exc) if exc else "Triton closed the connection"))

    def data_received(self, data: bytes) -> None:
        """Feeds the parser, which calls the methods below."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(ConnectionError(f"Triton's answer is no HTTP: {error}"))

    # httptools' side
    def on_message_begin(self) -> None:
        """A new answer begins."""
        self._body = []
        self._json_length = None

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keeps the one header that matters."""
        if name.lower() == b"inference-header-content-length":
            self._json_length = int(value)

    def on_body(self, body: bytes) -> None:
        """Collects the body."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """The answer is whole."""
        done = self._take()
        # Who refuses may be about to end; behind a Service, a new connection leads elsewhere.
        refused = self._parser.get_status_code() != 200
        if done is None or refused or not self._parser.should_keep_alive():
            self.close()
        else:
            self._on_idle(self)
        if done is not None:
            body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
            done(Answer(self._parser.get_status_code(), self._json_length, body))
