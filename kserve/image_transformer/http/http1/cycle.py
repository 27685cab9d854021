"""One request on a connection and its answer: uvicorn's, which can also be answered in one piece."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from uvicorn._types import ASGI3Application, HTTPScope
from uvicorn.protocols.http.httptools_impl import (
    HEADER_VALUE_RE,
    STATUS_LINE,
    RequestResponseCycle,
)

if TYPE_CHECKING:
    from image_transformer.http.http1.protocol import GuardedProtocol

Header = tuple[bytes, bytes]


class _Rendered:
    """Headers that every answer has, as they stand in it, for as long as uvicorn's list of them lasts."""

    def __init__(self) -> None:
        self._of: list[Header] = []
        self._lines = b""
        self._closes = False

    def lines(self, headers: list[Header]) -> tuple[bytes, bool]:
        """Returns their lines, and whether one of them closes the connection."""
        if headers is not self._of:
            self._of = headers
            self._lines = b"".join(b"%s: %s\r\n" % header for header in headers)
            self._closes = (b"connection", b"close") in headers
        return self._lines, self._closes


_always: Final = _Rendered()


class Cycle(RequestResponseCycle):
    """A request while it is answered, by ASGI's messages or by `answer`.

    Attributes:
        task: What answers it.
    """

    task: asyncio.Task[None]

    def __init__(self, protocol: "GuardedProtocol", scope: HTTPScope, *, stays: bool) -> None:
        """Takes the connection, ASGI's scope, and whether the connection stays open after the answer."""
        super().__init__(
            scope=scope,
            transport=protocol.transport,
            flow=protocol.flow,
            logger=protocol.logger,
            access_logger=protocol.access_logger,
            access_log=protocol.access_log,
            default_headers=protocol.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=protocol.expect_100_continue,
            keep_alive=stays,
            on_response=protocol.on_response_complete,
        )
        self._joining = protocol.joining
        self._tasks = protocol.tasks

    async def run_asgi(self, app: ASGI3Application) -> None:
        """Answers, as one of uvicorn's set of tasks; a callback for its end would take a turn of the loop."""
        try:
            await super().run_asgi(app)
        finally:
            self._tasks.discard(self.task)
            del self.task  # which has this

    def whole_body(self) -> bytes | None:
        """Takes the body where it came with its head, and nothing waits; None where it is to be received."""
        if self.more_body or self.disconnected or self.response_complete or self.waiting_for_100_continue:
            return None
        self.flow.resume_reading()  # or nobody would learn that the client hangs up
        body = bytes(self.body)
        self.body = bytearray()
        return body

    def answer(self, status: int, headers: Sequence[Header], body: bytes) -> bool:
        """Writes a whole response at once, as ASGI's messages would have it.

        uvicorn's way takes two messages, a list of the headers, two looks at each of them for what may not
        stand there, and a turn of the event loop in which the head waits for its body.

        Args:
            status: HTTP status.
            headers: In lower case; one of them says how long the body is, and none what becomes of the
                connection.
            body: Of a HEAD it is left out.

        Returns:
            Whether it was; not where it would have to wait for the client.

        Raises:
            RuntimeError: a header has what may not stand there.
        """
        if self.flow.write_paused or self.response_started or self.access_log:
            return False
        if self.disconnected:
            return True
        if HEADER_VALUE_RE.search(b"".join([value for _, value in headers])):
            raise RuntimeError("Invalid HTTP header value.")
        always, closes = _always.lines(self.default_headers)
        stays = self.keep_alive and not closes
        head = [STATUS_LINE[status], always]
        head += [b"%s: %s\r\n" % header for header in headers]
        head.append(b"\r\n" if stays or closes else b"connection: close\r\n\r\n")
        if self.scope["method"] != "HEAD":
            head.append(body)
        self._joining.write_whole(b"".join(head))
        self.response_started = self.response_complete = True
        self.keep_alive = stays
        self.message_event.set()
        if not stays:
            self.transport.close()
        self.on_response()
        return True
