"""A table of requests on whose beginning or end two programs may disagree (RFC 9112, sections 2 to 7, 11).

Every body is itself a small request, to `/inner/of/a/body`: whoever takes it for one answers it.
"""

from dataclasses import dataclass

Understood = tuple[str, str, bytes]

INNER = b"GET /inner/of/a/body HTTP/1.1\r\nHost: x\r\n\r\n"
NEXT = b"GET /next HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
SIZE = b"%x" % len(INNER)
CHUNKED = SIZE + b"\r\n" + INNER + b"\r\n0\r\n\r\n"
TAKEN: Understood = ("POST", "/predict", INNER)
H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABk"
WEBSOCKET = (
    b"Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
)


@dataclass(frozen=True)
class Case:
    """Something to send, and what becomes of it.

    Attributes:
        name: For the test's name.
        sent: All of it.
        understood: Method, path and body of each request that is taken, in turn.
        statuses: Of the answers.
        stays: Whether what is sent after it is taken for a request.
        proxied: Whether it goes through a proxy too; where one may see no body, the rest is its next request.
    """

    name: str
    sent: bytes
    understood: tuple[Understood, ...] = (TAKEN,)
    statuses: tuple[int, ...] = (200,)
    stays: bool = True
    proxied: bool = True


def post(*lines: bytes, body: bytes = INNER, first: bytes = b"POST /predict HTTP/1.1") -> bytes:
    """A request with a Host header, further lines and whatever body."""
    return b"\r\n".join((first, b"Host: x", *lines)) + b"\r\n\r\n" + body


def taken(name: str, sent: bytes, *understood: Understood, stays: bool = True) -> Case:
    """Is answered, each request of it once."""
    requests = understood or (TAKEN,)
    return Case(name, sent, requests, (200,) * len(requests), stays)


def refused(name: str, sent: bytes, *before: Understood, proxied: bool = True) -> Case:
    """Is refused after the requests before it, and the connection closed."""
    return Case(name, sent, before, (200,) * len(before) + (400,), stays=False, proxied=proxied)


OLD = b"POST /predict HTTP/1.0"
LENGTH = b"Content-Length: %d" % len(INNER)
CODED = b"Transfer-Encoding: chunked"
GET: Understood = ("GET", "/predict", b"")


def _get(line: bytes, *lines: bytes) -> bytes:
    return post(*lines, body=b"", first=line)


def _chunks(content: bytes) -> bytes:
    return post(CODED, body=content)


CASES = [
    taken("length", post(LENGTH)),
    taken("chunks", post(CODED, body=CHUNKED)),
    # Upgrades
    taken("h2c, length", post(H2C, LENGTH)),
    taken("h2c, chunks", post(H2C, CODED, body=CHUNKED)),
    taken("h2c, length before it", post(LENGTH, H2C)),
    taken("h2c without a body", _get(b"GET /predict HTTP/1.1", H2C), GET),
    taken("h2c twice", post(H2C, LENGTH) * 2, TAKEN, TAKEN),
    taken("h2c after another", post(LENGTH) + post(H2C, CODED, body=CHUNKED), TAKEN, TAKEN),
    taken("websocket, length", post(WEBSOCKET, LENGTH)),
    taken("websocket", _get(b"GET /predict HTTP/1.1", WEBSOCKET), GET),
    taken("TLS", post(b"Connection: upgrade", b"Upgrade: TLS/1.0, HTTP/2.0", LENGTH)),
    taken("two Upgrades", post(b"Connection: Upgrade", b"Upgrade: a", b"UPGRADE: b", LENGTH)),
    taken("Upgrade without Connection", post(b"Upgrade: h2c", LENGTH)),
    taken("Connection without Upgrade", post(b"Connection: upgrade", LENGTH)),
    taken("h2c and close", post(H2C, b"Connection: close", LENGTH), stays=False),
    taken("h2c, an empty value", post(H2C, b"X:", LENGTH)),
    taken("h2c, Expect", post(H2C, b"Expect: 100-continue", LENGTH)),
    refused("h2c, two lengths", post(H2C, LENGTH, LENGTH)),
    refused("h2c, length and chunks", post(H2C, LENGTH, CODED, body=CHUNKED)),
    refused("h2c, xchunked", post(H2C, b"Transfer-Encoding: xchunked", body=CHUNKED)),
    taken("h2c, HTTP/1.0", post(H2C, LENGTH, first=OLD), stays=False),
    # Length and chunks
    refused("length, then chunks", post(LENGTH, CODED, body=CHUNKED)),
    refused("chunks, then length", post(CODED, LENGTH, body=CHUNKED)),
    refused("length 0, then chunks", post(b"Content-Length: 0", CODED, body=CHUNKED)),
    *(
        refused(f"coding {value!r}", post(b"Transfer-Encoding: " + value, body=CHUNKED))
        for value in (
            b"chunked, identity", b"identity, chunked", b"gzip, chunked", b"chunked, chunked", b"xchunked",
            b"chunkedx", b"identity", b"gzip", b"", b",chunked", b"chunked,", b'"chunked"', b"chunked;q=1",
            b"\x0bchunked", b"chun\tked", b"chunked\x00",
        )
    ),
    taken("coding in capitals", post(b"TRANSFER-ENCODING: CHUNKED", body=CHUNKED)),
    taken("coding between spaces", post(b"Transfer-Encoding:  \tchunked  ", body=CHUNKED)),
    refused("coding before a tab", post(b"Transfer-Encoding: chunked\t", body=CHUNKED)),
    refused("coding twice", post(CODED, CODED, body=CHUNKED)),
    refused("chunked, then identity", post(CODED, b"Transfer-Encoding: identity", body=CHUNKED)),
    refused("identity, then chunked", post(b"Transfer-Encoding: identity", CODED, body=CHUNKED)),
    refused("coding, space before colon", post(b"Transfer-Encoding : chunked", body=CHUNKED)),
    refused("coding, folded", post(b"Transfer-Encoding:\r\n chunked", body=CHUNKED)),
    refused("coding, indented", post(b" Transfer-Encoding: chunked", body=CHUNKED), proxied=False),
    refused("coding, HTTP/1.0", post(CODED, body=CHUNKED, first=OLD)),
    taken("Transfer_Encoding", post(b"Transfer_Encoding: chunked", LENGTH)),
    *(
        refused(f"length {value!r}", post(b"Content-Length: " + value))
        for value in (
            b"+42", b"-42", b"42, 42", b"42,5", b"0x2a", b"42.0", b"4 2", b"4_2", b"4e1", b"", b"four",
            b"42;", b"\xb4\xb2", b"9" * 30,
        )
    ),
    taken("length with leading zeros", post(b"Content-Length: 000%d" % len(INNER))),
    taken("length between spaces", post(b"Content-Length: \t %d \t" % len(INNER))),
    refused("length twice", post(LENGTH, LENGTH)),
    refused("two lengths", post(LENGTH, b"Content-Length: 5")),
    refused("length, space before colon", post(b"Content-Length : %d" % len(INNER))),
    refused("length, folded", post(b"Content-Length:\r\n %d" % len(INNER))),
    taken("no length", post(body=b""), ("POST", "/predict", b"")),
    taken("length 0", post(b"Content-Length: 0", body=b""), ("POST", "/predict", b"")),
    # Chunks
    *(
        taken(f"chunk {content[:12]!r}", _chunks(content))
        for content in (
            SIZE + b";a\r\n" + INNER + b"\r\n0\r\n\r\n",
            SIZE + b';a="b;c"\r\n' + INNER + b"\r\n0;z\r\n\r\n",
            SIZE.upper() + b"\r\n" + INNER + b"\r\n000\r\n\r\n",
            b"000" + SIZE + b"\r\n" + INNER + b"\r\n0\r\n\r\n",
            b"1\r\nG\r\n" + b"%x\r\n" % (len(INNER) - 1) + INNER[1:] + b"\r\n0\r\n\r\n",
        )
    ),
    taken("no chunk", _chunks(b"0\r\n\r\n"), ("POST", "/predict", b"")),
    *(
        refused(f"chunk {content[:14]!r}", _chunks(content))
        for content in (
            SIZE + b";a\n" + INNER + b"\r\n0\r\n\r\n",
            SIZE + b";\ra\r\n" + INNER + b"\r\n0\r\n\r\n",
            SIZE + b";a=\0\r\n" + INNER + b"\r\n0\r\n\r\n",
            SIZE + b" ;a\r\n" + INNER + b"\r\n0\r\n\r\n",
            SIZE + b" \r\n" + INNER + b"\r\n0\r\n\r\n",
            SIZE + b"\t\r\n" + INNER + b"\r\n0\r\n\r\n",
            b" " + CHUNKED, b"+" + CHUNKED, b"-" + CHUNKED, b"0x" + CHUNKED, b"\r\n" + CHUNKED,
            SIZE + b"_\r\n" + INNER + b"\r\n0\r\n\r\n",
            SIZE + b"\n" + INNER + b"\r\n0\r\n\r\n",
            SIZE + b"\r" + INNER + b"\r\n0\r\n\r\n",
            SIZE + b"\r\r\n" + INNER + b"\r\n0\r\n\r\n",
            b"1000000000000002a\r\n" + INNER + b"\r\n0\r\n\r\n",
            b"f" * 20 + b"\r\n" + INNER,
        )
    ),
    refused("line feed alone behind a chunk", _chunks(SIZE + b"\r\n" + INNER + b"\n0\r\n\r\n")),
    refused("nothing behind a chunk", _chunks(SIZE + b"\r\n" + INNER + b"0\r\n\r\n")),
    refused("two bytes too many", _chunks(SIZE + b"\r\n" + INNER + b"XX0\r\n\r\n")),
    refused("line feeds behind the last chunk", _chunks(SIZE + b"\r\n" + INNER + b"\r\n0\n\n")),
    refused("line feed alone at the end", _chunks(SIZE + b"\r\n" + INNER + b"\r\n0\r\n\n")),
    # Trailers are read and dropped.
    taken("trailer", _chunks(CHUNKED[:-2] + b"X: y\r\n\r\n")),
    taken("trailer that closes", _chunks(CHUNKED[:-2] + b"Connection: close\r\n\r\n"), stays=False),
    taken("trailer that upgrades", _chunks(CHUNKED[:-2] + H2C + b"\r\n\r\n")),
    taken("trailer with a host", _chunks(CHUNKED[:-2] + b"Host: y\r\n\r\n")),
    refused("trailer with a length", _chunks(CHUNKED[:-2] + b"Content-Length: 5\r\n\r\n")),
    refused("trailer with a coding", _chunks(CHUNKED[:-2] + CODED + b"\r\n\r\n")),
    refused("trailer without a colon", _chunks(CHUNKED[:-2] + b"none\r\n\r\n")),
    # Lines
    refused("line feeds alone", post(LENGTH, body=b"").replace(b"\r\n", b"\n") + INNER),
    refused("line feed behind the first line", post(LENGTH).replace(b"\r\n", b"\n", 1)),
    refused("line feed behind a header", post(b"X: y\nZ: z", LENGTH)),
    refused("line feed before the body", post(LENGTH, body=b"").replace(b"\r\n\r\n", b"\r\n\n") + INNER),
    refused("carriage returns alone", post(LENGTH, body=b"").replace(b"\r\n", b"\r") + INNER),
    refused("carriage return in a value", post(b"X: y\rZ: z", LENGTH)),
    refused("two carriage returns", post(b"X: y\r", LENGTH)),
    refused("folded header", post(b"X: y\r\n z", LENGTH)),
    refused("folded by a tab", post(b"X: y\r\n\tz", LENGTH)),
    refused("first header indented", post(LENGTH).replace(b"\r\n", b"\r\n ", 1)),
    refused("no colon", post(b"Nothing", LENGTH)),
    refused("no name", post(b": y", LENGTH)),
    refused("space in a name", post(b"X Y: z", LENGTH)),
    refused("tab before a colon", post(b"X\t: y", LENGTH)),
    refused("NUL in a name", post(b"X\0: y", LENGTH)),
    refused("NUL in a value", post(b"X: y\0z", LENGTH)),
    refused("control sign in a value", post(b"X: y\x1bz", LENGTH)),
    taken("Latin-1 in a value", post(b"X: \xe9", LENGTH)),
    taken("empty lines before", b"\r\n\r\n" + post(LENGTH)),
    # First lines
    taken("absolute form", post(LENGTH, first=b"POST http://y/predict HTTP/1.1")),
    taken("asterisk", _get(b"OPTIONS * HTTP/1.1"), ("OPTIONS", "*", b"")),
    taken("two spaces before the target", post(LENGTH, first=b"POST  /predict HTTP/1.1")),
    taken("two spaces behind it", post(LENGTH, first=b"POST /predict  HTTP/1.1")),
    *(
        refused(f"target {target[:12]!r}", _get(b"GET %s HTTP/1.1" % target), proxied=False)
        for target in (
            b"http://y", b"http://y?z", b"http://y:/predict", b"http://y:99999/predict", b"http://[::1/predict",
            b"http:///predict", b"http://y_z/predict", b"http:/predict",
        )
    ),
    refused("authority", _get(b"GET x:80 HTTP/1.1")),
    refused("CONNECT", post(LENGTH, first=b"CONNECT x:80 HTTP/1.1"), proxied=False),
    refused("CONNECT to a path", post(LENGTH, first=b"CONNECT /predict HTTP/1.1")),
    refused("HTTP/0.9", b"GET /predict\r\n\r\n"),
    refused("HTTP/0.9 with headers", _get(b"GET /predict")),
    refused("HTTP/0.9 by name", _get(b"GET /predict HTTP/0.9")),
    refused("HTTP/1.2", _get(b"GET /predict HTTP/1.2")),
    refused("HTTP/2.0", post(LENGTH, first=b"POST /predict HTTP/2.0")),
    refused("HTTP/2's preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    refused("HTTP/1.10", _get(b"GET /predict HTTP/1.10")),
    refused("http/1.1", _get(b"GET /predict http/1.1")),
    refused("space behind the version", _get(b"GET /predict HTTP/1.1 ")),
    refused("space in the target", _get(b"GET /pre dict HTTP/1.1")),
    refused("tab for a space", _get(b"GET\t/predict HTTP/1.1")),
    refused("space before the method", _get(b" GET /predict HTTP/1.1")),
    refused("method in small letters", _get(b"get /predict HTTP/1.1")),
    refused("byte beyond ASCII in the target", _get(b"GET /\xff HTTP/1.1")),
    refused("NUL in the target", _get(b"GET /\0 HTTP/1.1")),
    # Hosts
    refused("no host", b"GET /predict HTTP/1.1\r\n\r\n"),
    refused("no host, length", b"POST /predict HTTP/1.1\r\n" + LENGTH + b"\r\n\r\n" + INNER),
    refused("two hosts", post(b"Host: y", LENGTH)),
    refused("host twice", post(b"HOST: x", LENGTH)),
    refused("host and path", post(LENGTH).replace(b"Host: x", b"Host: x/y", 1)),
    refused("host with a space", post(LENGTH).replace(b"Host: x", b"Host: x y", 1)),
    refused("host and user", post(LENGTH).replace(b"Host: x", b"Host: z@x", 1)),
    taken("host and port", post(LENGTH).replace(b"Host: x", b"Host: x_1.y-2.example:8080", 1)),
    taken("IPv6 host", post(LENGTH).replace(b"Host: x", b"Host: [::1]:80", 1)),
    taken("empty host", post(LENGTH).replace(b"Host: x", b"Host:", 1)),
    taken("HTTP/1.0 without a host", b"GET /predict HTTP/1.0\r\n\r\n", GET, stays=False),
    # Expect
    taken("Expect", post(b"Expect: 100-continue", LENGTH)),
    taken("Expect, chunks", post(b"Expect: 100-Continue", CODED, body=CHUNKED)),
    taken("Expect without a body", _get(b"GET /predict HTTP/1.1", b"Expect: 100-continue"), GET),
    taken("Expect of something else", post(b"Expect: 200-ok", LENGTH)),
    taken("Expect, HTTP/1.0", post(b"Expect: 100-continue", LENGTH, first=OLD), stays=False),
    # Methods and their bodies
    *(
        case
        for method in ("GET", "HEAD", "DELETE", "OPTIONS", "TRACE")
        for line in [b"%s /predict HTTP/1.1" % method.encode()]
        for case in (
            taken(f"{method} with a body", post(LENGTH, first=line), (method, "/predict", INNER)),
            taken(f"{method} in chunks", post(CODED, body=CHUNKED, first=line), (method, "/predict", INNER)),
        )
    ),
    refused("HEAD without a host", b"HEAD /predict HTTP/1.1\r\n\r\n"),
    # One after the other
    taken("two", post(LENGTH) * 2, TAKEN, TAKEN),
    taken("length, then chunks", post(LENGTH) + post(CODED, body=CHUNKED), TAKEN, TAKEN),
    refused("a good one, then no HTTP", post(LENGTH) + b"\0", TAKEN),
    refused("a good one, then a bad head", post(LENGTH) + post(LENGTH, LENGTH), TAKEN),
    refused("a good one, then no host", post(LENGTH) + b"GET /next HTTP/1.1\r\n\r\n", TAKEN),
    refused("a good one, then no path", post(LENGTH) + _get(b"GET http://y HTTP/1.1"), TAKEN, proxied=False),
    refused("a good one, then a bad chunk", post(LENGTH) + _chunks(b"+" + CHUNKED), TAKEN),
    refused("two good ones, then a bad chunk", post(LENGTH) * 2 + _chunks(b"+" + CHUNKED), TAKEN, TAKEN),
    refused("a bad one, then a good one", post(LENGTH, LENGTH) + post(LENGTH)),
    taken("close, then another", post(b"Connection: close", LENGTH) + post(LENGTH), stays=False),
    taken("close among others", post(b"Connection: x, close", LENGTH) + post(LENGTH), stays=False),
    taken("HTTP/1.0, then another", post(LENGTH, first=OLD) * 2, stays=False),
    taken(
        "HTTP/1.0 that would stay",
        post(b"Connection: keep-alive", LENGTH, first=OLD) + post(LENGTH),
        stays=False,
    ),
]  # fmt: skip
