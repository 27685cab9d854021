"""What is said to an S3, word by word: a proxy before a real one that records, and refuses as Amazon would.

Without a real one behind it, it answers what it is told to: the faults that MinIO cannot be made to show.
"""

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from xml.sax.saxutils import escape


@dataclass(frozen=True)
class Request:
    """What arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    """What goes back."""

    status: int
    body: bytes = b""
    content_type: str = "application/xml"
    headers: dict[str, str] = field(default_factory=dict)


def refusal(status: int, code: str, message: str, **more: str) -> Answer:
    """An error as Amazon's S3 writes it."""
    elements = {"Code": code, "Message": message, **more, "RequestId": "4442587FB7D0A2F9", "HostId": "abc="}
    inner = "".join(f"<{name}>{escape(text)}</{name}>" for name, text in elements.items())
    return Answer(status, f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{inner}</Error>'.encode())


Decide = Callable[[Request], Answer | None]


@dataclass
class Wire:
    """The proxy.

    Attributes:
        url: Where it listens.
        requests: What arrived, in order.
        decide: Answers a request in the place of the S3 behind; None lets it through.
    """

    url: str
    requests: list[Request] = field(default_factory=list)
    decide: Decide | None = None

    def puts(self) -> list[Request]:
        """The writes among the requests."""
        return [request for request in self.requests if request.method == "PUT"]


@contextmanager
def wire(to_port: int | None = None, decide: Decide | None = None) -> Iterator[Wire]:
    """Start one, before the S3 at a port of this machine or alone."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            request = Request(self.command, self.path, dict(self.headers), body)
            found.requests.append(request)
            answer = found.decide(request) if found.decide else None
            if answer is not None:
                self._send(answer.status, {"Content-Type": answer.content_type} | answer.headers, answer.body)
                return
            assert to_port is not None, f"nobody answers {self.command} {self.path}"
            # Its Host is signed, so it goes on as it came.
            real = http.client.HTTPConnection("127.0.0.1", to_port, timeout=30)
            real.request(self.command, self.path, body, request.headers)
            said = real.getresponse()
            self._send(said.status, dict(said.getheaders()), said.read())
            real.close()

        def do_GET(self) -> None:
            self._serve()

        def do_HEAD(self) -> None:
            self._serve()

        def do_PUT(self) -> None:
            self._serve()

        def do_POST(self) -> None:
            self._serve()

        def do_DELETE(self) -> None:
            self._serve()

        def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response_only(status)
            length = (
                headers.get("Content-Length", str(len(body))) if self.command == "HEAD" else str(len(body))
            )
            for name, value in headers.items():
                if name.lower() not in {"content-length", "transfer-encoding", "connection"}:
                    self.send_header(name, value)
            self.send_header("Content-Length", length)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *arguments: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Wire(f"http://127.0.0.1:{server.server_port}", decide=decide)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
