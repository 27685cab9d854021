"""One call: its messages, what answers them, and how it ends."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final, NoReturn

import grpc

from image_transformer.errors import ServiceError
from image_transformer.grpc.calls.head import Head
from image_transformer.grpc.calls.messages import Messages
from image_transformer.grpc.calls.method import Method
from image_transformer.grpc.calls.status import HEADERS, INTERNAL, OK, CallError, Metadata, Status, failure
from image_transformer.grpc.http2.connection import Connection
from image_transformer.grpc.http2.frames import ErrorCode
from image_transformer.grpc.http2.stream import Stream
from image_transformer.http.request import request_id

log = logging.getLogger(__name__)

_CUT: Final = ServiceError("invalid_request", "The message ends before its length; send all of it.")
_NOT_ONE: Final = ServiceError("invalid_request", "The method takes one message a call; send one.")
_ENDS: Final = ServiceError("shutting_down", "The service ends; ask again.")
_LATE: Final = Status(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")


class CallEnded(Exception):  # noqa: N818 - nothing is wrong where it is raised
    """The call has its status: nothing more is to be done for it."""


class Call:
    """A call, and the context that its method is given.

    Attributes:
        stream: Its stream.
        method: What answers it.
        task: Which does; None before and after.
        over: Whether its client has a status, or has given up.
    """

    __slots__ = (
        *("_begun", "_connection", "_deadline", "_ended", "_flush", "_head", "_left", "_message"),
        *("_messages", "_reads", "_started", "_writes", "method", "over", "stream", "task"),
    )

    def __init__(
        self,
        connection: Connection,
        stream: Stream,
        head: Head,
        method: Method,
        flush: Callable[[], None],
        left: Callable[["Call"], None],
    ) -> None:
        """Takes a call up.

        Args:
            connection: Which it came by.
            stream: Its stream.
            head: What its fields say.
            method: What answers it.
            flush: Has what was said on the connection written.
            left: Told once of its end.
        """
        self._connection = connection
        self.stream = stream
        self._head = head
        self.method = method
        self._flush = flush
        self._left: Callable[[Call], None] | None = left
        self._messages = Messages(connection.limits.message_bytes)
        self._message: bytes | None = None  # the one of a call that has one
        self._reads: asyncio.Future[None] | None = None
        self._writes: asyncio.Future[None] | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._begun = self._ended = self._started = False
        self.task: asyncio.Task[None] | None = None
        self.over = False
        if head.timeout is not None:
            self._deadline = asyncio.get_running_loop().call_later(head.timeout, self._expire)

    # ---- what a method may do

    def invocation_metadata(self) -> Metadata:
        """The client's own fields."""
        return self._head.metadata

    def cancelled(self) -> bool:
        """Tells whether nobody waits for an answer any more."""
        return self.over

    async def read(self) -> Any:
        """Returns the next message, what is to be told in its place, or `grpc.aio.EOF` behind the last.

        Raises:
            CallEnded: what comes is no message that can be read.
        """
        while True:
            message = self._next()
            if message is not None:
                return self.method.read(message)
            if self._ended or self.over:
                return grpc.aio.EOF
            self._reads = asyncio.get_running_loop().create_future()
            await self._reads

    async def write(self, message: Any) -> None:
        """Sends an answer of many; returns once the client has taken up all that were sent."""
        data = self.method.write(message)
        if self.over:
            raise CallEnded
        if not self._begun:
            self._begun = True
            self._connection.send_headers(self.stream, HEADERS)
        self._connection.send_data(self.stream, _prefixed(data))
        self._flush()
        if self.stream.unsent:
            self._writes = asyncio.get_running_loop().create_future()
            await self._writes

    async def abort(
        self, code: grpc.StatusCode, details: str = "", trailing_metadata: Metadata = ()
    ) -> NoReturn:
        """Ends the call with a status.

        Raises:
            CallEnded: always.
        """
        self.fail(Status(code, details, trailing_metadata))
        raise CallEnded

    # ---- what the connection tells it

    def came(self, data: memoryview, *, ended: bool) -> bool:
        """Takes some of what the client sends; tells whether that completes a call of one message."""
        messages = self._messages
        self._ended = ended
        try:
            if ended and not self.method.takes_many:
                return self._came_to_its_end(data)
            messages.feed(data)
        except CallError as fault:
            self.give_up(fault.status)
            return False
        if self.method.takes_many:
            if self._reads is not None and (messages.ready or ended):
                _wake(self._reads)
                self._reads = None
        elif messages.more:
            self.give_up(_status_of_number())
            return False
        self._account()
        return False

    def _came_to_its_end(self, data: memoryview) -> bool:
        message = self._messages.whole(data)
        if message is None:
            self._messages.feed(data)
            message = self._messages.pop()
            if self._messages.held:
                self.give_up(failure(_CUT) if message is None else _status_of_number())
                return False
            if message is None:
                self.give_up(_status_of_number())
                return False
        self._message = message
        return True

    def sent(self) -> None:
        """All that waited for the client has gone."""
        if self._writes is not None:
            _wake(self._writes)
            self._writes = None
        self._leave()

    def drop(self) -> None:
        """The client has given up, or is gone."""
        self.over = True
        self._stop()

    def give_up(self, status: Status) -> None:
        """Ends the call from outside of what answers it."""
        self.fail(status)
        self._stop()

    def fail(self, status: Status) -> None:
        """Ends the call with a status, unless it has one."""
        if self.over:
            return
        self.over = True
        block = status.trailers() if self._begun else status.alone()
        self._connection.send_trailers(self.stream, block)
        self._flush()

    # ---- its answer

    async def answer(self) -> None:
        """Has the method answer, whatever comes of it."""
        self._started = True
        try:
            if self.method.takes_many:
                await self.method.behaviour(self, self)
                self._finish()
                return
            request = self._request()
            if isinstance(request, Status):
                self.fail(request)
                return
            response = await self.method.behaviour(request, self)
            if self.method.gives_many:
                self._finish()
            elif not self.over:
                self.over = True
                self._connection.answer(self.stream, HEADERS, _prefixed(self.method.write(response)), OK)
                self._flush()
        except CallEnded:
            pass
        except ServiceError as error:
            self.fail(failure(error))
        except asyncio.CancelledError:
            self.fail(failure(_ENDS))
            raise
        except Exception:
            identity = request_id(None)
            log.exception("a gRPC method failed", extra={"request_id": identity})
            self.fail(failure(ServiceError("internal", INTERNAL), identity))
        finally:
            self.task = None
            self._leave()

    def _finish(self) -> None:
        if self.over:
            return
        self.over = True
        if not self._begun:
            self._connection.send_headers(self.stream, HEADERS)
        self._connection.send_trailers(self.stream, OK)
        self._flush()

    def _request(self) -> Any:
        """The message of a call that has one, parsed; its bytes are given up for it."""
        message, self._message = self._message, None
        if self.stream.held:
            self._account()
        return self.method.read(message or b"")

    def _next(self) -> bytes | None:
        try:
            message = self._messages.pop()
        except CallError as fault:
            self.fail(fault.status)
            raise CallEnded from None
        if message is None and self._ended and self._messages.held:
            self.fail(failure(_CUT))
            raise CallEnded
        self._account()  # also where there is none: now it is known how long the next one is
        return message

    def _account(self) -> None:
        """Says what is kept, so that the client may send more."""
        held, coming = self._messages.held, self._messages.coming
        self._connection.keeps(self.stream, held, coming, max(0, coming - held))
        self._flush()

    def _stop(self) -> None:
        self._messages.clear()
        self._message = None
        if self.task is not None:
            self.task.cancel()
            if not self._started:  # it will never begin, and so never end
                self.task = None
        self._leave()

    def _expire(self) -> None:
        if self.stream.unsent:
            self._connection.reset(self.stream, ErrorCode.CANCEL)
            self._flush()
        self.give_up(_LATE)

    def _leave(self) -> None:
        """Says that it takes no place any more, once nothing is done for it and its client has its answer."""
        if self.stream.closed and self.task is None and self._left is not None:
            left, self._left = self._left, None
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None
            self.stream.call = None  # which has this
            left(self)


def _status_of_number() -> Status:
    return failure(_NOT_ONE, code=grpc.StatusCode.UNIMPLEMENTED)


def _prefixed(message: bytes) -> bytes:
    return b"\0" + len(message).to_bytes(4) + message


def _wake(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)
