"""One HTTP request as the hot routes see it: headers, a body within limits, and the answer."""

import asyncio
import itertools
import re
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any, Final

from image_transformer.errors import ClientGoneError, ServiceError
from image_transformer.http.encodings import Encoding, encoding_of, unfolded
from image_transformer.http.http1.cycle import Cycle
from image_transformer.inference.held import Held
from image_transformer.settings import Settings

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._:/-]{1,128}")
# What surely is no JSON. All else is read as JSON, and says where it is none: curl's own content type is a
# form's, libraries send text/plain, */* or KServe's vendor types.
_OTHER_BODIES: Final = ("multipart/", "image/", "audio/", "video/", "font/")
_run: Final = secrets.token_hex(6)
_numbers: Final = itertools.count(1)


def request_id(header: bytes | None) -> str:
    """Returns the client's id where it is fit for logs and headers, else a fresh one."""
    if header is not None and _REQUEST_ID.fullmatch(header):
        return header.decode()
    return f"{_run}-{next(_numbers):x}"


@dataclass(slots=True)
class Response:
    """An answer.

    Attributes:
        status: HTTP status.
        body: JSON, or JSON with tensors behind it.
        headers: Besides those every answer has.
        content_type: The body's.
    """

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()
    content_type: bytes = b"application/json"


class Request:
    """A request to one of the transformer's own routes.

    Attributes:
        method: GET, POST, …
        path: Without the query.
        query: What follows the path's question mark.
        headers: Lower-case names; the last of a repeated one.
        id: For the answer and the log.
    """

    __slots__ = (
        *("_cycle", "_held", "_length", "_receive", "_settings"),
        *("headers", "id", "method", "path", "query"),
    )

    def __init__(self, scope: Scope, receive: Receive, settings: Settings, held: Held) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query: str = scope["query_string"].decode("latin-1")
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.id = request_id(self.headers.get(b"x-request-id"))
        self._receive = receive
        self._settings = settings
        self._held = held
        self._length = 0
        # uvicorn's own note that the client hung up. Asking `receive` for it would take a task a request.
        self._cycle = getattr(receive, "__self__", None)

    def header(self, name: bytes) -> str:
        """A header as text; empty when it is not there."""
        return self.headers.get(name, b"").decode("latin-1")

    def check_json(self) -> None:
        """Raises ServiceError when the body is announced as what cannot be JSON."""
        kind = self.header(b"content-type").partition(";")[0].strip().lower()
        if kind.startswith(_OTHER_BODIES):
            raise ServiceError(
                "unsupported_media_type", f"The content type is {kind[:80]!r}; send application/json."
            )

    def alive(self) -> bool:
        """Tells whether the client is still there."""
        return not getattr(self._cycle, "disconnected", False)

    def give_up(self) -> None:
        """Breaks the connection off: the client does not take its answer."""
        if self._cycle is not None:
            self._cycle.disconnected = True
            self._cycle.transport.abort()

    def release(self) -> None:
        """Says that the request is answered, and its body needed no more."""
        self._held.give_back(self._length)
        self._length = 0

    async def body(self) -> bytes:
        """Reads the body; it counts as held until `release`.

        Raises:
            ServiceError: it is too long, too slow, compressed in a way that is not taken, or there is no room
                for it now.
            ClientGoneError: the client hung up before its end.
        """
        named = self.headers.get(b"content-encoding")
        encoding = None if named is None else encoding_of(named.decode("latin-1"))
        # A body that came with its head, as small ones do, is worth neither a timer nor a wait.
        body = self._cycle.whole_body() if isinstance(self._cycle, Cycle) else None
        if body is None:
            body = await self._sent()
        else:
            self._take(body, self._settings.max_body_bytes)
        return body if encoding is None else await self._unfolded(body, encoding)

    async def _unfolded(self, body: bytes, encoding: Encoding) -> bytes:
        """What a compressed body holds; both count as held, and both have the body's limit."""
        pieces, length = [], 0
        async for piece in unfolded(body, encoding):
            length += len(piece)
            if length > self._settings.max_body_bytes:
                raise self._too_long()
            self._held.take(len(piece))
            self._length += len(piece)
            pieces.append(piece)
        return b"".join(pieces)

    async def _sent(self) -> bytes:
        limit = self._settings.max_body_bytes
        announced = self.headers.get(b"content-length")
        if announced is not None and int(announced) > limit:
            raise self._too_long()
        try:
            async with asyncio.timeout(self._settings.body_seconds):
                return await self._collect(await self._receive(), limit)
        except TimeoutError:
            raise ServiceError(
                "slow_body",
                f"The body was not there after {self._settings.body_seconds:g} s; send it faster.",
            ) from None

    async def _collect(self, message: MutableMapping[str, Any], limit: int) -> bytes:
        if message["type"] == "http.request" and not message.get("more_body"):
            whole: bytes = message["body"]
            self._take(whole, limit)
            return whole
        chunks = []
        while message["type"] == "http.request":
            chunk: bytes = message["body"]
            self._take(chunk, limit)
            chunks.append(chunk)
            if not message.get("more_body"):
                return b"".join(chunks)
            message = await self._receive()
        raise ClientGoneError

    def _take(self, chunk: bytes, limit: int) -> None:
        if self._length + len(chunk) > limit:
            raise self._too_long()
        self._held.take(len(chunk))
        self._length += len(chunk)

    def _too_long(self) -> ServiceError:
        return ServiceError(
            "too_many_bytes", f"The body is longer than {self._settings.max_body_bytes:,} bytes; send less."
        )
