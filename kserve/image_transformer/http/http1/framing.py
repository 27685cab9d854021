"""What makes a request's beginning and end certain: RFC 9112, sections 3, 6, 7 and 11.

Where two programs on its way disagree about a request's end, what is left of it is the next one to the other.
llhttp refuses most of that (a length beside chunks, two lengths, a sign, bare line ends, folded lines, spaces
before colons); what it lets pass is here. `docs/security.md` has the list.
"""

import functools
import re
from collections.abc import Sequence
from typing import Final

import httptools

_HOST: Final = re.compile(rb"(?:[\w.~!$&'()*+,;=%-]*|\[[\da-fA-F:.]+\])(?::\d*)?[ \t]*")
HEAD_END: Final = b"\r\n\r\n"
"""What a head ends with."""


def objection(method: bytes, version: str, headers: Sequence[tuple[bytes, bytes]]) -> str | None:
    """Says in one sentence why a head is not taken; None where it is.

    Args:
        method: In capitals.
        version: HTTP's, as in "1.1".
        headers: Names in lower case.
    """
    if method == b"CONNECT":
        return "This is no proxy; send the request to the host itself."
    if version != "1.1" and version != "1.0":  # noqa: PLR1714 - a set takes longer
        return f"HTTP/{version} is not spoken here; send HTTP/1.1."
    host = coding = None
    hosts = codings = 0
    for name, value in headers:
        if name == b"host":
            host = value
            hosts += 1
        elif name == b"transfer-encoding":
            coding = value.strip().lower()
            codings += 1
    if codings and (codings > 1 or coding != b"chunked" or version == "1.0"):
        return "Transfer-Encoding may be chunked alone, with HTTP/1.1; send it so, or a Content-Length."
    if host is None:
        return "The request has no Host header; send one." if version == "1.1" else None
    if hosts > 1 or not _is_host(host):
        return "The request has several Host headers, or what is no host and port; send one."
    return None


@functools.lru_cache(maxsize=256)
def _is_host(value: bytes) -> bool:
    return _HOST.fullmatch(value) is not None


def head(method: bytes, target: bytes, version: str, headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Writes a head as it came, but for its Upgrade (RFC 9110, section 7.8: whoever likes may ignore it)."""
    lines = [b"%s %s HTTP/%s" % (method, target, version.encode())]
    lines += [b"%s: %s" % pair for pair in headers if pair[0] != b"upgrade"]
    return b"\r\n".join(lines) + HEAD_END


class _Count:
    """Counts the requests in some bytes.

    Attributes:
        begun, ended: How many.
        stays: Whether the last one leaves the connection open.
    """

    def __init__(self, data: bytes) -> None:
        self.begun = self.ended = 0
        self.stays = False
        self._parser = httptools.HttpRequestParser(self)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.stays = False
        finally:
            del self._parser  # which has this

    def on_message_begin(self) -> None:
        self.begun += 1

    def on_message_complete(self) -> None:
        self.ended += 1
        self.stays = self._parser.should_keep_alive()


def is_plain(data: bytes) -> bool:
    """Tells whether this is one whole POST that has a length and leaves the connection open."""
    if not data.startswith(b"POST ") or not data.endswith(b" HTTP/1.1", 0, data.find(b"\r\n")):
        return False
    if b"transfer-encoding" in data[: data.find(HEAD_END)].lower():
        return False
    count = _Count(data)
    return count.stays and count.begun == count.ended == 1
