"""The gRPC server: the methods that are served, how many calls there may be, and its end."""

import asyncio
import contextlib
import logging
import math
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from image_transformer.errors import ServiceError
from image_transformer.grpc.calls.call import Call
from image_transformer.grpc.calls.connection import ClientConnection
from image_transformer.grpc.calls.head import UNKNOWN, Refusal
from image_transformer.grpc.calls.method import Method
from image_transformer.grpc.http2.limits import Limits
from image_transformer.http.http1.connections import LIMIT, Acceptor
from image_transformer.observe.requests import Observer

log = logging.getLogger(__name__)

# Streams beyond the calls that are taken: those are refused with a reason, and clients do not wait with them.
_STREAMS_BEYOND: Final = 100
_BACKLOG: Final = 2048
# That clients have to close after the last word.
_END_SECONDS: Final = 3.0

_OVERLOADED: Final = Refusal(
    ServiceError("overloaded", "Too many calls are under way; try again in a second.")
)


@dataclass(frozen=True)
class ServerLimits:
    """What clients may do.

    Attributes:
        calls: Calls under way.
        message_bytes: Of one message.
        ping_seconds: Between two pings of a client.
        connection_seconds: After which a connection is ended, a tenth more or less.
        connection_grace_seconds: That calls under way have from then on.
    """

    calls: int
    message_bytes: int = 64_000_000
    ping_seconds: float = 5.0
    connection_seconds: float = math.inf
    connection_grace_seconds: float = math.inf


class GrpcServer:
    """Serves methods.

    Streams may live for days, and each is a call under way: they get half of the places at most, so that idle
    ones never keep single calls out.

    Attributes:
        limits: What clients may do.
        methods: What is served, by its path.
        asked: Whether anybody ever called a method.
    """

    def __init__(self, observer: Observer, limits: ServerLimits) -> None:
        self.limits = limits
        self.connection_seconds = limits.connection_seconds
        self.connection_grace_seconds = limits.connection_grace_seconds
        self.http2_limits = Limits(limits.calls + _STREAMS_BEYOND, limits.message_bytes, limits.ping_seconds)
        self.methods: Mapping[bytes, Method] = {}
        self.asked = False
        self._observer = observer
        self._connections: set[ClientConnection] = set()
        self._calls = self._lasting = 0
        self._ending = False
        self._listening: asyncio.Server | None = None
        self._acceptor: Acceptor | None = None
        self._watching: asyncio.Task[None] | None = None
        self._emptied: asyncio.Event = asyncio.Event()

    def add(self, methods: Mapping[str, Method]) -> None:
        """Serves methods, each by its path."""
        self.methods = {**self.methods, **{path.encode(): method for path, method in methods.items()}}

    async def start(self, listener: socket.socket) -> None:
        """Serves who connects."""
        loop = asyncio.get_running_loop()
        self._acceptor = Acceptor(listener)
        self._listening = await loop.create_server(
            lambda: ClientConnection(self), sock=listener, backlog=_BACKLOG
        )
        self._watching = asyncio.create_task(self._watch())

    async def stop(self, grace: float) -> None:
        """Takes no new connection, sends all clients away, and ends.

        Args:
            grace: Seconds for calls under way; then they are told UNAVAILABLE.
        """
        self._ending = True
        if self._listening is not None:
            self._listening.close()
        for connection in tuple(self._connections):
            connection.leave()
        await self._empty(grace)
        for connection in tuple(self._connections):
            connection.end()
        await self._empty(_END_SECONDS)
        for connection in tuple(self._connections):
            connection.transport.abort()
        if self._watching is not None:
            self._watching.cancel()

    # ---- what connections and calls ask of it

    def joins(self, connection: ClientConnection) -> bool:
        """Takes a connection in, and accepts the next ones that wait; tells whether there was a place."""
        if self._ending or len(self._connections) >= LIMIT:
            return False
        self._connections.add(connection)
        self._emptied.clear()
        if self._acceptor is not None:
            self._acceptor.accept(asyncio.get_running_loop(), lambda: ClientConnection(self))
        return True

    def leaves(self, connection: ClientConnection) -> None:
        """Takes note that a connection is gone."""
        self._connections.discard(connection)
        if not self._connections:
            self._emptied.set()

    def refusal(self, method: Method | None, unsent: int) -> Refusal | None:
        """Says why a call is not taken; None where it is.

        Args:
            method: That it is for, if there is such.
            unsent: Bytes of answers that its client does not take.
        """
        if method is None:
            return UNKNOWN
        most = self.limits.calls
        full = self._calls >= most or (method.lasts and self._lasting >= most // 2)
        if not full and unsent <= self.limits.message_bytes:
            return None
        self._observer.turned_away()
        return _OVERLOADED

    def taken(self, call: Call) -> None:
        """Counts a call."""
        self._calls += 1
        self._lasting += call.method.lasts

    def left(self, call: Call) -> None:
        """Takes note that a call has ended."""
        self._calls -= 1
        self._lasting -= call.method.lasts

    async def _empty(self, seconds: float) -> None:
        if self._connections:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._emptied.wait(), seconds)

    def look(self, now: float) -> None:
        """Looks at all connections.

        Args:
            now: The loop's time.
        """
        for connection in tuple(self._connections):
            try:
                connection.look(now)
            except Exception:  # of one connection, and the others are to be looked at too
                log.exception("a gRPC connection could not be looked at")
                connection.transport.abort()

    async def _watch(self) -> None:
        """Looks once a second; a timer for each connection would cost more than it is worth."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(1)
            self.look(loop.time())
