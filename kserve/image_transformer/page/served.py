"""Hands the page out: at `/` to who takes HTML, its files below `/page/DIGEST/`, and nothing else.

It stands behind the transformer's own routes, in front of kserve's application: a request for inference does
not come by here.
"""

import gzip
import hashlib
from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import Final, NamedTuple

import orjson

from image_transformer.http.encodings import accepted
from image_transformer.http.request import Receive, Scope, Send, request_id
from image_transformer.observe.requests import Observer

_INDEX: Final = "index.html"
_EXAMPLES: Final = "examples/"
_PLACE: Final = (
    b"{{files}}"  # where the page's HTML names its files, relative to `/` or to what a proxy puts before it
)
_TYPES: Final = {
    "html": b"text/html; charset=utf-8",
    "css": b"text/css; charset=utf-8",
    "js": b"text/javascript; charset=utf-8",
    "json": b"application/json",
    "svg": b"image/svg+xml",
    "jpg": b"image/jpeg",
}
_GUARDS: Final = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
        b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        b"require-trusted-types-for 'script'; trusted-types 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)
_FOREVER: Final = b"public, max-age=31536000, immutable"

Headers = tuple[tuple[bytes, bytes], ...]


class _File(NamedTuple):
    content_type: bytes
    body: bytes
    folded: bytes  # gzip, or nothing where that is no shorter


class Page:
    """An ASGI application in front of another one, which gets all that is not the page's."""

    def __init__(self, observer: Observer, behind: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self._observer = observer
        self._behind = behind
        contents = page_files()
        self._digest = _digest(contents)
        index = contents.pop(_INDEX).replace(_PLACE, f"page/{self._digest}".encode())
        self._index = _file(_INDEX, index)
        self._files = {name: _file(name, body) for name, body in contents.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request for the page or one of its files, or passes it on."""
        if scope["type"] == "http" and scope["method"] == "GET":
            path: str = scope["path"]
            if path == "/":
                asked = dict(scope["headers"])
                if takes_html(asked.get(b"accept", b"").decode("latin-1")):
                    await self._hand_out("/", self._index, self._fresh(), asked, send)
                    return
            elif path.startswith("/page/"):
                digest, _, name = path.removeprefix("/page/").partition("/")
                if (file := self._files.get(name)) is not None:
                    await self._hand_out("/page", file, self._lasting(digest), dict(scope["headers"]), send)
                    return
        await self._behind(scope, receive, send)

    def _fresh(self) -> Headers:
        return (
            (b"cache-control", b"no-cache"),
            (b"etag", f'"{self._digest}"'.encode()),
            (b"vary", b"accept, accept-encoding"),
            *_GUARDS,
        )

    def _lasting(self, digest: str) -> Headers:
        """While a release is rolled out, a page of one pod asks another for its files: better than none."""
        cached = _FOREVER if digest == self._digest else b"no-store"
        return (
            (b"cache-control", cached),
            (b"vary", b"accept-encoding"),
            (b"x-content-type-options", b"nosniff"),
        )

    async def _hand_out(
        self, route: str, file: _File, headers: Headers, asked: dict[bytes, bytes], send: Send
    ) -> None:
        identity = request_id(asked.get(b"x-request-id"))
        with self._observer.request(route, identity) as observation:
            body = file.body
            told = [*headers, (b"x-request-id", identity.encode())]
            observation.status = 200
            if (b"etag", asked.get(b"if-none-match", b"").removeprefix(b"W/")) in headers:
                observation.status, body = 304, b""
            else:
                told.append((b"content-type", file.content_type))
                if file.folded and accepted(asked.get(b"accept-encoding", b"").decode("latin-1")) == "gzip":
                    body = file.folded
                    told.append((b"content-encoding", b"gzip"))
                told.append((b"content-length", b"%d" % len(body)))
            await send({"type": "http.response.start", "status": observation.status, "headers": told})
            await send({"type": "http.response.body", "body": body})


def takes_html(accept: str) -> bool:
    """Tells whether a client names HTML among what it takes; `*/*`, as curl sends it, does not.

    Args:
        accept: The request's header.
    """
    for item in accept.lower().split(","):
        kind, *parameters = (part.strip() for part in item.split(";"))
        if kind == "text/html":
            return not any(part.replace(" ", "").rstrip("0.") == "q=" for part in parameters)
    return False


def page_files() -> dict[str, bytes]:
    """Reads the page's files, and the examples with a list of their names.

    Returns:
        Contents by name; the examples' names begin with `examples/`.
    """
    static = files("image_transformer").joinpath("page", "static")
    contents = {file.name: file.read_bytes() for file in static.iterdir() if file.is_file()}
    examples = files("model").joinpath("sample", "examples")
    pictures = {file.name: file.read_bytes() for file in examples.iterdir() if file.name.endswith(".jpg")}
    contents |= {_EXAMPLES + name: body for name, body in pictures.items()}
    contents[_EXAMPLES + "list.json"] = orjson.dumps(sorted(pictures))
    return contents


def _digest(contents: dict[str, bytes]) -> str:
    whole = hashlib.sha256()
    for name, body in sorted(contents.items()):
        whole.update(hashlib.sha256(name.encode()).digest() + hashlib.sha256(body).digest())
    return whole.hexdigest()[:16]


def _file(name: str, body: bytes) -> _File:
    folded = gzip.compress(body, mtime=0)
    shorter = folded if len(folded) < len(body) else b""
    return _File(_TYPES[name.rpartition(".")[2]], body, shorter)
