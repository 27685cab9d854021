"""CORS: what pages of other origins may ask from a browser (https://fetch.spec.whatwg.org/#http-cors-protocol).

In front of everything else and only where origins are set, so nobody else's request costs more for it. No
credentials are allowed: nothing here is told by a cookie.
"""

import re
from collections.abc import Awaitable, Callable, Collection
from typing import Any, Final

from image_transformer.errors import ServiceError
from image_transformer.http.request import Receive, Scope, Send, request_id
from image_transformer.observe.requests import Observer

Headers = tuple[tuple[bytes, bytes], ...]

EXPOSED: Final = (
    "X-Model-Version",
    "X-Out-Of-Distribution",
    "X-Request-ID",
    "Inference-Header-Content-Length",
    "Retry-After",
    "Location",
    "Preference-Applied",
    "ce-specversion",
    "ce-id",
    "ce-type",
    "ce-source",
    "ce-time",
)
"""Headers of answers that a page may read, beside those that it always may."""

_METHODS: Final = b"GET, HEAD, POST"
_NAMES: Final = re.compile(rb"[\w!#$%&'*+.^`|~-]+(?:[ \t]*,[ \t]*[\w!#$%&'*+.^`|~-]+)*")
_MAX_AGE_SECONDS: Final = 7200  # the most that Chromium keeps
ANY: Final = "*"


class Cors:
    """An ASGI application in front of another one: answers preflights, and adds what a browser asks for."""

    def __init__(
        self,
        origins: Collection[str],
        observer: Observer,
        behind: Callable[[Scope, Receive, Send], Awaitable[None]],
    ) -> None:
        self._any = ANY in origins
        self._origins = frozenset(origin.encode() for origin in origins)
        self._observer = observer
        self._behind = behind
        self._exposed = (b"access-control-expose-headers", ", ".join(EXPOSED).encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a preflight, or passes the request on."""
        if scope["type"] != "http":
            await self._behind(scope, receive, send)
            return
        sent = dict(scope["headers"])
        if scope["method"] == "OPTIONS" and b"access-control-request-method" in sent and b"origin" in sent:
            await self._preflight(sent, send)
            return
        headers = self.headers(sent.get(b"origin"))

        async def with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *headers]
            await send(message)

        await self._behind(scope, receive, with_headers)

    def headers(self, origin: bytes | None) -> Headers:
        """Returns what an answer has for its page; of an origin that is not allowed no more than Vary.

        Args:
            origin: The request's header, if any.
        """
        if self._any:
            return ((b"access-control-allow-origin", b"*"), self._exposed)
        vary = (b"vary", b"origin")
        if origin is None or origin not in self._origins:
            return (vary,)
        return ((b"access-control-allow-origin", origin), self._exposed, vary)

    async def _preflight(self, sent: dict[bytes, bytes], send: Send) -> None:
        identity = request_id(sent.get(b"x-request-id"))
        headers = [(b"x-request-id", identity.encode()), *self.headers(sent[b"origin"])]
        body = b""
        with self._observer.request("preflight", identity) as observation:
            if self._any or sent[b"origin"] in self._origins:
                observation.status = 204
                headers += [
                    (b"access-control-allow-methods", _METHODS),
                    (b"access-control-max-age", str(_MAX_AGE_SECONDS).encode()),
                ]
                # Whatever headers there are, none of them does more here than curl's could.
                wanted = sent.get(b"access-control-request-headers", b"")
                if _NAMES.fullmatch(wanted):
                    headers.append((b"access-control-allow-headers", wanted))
            else:
                error = ServiceError(
                    "origin_not_allowed",
                    f"Pages of {sent[b'origin'][:80].decode('latin-1')} may not ask here; add the origin to "
                    "CNN_IMAGE_CORS_ORIGINS.",
                )
                observation.failed(error)
                body = error.body(identity)
                headers += [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
            await send(
                {"type": "http.response.start", "status": observation.status, "headers": headers},
            )
            await send({"type": "http.response.body", "body": body})
