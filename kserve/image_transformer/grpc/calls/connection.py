"""A client's connection: what comes over it becomes calls, and what they say goes out together."""

import asyncio
import math
import random
from collections.abc import Callable, Mapping
from typing import Final, Protocol, cast

from image_transformer.errors import ServiceError
from image_transformer.grpc.calls.call import Call
from image_transformer.grpc.calls.head import UNKNOWN, Refusal, head_of
from image_transformer.grpc.calls.method import Method
from image_transformer.grpc.calls.status import failure
from image_transformer.grpc.http2.connection import Connection
from image_transformer.grpc.http2.limits import Limits
from image_transformer.grpc.http2.stream import DataReceived, Event, RequestReceived, StreamReset

_HANDSHAKE_SECONDS: Final = 20.0
_SIGN_SECONDS: Final = 60.0
# Until a client that is sent away has to have read that; gRPC's core waits for 20 s.
_LEAVE_SECONDS: Final = 5.0
_LINGER_SECONDS: Final = 2.0
_JITTER: Final = 0.1
_UNREAD_BYTES: Final = 2**20
_WRITE_BYTES: Final = 2**18

_ENDS: Final = ServiceError("shutting_down", "The service ends; ask again.")


class Server(Protocol):
    """What connections ask of the server.

    Attributes:
        methods: What is served, by its path.
        asked: Whether anybody ever called a method.
        http2_limits: What a connection may take.
        connection_seconds, connection_grace_seconds: How long one lives, and its calls from then on.
    """

    methods: Mapping[bytes, Method]
    asked: bool
    http2_limits: Limits
    connection_seconds: float
    connection_grace_seconds: float

    def joins(self, connection: "ClientConnection") -> bool:
        """Takes a connection in; tells whether there was a place."""

    def leaves(self, connection: "ClientConnection") -> None:
        """Takes note that a connection is gone."""

    def refusal(self, method: Method | None, unsent: int) -> Refusal | None:
        """Says why a call is not taken; None where it is."""

    def taken(self, call: Call) -> None:
        """Counts a call."""

    def left(self, call: Call) -> None:
        """Takes note that a call has ended."""


class ClientConnection(asyncio.Protocol):
    """One client's connection.

    Calls that come in one read begin in one turn of the event loop, so that they meet in a batch; what is
    answered in one turn is written at once.

    Attributes:
        http2: What is said on it.
        transport: What carries it.
    """

    transport: asyncio.Transport

    def __init__(self, server: Server) -> None:
        self._server = server
        self._loop = asyncio.get_running_loop()
        self.http2 = Connection(server.http2_limits, self._loop.time)
        self._timers: list[asyncio.TimerHandle] = []
        self._closed = self._flushing = self._heard = self._leaving = False
        self._silent_since = self._loop.time()
        self._asked_at: float | None = None

    # ---- asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes the connection, unless there are too many."""
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(_WRITE_BYTES)
        if not self._server.joins(self):
            self.transport.abort()
            return
        self.http2.open()
        self.flush()
        age = self._server.connection_seconds
        self._later(age * random.uniform(1 - _JITTER, 1 + _JITTER), self.leave)  # noqa: S311 - no secret

    def connection_lost(self, exc: Exception | None) -> None:
        """Gives up all calls, and lets go of everything."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self.http2.over = True
        for stream in self.http2.close():
            if stream.call is not None:
                stream.call.drop()
        self._server.leaves(self)

    def data_received(self, data: bytes) -> None:
        """Reads, and begins the calls that are there."""
        self._heard = True
        self._handle(self.http2.receive(data))
        if self.http2.outflow.parts or self.http2.over or self.http2.left:
            self.flush()
        if self.http2.outflow.paused and self.transport.get_write_buffer_size() > _UNREAD_BYTES:
            self.transport.pause_reading()  # it asks more and more, and reads nothing

    def pause_writing(self) -> None:
        """The client does not read: what is to be sent to it waits."""
        self.http2.outflow.paused = True

    def resume_writing(self) -> None:
        """It has read."""
        self.http2.outflow.paused = False
        if self.transport.is_closing():
            return
        self.transport.resume_reading()
        self._handle(self.http2.pump())
        self.flush()

    # ---- what calls and the server ask of it

    def flush(self) -> None:
        """Has what was said written in the loop's next turn, with what is said until then."""
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def leave(self) -> None:
        """Sends the client away; calls under way have the time that the server's limits give."""
        if self._leaving:
            return
        self._leaving = True
        self.http2.leave()
        self._later(_LEAVE_SECONDS, self._leave_now)
        self._later(self._server.connection_grace_seconds, self.end)
        self.flush()

    def end(self) -> None:
        """Ends all calls, and then the connection."""
        self._leaving = True
        self.http2.leave_now()
        for stream in tuple(self.http2.streams.values()):
            if stream.call is not None:
                stream.call.give_up(failure(_ENDS))
        self._flush()
        self._close()

    def look(self, now: float) -> None:
        """Sees whether the client is still there; called once a second or so.

        Args:
            now: The loop's time.
        """
        if not self.http2.greeted:
            if now - self._silent_since > _HANDSHAKE_SECONDS:
                self.transport.abort()
        elif self._heard:
            self._heard = False
            self._silent_since = now
            self._asked_at = None
        elif self._asked_at is not None:
            if now - self._asked_at > _SIGN_SECONDS:
                self.transport.abort()
        elif now - self._silent_since > _SIGN_SECONDS:
            self._asked_at = now
            self.http2.ask_for_a_sign()
            self.flush()

    # ---- within

    def _handle(self, events: list[Event]) -> None:
        begin: list[Call] = []
        for event in events:
            stream = event.stream
            if type(event) is DataReceived:
                call = stream.call
                if call is not None and not call.over and call.came(event.data, ended=event.ended):
                    begin.append(call)
            elif type(event) is RequestReceived:
                if not stream.closed:
                    self._request(event, begin)
            elif stream.call is not None:
                if type(event) is StreamReset:
                    stream.call.drop()
                else:
                    stream.call.sent()
        for call in begin:
            if not call.over:
                call.task = self._loop.create_task(call.answer())

    def _request(self, event: RequestReceived, begin: list[Call]) -> None:
        head = head_of(event.block)
        server, stream = self._server, event.stream
        server.asked = True
        method = server.methods.get(head.path)
        refusal = head.refusal or server.refusal(method, self.http2.outflow.unsent)
        if method is None or refusal is not None:
            self.http2.send_trailers(stream, (refusal or UNKNOWN).alone())
            return
        call = Call(self.http2, stream, head, method, self.flush, server.left)
        stream.call = call
        server.taken(call)
        if method.takes_many:
            begin.append(call)

    def _flush(self) -> None:
        self._flushing = False
        http2, transport = self.http2, self.transport
        if self._closed or transport.is_closing():
            return
        while True:
            if http2.outflow.parts:
                transport.write(http2.outflow.take())
            self._handle(http2.pump())
            if not http2.outflow.parts:
                break
        if http2.over or (http2.left and not http2.streams):
            self._close()

    def _leave_now(self) -> None:
        self.http2.leave_now()
        self.flush()

    def _close(self) -> None:
        """Ends the connection so that the last words arrive: what still comes is read too."""
        if self._closed or self.transport.is_closing():
            return
        self._closed = self.http2.over = True
        self.transport.write_eof()
        self.transport.resume_reading()
        self._later(_LINGER_SECONDS, self.transport.abort)

    def _later(self, seconds: float, action: Callable[[], object]) -> None:
        if not math.isinf(seconds):
            self._timers.append(self._loop.call_later(seconds, action))
