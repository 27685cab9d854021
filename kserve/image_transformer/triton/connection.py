"""One kept-alive HTTP/1.1 connection to Triton.

No client library, because the machine's time is better spent on images: this one sends ready-made requests,
one at a time, and parses the answers with llhttp (httptools).
"""

import asyncio
import contextlib
import select
import socket
from collections.abc import Callable
from typing import Final, NamedTuple

import httptools

_RECEIVED_BYTES: Final = 65_536
_NOTHING: Final = memoryview(b"")


class NotConnectedError(ConnectionError):
    """Nobody was reached, and nothing was sent."""


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


class Connection:
    """A connection; `ask` when `idle`.

    On the socket itself, and no transport of the event loop's: what Triton has answered can so be taken in
    the middle of a long turn of the loop (see `receive`), and the next request goes out at once.
    """

    def __init__(
        self,
        connected: socket.socket,
        on_idle: Callable[["Connection"], None],
        on_lost: Callable[["Connection"], None],
    ) -> None:
        """Takes a connected socket that does not block."""
        self._loop = asyncio.get_running_loop()
        self._socket = connected
        self._on_idle = on_idle
        self._on_lost = on_lost
        self._parser = httptools.HttpResponseParser(self)
        self._done: Done | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._unsent = _NOTHING
        self._body: list[bytes] = []
        self._json_length: int | None = None
        self._closed: OSError | None = None
        self.opened = self._loop.time()
        self._loop.add_reader(connected, self.receive)

    def ask(self, request: bytes, seconds: float, done: Done) -> None:
        """Sends a whole request; `done` is called once, from the event loop."""
        self._done = done
        self._timer = self._loop.call_later(seconds, self._out_of_time, seconds)
        if self._closed is not None:
            self._loop.call_soon(self._fail, self._closed)
            return
        self._unsent = memoryview(request)
        try:
            self._send()
        except OSError as error:
            self._loop.call_soon(self._fail, ConnectionError(str(error)))
            return
        if self._unsent:
            self._loop.add_writer(self._socket, self._send_more)

    def receive(self) -> None:
        """Takes what has come, if anything has."""
        try:
            data = self._socket.recv(_RECEIVED_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self._fail(ConnectionError(str(error)))
            return
        if not data:
            self._fail(ConnectionError("Triton closed the connection"))
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(ConnectionError(f"Triton's answer is no HTTP: {error}"))

    def close(self) -> None:
        """Closes the connection; a request under way gets a ConnectionError."""
        self._fail(ConnectionError("the connection was closed"))

    def _out_of_time(self, seconds: float) -> None:
        done = self._done
        while self._closed is None and self._done is done and self._arrived():
            self.receive()  # in time: it is this process that had none
        if self._done is done:
            self._fail(TimeoutError(f"no answer within {seconds:g} s"))

    def _arrived(self) -> bool:
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(0))

    def _send(self) -> None:
        with contextlib.suppress(BlockingIOError):
            # An empty rest would keep the whole request in memory.
            self._unsent = self._unsent[self._socket.send(self._unsent) :] or _NOTHING

    def _send_more(self) -> None:
        try:
            self._send()
        except OSError as error:
            self._fail(ConnectionError(str(error)))
            return
        if not self._unsent:
            self._loop.remove_writer(self._socket)

    def _fail(self, error: OSError) -> None:
        # After a failure the rest of an answer may still come in: such a connection is of no use any more.
        if self._closed is None:
            self._closed = error
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
            self._socket.close()
            del self._parser  # which has this
            self._on_lost(self)
        if (done := self._take()) is not None:
            done(error)

    def _take(self) -> Done | None:
        done, self._done = self._done, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return done

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
        status = self._parser.get_status_code()
        # Who refuses may be about to end; behind a Service, a new connection leads elsewhere.
        if done is None or status != 200 or not self._parser.should_keep_alive():
            self.close()
        else:
            self._on_idle(self)
        if done is not None:
            body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
            done(Answer(status, self._json_length, body))
