"""One call: its messages, what answers them, and how it ends."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final, NoReturn

import grpc

from image_transformer.errors import ServiceError
from image_transformer.grpc.calls.head import Head
from image_transformer.grpc.calls.messages import prefixed
from image_transformer.grpc.calls.method import Method
from image_transformer.grpc.calls.received import Received
from image_transformer.grpc.calls.status import (
    ENDS,
    HEADERS,
    INTERNAL,
    OK,
    CallEnded,
    CallError,
    Metadata,
    Status,
    failure,
)
from image_transformer.grpc.http2.connection import Connection
from image_transformer.grpc.http2.frames import ErrorCode
from image_transformer.grpc.http2.stream import Stream
from image_transformer.http.request import request_id

log = logging.getLogger(__name__)

_LATE: Final = Status(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")


class Call:
    """A call, and the context that its method is given.

    Attributes:
        stream: Its stream.
        method: What answers it.
        task: Which does; None before and after.
        over: Whether its client has a status, or has given up.
    """

    __slots__ = (
        *("_begun", "_connection", "_deadline", "_flush", "_head", "_left", "_received", "_started"),
        *("_writes", "method", "over", "stream", "task"),
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
        self._received = Received(connection, stream, flush)
        self._writes: asyncio.Future[None] | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._begun = self._started = False
        self.task: asyncio.Task[None] | None = None
        self.over = False
        if head.timeout is not None:
            stream.timeout = head.timeout
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
        try:
            message = await self._received.next()
        except CallError as error:
            self._connection.given_up(self.stream)
            self.fail(error.status, served=False)
            raise CallEnded from None
        return grpc.aio.EOF if message is None else self.method.read(message)

    async def write(self, message: Any) -> None:
        """Sends an answer of many; returns once the client has taken up all that were sent."""
        data = self.method.write(message)
        if self.over:
            raise CallEnded
        if not self._begun:
            self._begun = True
            self._connection.send_headers(self.stream, HEADERS)
        self._connection.send_data(self.stream, prefixed(data))
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

    # ---- what the connection tells it, and asks

    @property
    def is_owed(self) -> bool:
        """Whether its client has begun its one message, or one of many, and not sent all of it."""
        if self.over or self.stream.ended:
            return False
        return not self.method.takes_many or self._received.begun

    def came(self, data: memoryview, *, ended: bool) -> bool:
        """Takes some of what the client sends; tells whether that completes a call of one message."""
        try:
            if not self.method.takes_many:
                return self._received.one(data, ended=ended)
            self._received.many(data, ended=ended)
        except CallError as error:
            self._break_off(error.status)
        return False

    def account(self) -> None:
        """Says what is kept of all that came, so that the client may send more."""
        self._received.account()

    def sent(self) -> None:
        """All that waited for the client has gone."""
        if self._writes is not None:
            if not self._writes.done():
                self._writes.set_result(None)
            self._writes = None
        self._leave()

    def drop(self) -> None:
        """The client has given up, or is gone."""
        self.over = True
        self._stop()

    def give_up(self, status: Status) -> None:
        """Ends the call from outside of what answers it."""
        self.fail(status, served=False)
        self._stop()

    def cut(self, status: Status) -> None:
        """Ends the call for its client, now; the status of one whose answer waits would wait with it."""
        if self.stream.unsent:
            self._connection.reset(self.stream, ErrorCode.CANCEL)
            self._flush()
        self._break_off(status)

    def fail(self, status: Status, *, served: bool = True) -> None:
        """Ends the call with a status, unless it has one; `served` as `Connection.send_trailers` has it."""
        if self.over:
            return
        block = status.trailers() if self._begun else status.alone()
        self.over = True
        self._connection.send_trailers(self.stream, block, served=served)
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
            request = self.method.read(self._received.take())
            if isinstance(request, Status):
                self.fail(request)
                return
            response = await self.method.behaviour(request, self)
            if self.method.gives_many:
                self._finish()
            elif not self.over:
                data = prefixed(self.method.write(response))
                self.over = True
                self._connection.answer(self.stream, HEADERS, data, OK)
                self._flush()
        except CallEnded:
            pass
        except ServiceError as error:
            self.fail(failure(error))
        except asyncio.CancelledError:
            self.fail(failure(ENDS))
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

    def _stop(self) -> None:
        self._received.clear()
        if self.task is not None:
            self.task.cancel()
            if not self._started:  # it will never begin, and so never end
                self.task = None
        self._leave()

    def _expire(self) -> None:
        self.cut(_LATE)

    def _break_off(self, status: Status) -> None:
        """Ends the call for what its client did, or wanted: work that was begun for nothing counts."""
        if self.task is not None:
            self._connection.given_up(self.stream)
        self.give_up(status)

    def _leave(self) -> None:
        """Says that it takes no place any more, once nothing is done for it and its client has its answer."""
        if self.stream.closed and self.task is None and self._left is not None:
            left, self._left = self._left, None
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None
            self.stream.call = None  # which has this
            left(self)
