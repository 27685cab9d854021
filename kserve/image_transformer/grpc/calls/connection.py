"""A client's connection: what comes over it becomes calls, and what they say goes out together."""

import asyncio
import math
import random
from collections.abc import Callable
from typing import Final, cast

from image_transformer.errors import ServiceError
from image_transformer.grpc.calls.call import Call
from image_transformer.grpc.calls.head import UNKNOWN, head_of
from image_transformer.grpc.calls.serving import Server
from image_transformer.grpc.calls.status import ENDS, failure
from image_transformer.grpc.calls.watch import LINGER_SECONDS, STALL_SECONDS, Linger, Watch, unacknowledged
from image_transformer.grpc.http2.connection import Connection
from image_transformer.grpc.http2.stream import DataReceived, Event, RequestReceived, StreamReset

# Until a client that is sent away has to have read that; gRPC's core waits for 20 s.
_LEAVE_SECONDS: Final = 5.0
_JITTER: Final = 0.1
_UNREAD_BYTES: Final = 2**20
_WRITE_BYTES: Final = 2**18

_STALLS: Final = ServiceError(
    "slow_body", f"Nothing came of the message for {STALL_SECONDS:g} s; send it without a break."
)


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
        self._flushing = self._leaving = False
        self._grace_until = math.inf
        self._watch = Watch(self.http2, self._loop.time())
        self._linger: Linger | None = None

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
        if self._linger is not None:
            return
        self._watch.heard = True
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
        if self._linger is not None or self.transport.is_closing():
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
        grace = self._server.connection_grace_seconds
        self._grace_until = self._loop.time() + grace
        self.http2.leave()
        self._later(_LEAVE_SECONDS, self._leave_now)
        self._later(grace, self.end)
        self.flush()

    def end(self) -> None:
        """Ends all calls, and then the connection."""
        self._leaving = True
        self.http2.leave_now()
        for stream in tuple(self.http2.streams.values()):
            if stream.call is not None:
                stream.call.give_up(failure(ENDS))
        self._flush()
        self._close(0.0)
        if self._linger is not None:
            self._linger.until = min(self._linger.until, self._loop.time() + LINGER_SECONDS)

    def look(self, now: float) -> None:
        """Sees whether the client is still there and does its part; called once a second or so.

        Args:
            now: The loop's time.
        """
        if self._linger is not None:
            if not self.transport.is_closing() and self._linger.is_over(now, unacknowledged(self.transport)):
                self.transport.abort()
            return
        if self._watch.is_gone(now):
            self.transport.abort()
            return
        for stream in self._watch.stalled(now):
            stream.call.cut(failure(_STALLS))
        if self.http2.outflow.parts:
            self.flush()

    # ---- within

    def _handle(self, events: list[Event]) -> None:
        begin: list[Call] = []
        fed: dict[Call, None] = {}
        for event in events:
            stream = event.stream
            if type(event) is DataReceived:
                call = stream.call
                if not event.ended:
                    stream.in_events -= len(event.data)
                if call is not None and not call.over:
                    if call.came(event.data, ended=event.ended):
                        begin.append(call)
                    else:
                        fed[call] = None
            elif type(event) is RequestReceived:
                self._request(event, begin)
            elif stream.call is not None:
                stream.call.drop() if type(event) is StreamReset else stream.call.sent()
        for call in fed:
            call.account()
        for call in begin:
            if not call.over:
                call.task = self._loop.create_task(call.answer())

    def _request(self, event: RequestReceived, begin: list[Call]) -> None:
        server, stream = self._server, event.stream
        if stream.closed:
            return
        head = head_of(event.block)
        server.asked = True
        method = server.methods.get(head.path)
        refusal = head.refusal or server.refusal(method, self.http2.outflow.unsent)
        if method is None or refusal is not None:
            self.http2.send_trailers(stream, (refusal or UNKNOWN).alone(), served=False)
            return
        call = Call(self.http2, stream, head, method, self.flush, server.left)
        stream.call = call
        server.taken(call)
        if method.takes_many:
            begin.append(call)

    def _flush(self) -> None:
        self._flushing = False
        http2, transport = self.http2, self.transport
        if self._linger is not None or transport.is_closing():
            return
        while True:
            if http2.outflow.parts:
                transport.write(http2.outflow.take())
            if not (http2.outflow.waits or http2.untold):
                break
            self._handle(http2.pump())
        if http2.over:
            self._close(0.0)
        elif http2.left and not http2.streams:
            self._close(self._grace_until)

    def _leave_now(self) -> None:
        self.http2.leave_now()
        self.flush()

    def _close(self, until: float) -> None:
        """Ends the connection so that the last words arrive: what still comes is read too.

        Args:
            until: When it ends at the latest, but for the time that a word takes.
        """
        if self._linger is not None or self.transport.is_closing():
            return
        now = self._loop.time()
        self._linger = Linger(now, max(until, now + LINGER_SECONDS))
        self.http2.over = True
        try:
            self.transport.write_eof()
        except OSError:  # the client is gone, and the loop has not told so yet
            self.transport.abort()
            return
        self.transport.resume_reading()

    def _later(self, seconds: float, action: Callable[[], object]) -> None:
        if not math.isinf(seconds):
            self._timers.append(self._loop.call_later(seconds, action))
