"""uvicorn's HTTP protocol with what it leaves open: sure framing, limits on heads and load, our errors."""

import asyncio
import math
import re
import socket
from collections.abc import Callable
from typing import Any, Final, cast
from urllib.parse import unquote

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from image_transformer.errors import ServiceError
from image_transformer.http.cors import Cors, Headers
from image_transformer.http.http1 import connections, framing
from image_transformer.http.http1.cycle import Cycle
from image_transformer.http.http1.transport import Joining
from image_transformer.http.request import request_id

# Which part of a request comes next. No enum: looking its members up takes longer than all the rest.
_BETWEEN, _HEAD, _BODY = range(3)
_NEVER: Final = math.inf
_HEAD_BYTES: Final = 65_536
_CHUNK_BYTES: Final = 16  # a chunk's size and line ends
_HEAD_SECONDS: Final = 10.0
_UNWANTED_SECONDS: Final = 30.0
_UNHEARD_BYTES: Final = 32_000_000
_GIVEN_ID: Final = re.compile(rb"\r\nx-request-id:[ \t]*([^\r]*)", re.IGNORECASE)
_GIVEN_ORIGIN: Final = re.compile(rb"\r\norigin:[ \t]*([^\r]*)", re.IGNORECASE)
_NO_HTTP: Final = "This is not an HTTP request that can be read; send HTTP/1.1."
_NO_TARGET: Final = "The request's target is no path that can be read; send one of at most 65,535 bytes."
_OVERLOADED: Final = ServiceError("overloaded", "Too many requests are under way; try again in a second.")


class _StopError(Exception):
    """Keeps the parser from what follows a request that is refused."""


class GuardedProtocol(HttpToolsProtocol):
    """One client's connection: each request is answered once and in its turn, or refused and all is closed.

    uvicorn's parser takes a head of any length, and waits for its end for ever: both are limited here.

    What there is no room for is answered here, from the head alone: turning a request away must cost little
    of what answering it would, or the ones that are answered suffer from those that are not. A request that
    came whole, as small ones do, is not even given to uvicorn, whose callbacks are most of the cost.

    Attributes:
        acceptor: Takes more connections that wait.
        max_requests: So many may be under way; see `guarded`.
        saturated: Whether the queue takes no more.
        turned_away: Told of each request beyond.
        between: Called for each request, whatever becomes of it.
        cors: Lets a browser's page read that it is turned away, where pages of other origins may ask.
        joining: Its transport.
        due, idle_since: See `connections.Connection`.
    """

    acceptor: connections.Acceptor
    max_requests: int
    saturated: Callable[[], bool]
    turned_away: Callable[[], None]
    between: Callable[[], None]
    cors: Cors | None

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.due = self.idle_since = _NEVER
        self._phase = _BETWEEN
        self._beside_body = 0
        self._unheard = 0
        self._passes_upgrade = False
        self._discards_body = False
        self._hesitates = False
        self._has_room = False  # as was seen when this came in
        self._objection: str | None = None
        self._last_words: ServiceError | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes the connection, unless there are too many."""
        self.joining = Joining(cast(asyncio.Transport, transport), self.loop)
        super().connection_made(cast(asyncio.Transport, self.joining))
        self.due = self.loop.time() + _HEAD_SECONDS
        self.acceptor.accept(
            self.loop, lambda: type(self)(self.config, self.server_state, self.app_state, self.loop)
        )
        if len(self.connections) > connections.LIMIT:
            self._refuse(ServiceError("overloaded", "Too many connections are open; try again in a second."))

    def connection_lost(self, exc: Exception | None) -> None:
        """Lets go of the last request: with its body, it would wait in a cycle for the garbage collector."""
        super().connection_lost(exc)
        # Nothing is read any more, and a response that comes now goes nowhere.
        self.parser = self.cycle = cast(Any, None)

    def data_received(self, data: bytes) -> None:
        """Parses, and gives up on what cannot be read or does not end."""
        if self._last_words is not None or self.joining.closing:
            self._unheard += len(data)
            if self._unheard > _UNHEARD_BYTES:
                self.transport.abort()
            return
        if self._phase is _BETWEEN:
            full = self._full()
            if full and framing.is_plain(data):
                self._turn_away_whole(data)
                return
            self._has_room = not full
        self._beside_body += len(data)
        try:
            self._parse(data)
            self._has_room = False
        except httptools.HttpParserError:
            self._refuse(ServiceError("invalid_http", self._objection or _NO_HTTP))
            return
        if self._beside_body > _HEAD_BYTES and self._phase is not _BETWEEN:
            self._refuse(
                ServiceError(
                    "head_too_long",
                    f"The request's head, or what its chunks add, is over {_HEAD_BYTES} bytes; send less.",
                )
            )

    def on_message_begin(self) -> None:
        """A request begins; its scope is made once its head is there."""
        self.url = b""
        self.expect_100_continue = False
        self.headers = []
        self._phase = _HEAD
        self.joining.unread = True
        self._passes_upgrade = self._hesitates = False
        self.idle_since = _NEVER
        self.due = _NEVER if self._answers() else self.loop.time() + _HEAD_SECONDS

    def on_headers_complete(self) -> None:
        """Its head is there; questions about health and the like are answered under any load."""
        method = self.parser.get_method()
        if self.parser.should_upgrade() and method != b"CONNECT":
            self._passes_upgrade = True
            return
        version = self.parser.get_http_version()
        if objection := framing.objection(method, version, self.headers):
            self._objection = objection
            raise _StopError
        self.between()
        if method == b"POST" and not self._has_room and self._full():
            self._phase = _BODY
            self._turn_away_from_head()
            return
        if self.expect_100_continue and version == "1.0":
            self.expect_100_continue = False  # RFC 9110, section 10.1.1
        self._objection = _NO_TARGET
        target = httptools.parse_url(self.url)
        self._objection = None
        stays = version != "1.0" and self.parser.should_keep_alive()
        self._begin(method.decode("ascii"), version, target.path, target.query or b"", stays=stays)
        self._phase = _BODY
        self.due = _NEVER
        self.headers = []  # for trailers, which nobody asks for
        if self.expect_100_continue and self.cycle.keep_alive:
            # After an answer ahead of the body nobody can tell whether that still comes.
            self._hesitates, self.cycle.keep_alive = True, False

    def _begin(self, method: str, version: str, raw_path: bytes, query: bytes, *, stays: bool) -> None:
        """Has a request answered, or wait for those before it on its connection."""
        path = raw_path.decode("ascii")
        self.scope = {
            "type": "http",
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": version,
            "method": method,
            "server": self.server,
            "client": self.client,
            "scheme": "http",
            "root_path": self.root_path,
            "path": self.root_path + (unquote(path) if "%" in path else path),
            "raw_path": raw_path,
            "query_string": query,
            "headers": self.headers,
            "state": self.app_state.copy(),
        }
        before = self.cycle
        self.cycle = Cycle(self, self.scope, stays=stays)
        if before is None or before.response_complete:
            self._start_asgi_task(self.cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        # Which leaves the set by itself: see `Cycle.run_asgi`.
        task = cast(Cycle, cycle).task = self.loop.create_task(cycle.run_asgi(app))
        self.tasks.add(task)

    def on_chunk_header(self) -> None:
        """A chunk begins."""
        self._beside_body -= _CHUNK_BYTES

    def on_body(self, body: bytes) -> None:
        """Some of its body."""
        self._beside_body -= len(body)
        if self._hesitates:
            self._be_sure_of_body()
        if not self._discards_body:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """All of it is there."""
        if self._passes_upgrade:
            return
        self._phase = _BETWEEN
        self.joining.unread = False
        self._beside_body = 0
        if self._hesitates:
            self._be_sure_of_body()
        # A trailer can say so too, and the parser reads no further then.
        leaves = bool(self.headers) and not self.parser.should_keep_alive()
        if not self._discards_body and not self.cycle.response_complete:
            self.cycle.keep_alive = self.cycle.keep_alive and not leaves
            super().on_message_complete()
        elif leaves:
            self.transport.close()
        else:
            self._discards_body = False
            self._wait_for_next()

    def on_response_complete(self) -> None:
        """It is answered: the next one's turn."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._last_words is not None:
            self._say(self._last_words)
        elif self._phase is _BETWEEN:
            self._wait_for_next()
        else:
            waits = _HEAD_SECONDS if self._phase is _HEAD else _UNWANTED_SECONDS
            self.due = self.loop.time() + waits

    def _parse(self, data: bytes) -> None:
        """Feeds the parser; an upgrade that a request asks for is passed over.

        httptools takes what follows such a head for another protocol, whether somebody upgrades or not: its
        body would be lost, and read as a request. So the head is read once more, without what asks for it.
        """
        rest: bytes | memoryview = data
        while rest:
            try:
                self.parser.feed_data(rest)
            except httptools.HttpParserUpgrade as upgrade:
                rest = memoryview(rest)[upgrade.args[0] :]
            else:
                return
            parser, self.parser = self.parser, httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
            self.parser.feed_data(
                framing.head(parser.get_method(), self.url, parser.get_http_version(), self.headers)
            )

    def _answers(self) -> bool:
        """Tells whether a request waits for its answer."""
        return self.cycle is not None and not self.cycle.response_complete

    def _full(self) -> bool:
        return not self._answers() and (len(self.tasks) >= self.max_requests or self.saturated())

    def _be_sure_of_body(self) -> None:
        self._hesitates = False
        if not self.cycle.response_started:
            self.cycle.keep_alive = True

    def _wait_for_next(self) -> None:
        self.idle_since = self.loop.time()
        self.due = self.idle_since + self.timeout_keep_alive

    def _turn_away_whole(self, data: bytes) -> None:
        self.between()
        end = data.index(framing.HEAD_END)
        given = _GIVEN_ID.search(data, 0, end)
        origin = _GIVEN_ORIGIN.search(data, 0, end) if self.cors is not None else None
        if self._turn_away(given and given[1].rstrip(), origin and origin[1].rstrip(), stays=True):
            self._wait_for_next()

    def _turn_away_from_head(self) -> None:
        headers = dict(self.headers)
        # Who waits for a "100 Continue" may send the body or not: that connection is of no more use.
        stays = self.parser.should_keep_alive() and not self.expect_100_continue
        if not self._turn_away(headers.get(b"x-request-id"), headers.get(b"origin"), stays=stays):
            raise _StopError
        self._discards_body = True
        self.due = self.loop.time() + _UNWANTED_SECONDS

    def _turn_away(self, given: bytes | None, origin: bytes | None, *, stays: bool) -> bool:
        """Answers, and tells whether the connection stays open: never while the service ends."""
        self.turned_away()
        stays = stays and (b"connection", b"close") not in self.server_state.default_headers
        headers = self.cors.headers(origin) if self.cors is not None else ()
        self._answer(_OVERLOADED, request_id(given), headers, close=not stays)
        return stays

    def _refuse(self, error: ServiceError) -> None:
        """Answers what is not read any further, unless it is answered, and closes once all before it is."""
        self._last_words = error
        if self._phase is not _BODY:
            if not self._answers():
                self._say(error)
        elif not self._answers():
            self.transport.close()
        elif self.pipeline:
            self.pipeline.popleft()  # it is the last of them
        elif self.cycle.response_started:
            self.cycle.keep_alive = False
        else:
            self._say(error)
            self.cycle.disconnected = True  # who waits for the rest of its body hears it now
            self.cycle.message_event.set()

    def _say(self, error: ServiceError) -> None:
        to_head = self.parser.get_method() == b"HEAD"
        self._answer(error, request_id(None), close=True, head_alone=to_head)

    def _answer(
        self,
        error: ServiceError,
        identity: str,
        headers: Headers = (),
        *,
        close: bool,
        head_alone: bool = False,
    ) -> None:
        if self.transport.is_closing():
            return
        body = error.body(identity)
        wait = error.failure.retry_after
        self.joining.write_whole(
            STATUS_LINE[error.failure.http]
            + b"content-type: application/json\r\ncontent-length: %d\r\n" % len(body)
            + b"x-request-id: %s\r\n" % identity.encode()
            + (b"" if wait is None else b"retry-after: %d\r\n" % wait)
            + b"".join(b"%s: %s\r\n" % header for header in headers)
            + (b"connection: close\r\n\r\n" if close else b"\r\n")
            + (b"" if head_alone else body)
        )
        if close:
            self.transport.close()


def guarded(
    listener: socket.socket,
    max_requests: int,
    saturated: Callable[[], bool],
    turned_away: Callable[[], None],
    between: Callable[[], None],
    cors: Cors | None = None,
) -> type[GuardedProtocol]:
    """Returns the protocol for a server, which makes its connections itself.

    Args:
        listener: The socket that the server listens on.
        max_requests: Requests that may be under way on all connections.
        saturated: Asked for each request whether the queue takes no more.
        turned_away: Called for each request beyond.
        between: Called for each request, whatever becomes of it: what else wants doing in a long turn.
        cors: See `GuardedProtocol`.
    """
    return type(
        "Guarded",
        (GuardedProtocol,),
        {
            "acceptor": connections.Acceptor(listener),
            "max_requests": max_requests,
            "saturated": staticmethod(saturated),
            "turned_away": staticmethod(turned_away),
            "between": staticmethod(between),
            "cors": cors,
        },
    )
