"""A proxy as companies have, HTTP (forwarding, CONNECT) and SOCKS5 on one port; it notes what it is asked.

Whatever host it is asked for, it goes to that port of this machine: so tests have hosts that are another.
"""

import contextlib
import selectors
import socket
import struct
import threading
from typing import Final

GATEWAY_PAGE: Final = b"<html><head><title>502 Bad Gateway</title></head><body>squid</body></html>"


def http_answer(status: str, body: bytes, *, kind: str = "text/html") -> bytes:
    """A whole HTTP answer."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close"
    return f"{head}\r\n\r\n".encode() + body


class ForwardProxy:
    """Takes connections until it is closed.

    Attributes:
        port: Where it listens, on 127.0.0.1.
        asked: What for, in order: `GET http://store.example/`, `CONNECT host:443`, `SOCKS host:80`.
        answer: Bytes that every HTTP request gets in place of the right answer; SOCKS is refused then.
    """

    def __init__(self, answer: bytes | None = None) -> None:
        self.answer = answer
        self.asked: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def socks(self) -> str:
        return f"socks5://127.0.0.1:{self.port}"

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError, EOFError):
            first = client.recv(1, socket.MSG_PEEK)
            if first == b"\x05":
                self._serve_socks(client)
            elif first:
                self._serve_http(client)

    def _serve_socks(self, client: socket.socket) -> None:
        """RFC 1928, without authentication, CONNECT alone."""
        _, methods = _exactly(client, 2)
        _exactly(client, methods)
        client.sendall(b"\x05\x00")
        _, _, _, kind = _exactly(client, 4)
        if kind == 3:
            host = _exactly(client, _exactly(client, 1)[0]).decode()
        else:
            host = socket.inet_ntop(
                *(
                    (socket.AF_INET, _exactly(client, 4))
                    if kind == 1
                    else (socket.AF_INET6, _exactly(client, 16))
                )
            )
        (port,) = struct.unpack(">H", _exactly(client, 2))
        self.asked.append(f"SOCKS {host}:{port}")
        refused = self.answer is not None
        client.sendall(b"\x05" + (b"\x05" if refused else b"\x00") + b"\x00\x01" + bytes(6))
        if not refused:
            with socket.create_connection(("127.0.0.1", port)) as server:
                _pump(client, server)

    def _serve_http(self, client: socket.socket) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            data += _some(client)
        head, _, rest = data.partition(b"\r\n\r\n")
        request, *headers = head.decode().split("\r\n")
        method, target, _ = request.split()
        self.asked.append(f"{method} {target}")
        if self.answer is not None:
            lengths = [
                line.partition(":")[2] for line in headers if line.lower().startswith("content-length:")
            ]
            while len(rest) < int(lengths[0] if lengths else 0):
                rest += _some(client)
            client.sendall(self.answer)
            return
        where, _, path = target.removeprefix("http://").partition("/")
        with socket.create_connection(("127.0.0.1", int(where.rpartition(":")[2]))) as server:
            if method == "CONNECT":
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                kept = [line for line in headers if not line.lower().startswith(("connection:", "proxy-"))]
                lines = [f"{method} /{path} HTTP/1.1", *kept, "Connection: close", "", ""]
                server.sendall("\r\n".join(lines).encode() + rest)
            _pump(client, server)


def _some(connection: socket.socket) -> bytes:
    if data := connection.recv(65536):
        return data
    raise EOFError


def _exactly(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        data += connection.recv(count - len(data)) or _some(connection)
    return data


def _pump(client: socket.socket, server: socket.socket) -> None:
    with selectors.DefaultSelector() as selector:
        selector.register(client, selectors.EVENT_READ, server)
        selector.register(server, selectors.EVENT_READ, client)
        while True:
            for key, _ in selector.select():
                data = key.fileobj.recv(65536)  # type: ignore[union-attr]
                if not data:
                    return
                key.data.sendall(data)
