"""What a call's client sends: its one message, or many that are read one by one."""

import asyncio
from collections.abc import Callable
from typing import Final

from grpc import StatusCode

from image_transformer.errors import ServiceError
from image_transformer.grpc.calls.messages import Messages
from image_transformer.grpc.calls.status import CallError, failure
from image_transformer.grpc.http2.connection import Connection
from image_transformer.grpc.http2.stream import Stream

_CUT: Final = ServiceError("invalid_request", "The message ends before its length; send all of it.")
_NOT_ONE: Final = ServiceError("invalid_request", "The method takes one message a call; send one.")


class Received(Messages):
    """The messages of one call; what is kept of them bounds what its client may send.

    Everything here raises CallError for what cannot be taken: a message that is compressed, too long, or cut
    off, and another number of messages than one where one is due.
    """

    __slots__ = ("_connection", "_ended", "_flush", "_message", "_reads", "_stream")

    def __init__(self, connection: Connection, stream: Stream, flush: Callable[[], None]) -> None:
        """Takes the connection, the call's stream, and what has something written."""
        super().__init__(connection.limits.message_bytes)
        self._connection = connection
        self._stream = stream
        self._flush = flush
        self._ended = False
        self._message = b""
        self._reads: asyncio.Future[None] | None = None

    def one(self, data: memoryview, *, ended: bool) -> bool:
        """Takes some of a call's one message, and tells whether it is all there, and nothing behind it."""
        if not ended:
            self.feed(data)
            if self.more:
                raise _another_number()
            return False
        message = self.whole(data)
        if message is None:
            self.feed(data)
            message = self.pop()
            if message is None and self.held:
                raise CallError(failure(_CUT))
            if message is None or self.held:
                raise _another_number()
        self._message = message
        return True

    def take(self) -> bytes:
        """Gives the one message away."""
        message, self._message = self._message, b""
        if self._stream.held:
            self.account()
        return message

    def many(self, data: memoryview, *, ended: bool) -> None:
        """Takes some of many messages."""
        self._ended = ended
        self.feed(data)
        if self._reads is not None and (self.ready or ended):
            if not self._reads.done():
                self._reads.set_result(None)
            self._reads = None

    async def next(self) -> bytes | None:
        """Waits for the next of many messages; None behind the last."""
        while True:
            message = self.pop()
            self.account()  # also where there is none: now it is known how long the next one is
            if message is not None:
                self._connection.taken()
                return message
            if self._ended:
                if self.held:
                    raise CallError(failure(_CUT))
                return None
            self._reads = asyncio.get_running_loop().create_future()
            await self._reads

    def clear(self) -> None:
        """Forgets all that is kept."""
        super().clear()
        self._message = b""

    def account(self) -> None:
        """Says what is kept, so that the client may send more."""
        held, coming = self.held, self.coming
        self._connection.keeps(self._stream, held, coming, max(0, coming - held))
        self._flush()


def _another_number() -> CallError:
    return CallError(failure(_NOT_ONE, code=StatusCode.UNIMPLEMENTED))
