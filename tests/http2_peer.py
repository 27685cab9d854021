"""A client's side of HTTP/2 for tests: frames written by hand, and what the server says read back."""

import asyncio
import socket
import struct
from typing import Any, NamedTuple

import hpack

from image_transformer.grpc.calls.connection import ClientConnection
from image_transformer.grpc.http2.connection import Connection
from image_transformer.grpc.http2.limits import Limits
from image_transformer.grpc.http2.stream import DataReceived
from image_transformer.grpc.server import GrpcServer

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = (
    range(10)
)
END_STREAM = ACK = 1
END_HEADERS, PADDED, WITH_PRIORITY = 4, 8, 32
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR = range(4)
STREAM_CLOSED, FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR = range(5, 10)
ENHANCE_YOUR_CALM = 11
HEAD = [
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/tests.Service/Echo"),
    (":authority", "x"),
    ("te", "trailers"),
    ("content-type", "application/grpc"),
]
LIMITS = Limits(streams=20, message_bytes=1_000_000, ping_seconds=5)


class Frame(NamedTuple):
    """A frame that the server sent."""

    kind: int
    flags: int
    stream: int
    payload: bytes

    @property
    def number(self) -> int:
        """Of a frame that has one alone: an RST_STREAM's code, or a window."""
        return int.from_bytes(self.payload)


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    """As it goes over the wire, whatever it is."""
    head = struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream)
    return head + payload


def settings(**values: int) -> bytes:
    """Settings by their names."""
    names = {"table": 1, "push": 2, "streams": 3, "window": 4, "frame": 5, "list": 6}
    return frame(
        SETTINGS, 0, 0, b"".join(struct.pack(">HI", names[name], value) for name, value in values.items())
    )


def window(stream: int, more: int) -> bytes:
    """A window that is given back."""
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", more))


def reset(stream: int, code: int = CANCEL) -> bytes:
    """The end of a stream."""
    return frame(RST_STREAM, 0, stream, struct.pack(">I", code))


def message(content: bytes) -> bytes:
    """A message behind gRPC's prefix."""
    return b"\0" + struct.pack(">I", len(content)) + content


def frames(data: bytes) -> list[Frame]:
    """Whole frames of what was sent."""
    found = []
    while data:
        length = int.from_bytes(data[:3])
        found.append(Frame(data[3], data[4], int.from_bytes(data[5:9]), data[9 : 9 + length]))
        assert len(found[-1].payload) == length
        data = data[9 + length :]
    return found


class Client:
    """A server's connection, spoken to in bytes.

    Attributes:
        server: It.
        now: The time that it is told.
        events: All that it told of the last bytes.
    """

    def __init__(self, limits: Limits = LIMITS, greeting: bytes = PREFACE + frame(SETTINGS)) -> None:
        self.now = 1000.0
        self.server = Connection(limits, lambda: self.now)
        self.server.open()
        self.encoder = hpack.Encoder()
        self.events: list[Any] = []
        if greeting:
            self.says(greeting)

    def says(self, *data: bytes) -> list[Frame]:
        """Sends bytes, and returns what comes back."""
        self.events = self.server.receive(b"".join(data))
        for event in self.events:
            if type(event) is DataReceived and not event.ended:
                event.stream.in_events -= len(event.data)
        return self.hears()

    def hears(self) -> list[Frame]:
        """What was sent since."""
        return frames(self.server.outflow.take())

    def block(self, *more: tuple[str, str], head: list[tuple[str, str]] = HEAD) -> bytes:
        """A header block."""
        return bytes(self.encoder.encode([*head, *more]))

    def call(self, stream: int, flags: int = END_HEADERS, *more: tuple[str, str]) -> bytes:
        """A call's HEADERS."""
        return frame(HEADERS, flags, stream, self.block(*more))

    def begins(self, stream: int, flags: int = END_HEADERS) -> Any:
        """Begins a call, and returns the server's stream."""
        self.says(self.call(stream, flags))
        return self.server.streams[stream]


def only(sent: list[Frame], kind: int) -> list[Frame]:
    """Frames of a kind."""
    return [one for one in sent if one.kind == kind]


def ended(sent: list[Frame]) -> tuple[int, bytes]:
    """Why the connection ends: a GOAWAY's code and reason."""
    (goaway,) = only(sent, GOAWAY)
    return int.from_bytes(goaway.payload[4:8]), goaway.payload[8:]


class Wire(asyncio.Transport):
    """A transport that keeps what is written, and is told when it is full."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.closed = self.reading = False
        self.at_its_end = False
        self.buffered = 0
        self.ends = socket.socketpair()  # the kernel keeps what is sent to the second and not read there

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self.ends[0] if name == "socket" else default

    def write(self, data: Any) -> None:
        self.writes.append(bytes(data))

    def write_eof(self) -> None:
        self.at_its_end = True

    def abort(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return self.buffered


class Caller:
    """A client of a whole gRPC server, without a socket.

    Attributes:
        connection: The server's side.
        wire: What is between them.
    """

    def __init__(self, server: GrpcServer, greeting: bytes = PREFACE + frame(SETTINGS)) -> None:
        self.connection = ClientConnection(server)
        self.wire = Wire()
        self.connection.connection_made(self.wire)
        self.encoder = hpack.Encoder()
        self._decoder = hpack.Decoder()
        self.connection.data_received(greeting)

    def says(self, *data: bytes) -> None:
        """Sends bytes in one read."""
        self.connection.data_received(b"".join(data))

    def call(self, stream: int, *more: tuple[str, str], flags: int = END_HEADERS, path: str = "") -> bytes:
        """A call's HEADERS."""
        head = [(name, path if name == ":path" and path else value) for name, value in HEAD]
        return frame(HEADERS, flags, stream, self.encoder.encode([*head, *more]))

    async def hears(self) -> list[Frame]:
        """What is sent once all that can be done is done."""
        for _ in range(20):
            await asyncio.sleep(0)
        heard = frames(b"".join(self.wire.writes))
        self.wire.writes.clear()
        return heard

    def fields(self, block: Frame) -> dict[str, str]:
        """The fields of HEADERS."""
        return {str(name): str(value) for name, value in self._decoder.decode(block.payload)}

    async def status(self, stream: int) -> dict[str, str]:
        """How a call ends: all fields of its headers and trailers."""
        found: dict[str, str] = {}
        for one in await self.hears():
            if one.kind == HEADERS and one.stream == stream:
                found |= self.fields(one)
        return found

    def goes(self) -> None:
        """Breaks the connection off."""
        self.connection.connection_lost(None)
        for end in self.wire.ends:
            end.close()
