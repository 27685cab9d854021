"""What a client is sent: as much as its windows take (RFC 9113, sections 5.2 and 6.9)."""

import math
from typing import Final

from image_transformer.grpc.http2 import frames
from image_transformer.grpc.http2.frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    FRAME_BYTES,
    HEAD,
    HEADERS,
    MOST,
    WINDOW,
    ErrorCode,
    Http2ConnectionError,
    Http2StreamError,
)
from image_transformer.grpc.http2.stream import Stream

_BYTES_A_TURN: Final = 262_144
_WORTH_THANKS: Final = 1024
# A client that changes the size of the table for headers has to be told in the next block; ours is empty.
_NO_TABLE: Final = b"\x20"


class Outflow:
    """Frames that are to be written, and data that waits until its client takes it.

    Attributes:
        parts: What is to be written; the same list for ever.
        frames: How many frames of headers and data were written; none for those of a few bytes that the
            client's windows cut out of longer data, or it would earn patience by windows of one byte.
        paused: Whether the transport takes no more: data waits then.
        unsent: Bytes of data that wait, on all streams.
        went_at: When data that had to wait went out last.
    """

    def __init__(self) -> None:
        self.parts: list[bytes | memoryview] = []
        self.frames = 0
        self.paused = False
        self.unsent = 0
        self.went_at = -math.inf
        self._window = WINDOW
        self._initial = WINDOW
        self._frame_bytes = FRAME_BYTES
        self._before_headers = b""
        self._waiting: dict[int, Stream] = {}  # have something to send, and a window

    @property
    def initial_window(self) -> int:
        """A new stream's window."""
        return self._initial

    @property
    def waits(self) -> bool:
        """Whether `pump` has something to do."""
        return bool(self._waiting) and self._window > 0 and not self.paused

    def take(self) -> bytes:
        """Returns all that is to be written."""
        written = b"".join(self.parts)
        self.parts.clear()
        return written

    def headers(self, stream: Stream, block: bytes, flags: int = 0) -> None:
        """Writes a block of headers; with END_STREAM it ends the answer."""
        if self._before_headers:
            block, self._before_headers = self._before_headers + block, b""
        self.parts.append(frames.header_frames(stream.id, block, flags))
        self.frames += 1

    def whole(self, stream: Stream, headers: bytes, body: bytes, trailers: bytes) -> bool:
        """Writes an answer in one piece, where nothing holds it up.

        Args:
            stream: Of which nothing was sent yet.
            headers: A block that fits in a frame.
            body: Its data.
            trailers: A block that fits in a frame.

        Returns:
            Whether it did.
        """
        length = len(body)
        if length > stream.send_window or length > self._window or length > FRAME_BYTES:
            return False
        if self.paused or self._before_headers:
            return False
        number = stream.id
        pack = HEAD.pack
        self.parts += (
            pack(0, len(headers), HEADERS, END_HEADERS, number),
            headers,
            pack(length >> 8, length & 0xFF, DATA, 0, number),
            body,
            pack(0, len(trailers), HEADERS, END_HEADERS | END_STREAM, number),
            trailers,
        )
        stream.send_window -= length
        self._window -= length
        self.frames += 3
        return True

    def data(self, stream: Stream, data: bytes, now: float) -> None:
        """Has data written in its turn; `pump` does so."""
        stream.went_at = now
        stream.unsent.append(memoryview(data))
        self.unsent += len(data)
        if stream.send_window > 0:
            self._waiting[stream.id] = stream

    def end(self, stream: Stream, trailers: bytes) -> bool:
        """Has an answer's end written behind its data, and tells whether that is done."""
        if stream.unsent:
            stream.trailers = trailers
            return False
        self.headers(stream, trailers, END_STREAM)
        return True

    def pump(self, now: float) -> list[Stream]:
        """Writes a frame of each stream in turn while there are windows; returns those that wait no more."""
        through = []
        turn = 0
        while self._waiting and self._window > 0 and turn < _BYTES_A_TURN and not self.paused:
            number = next(iter(self._waiting))
            stream = self._waiting.pop(number)
            chunk = stream.unsent[0]
            length = min(len(chunk), stream.send_window, self._window, self._frame_bytes)
            self.parts += (HEAD.pack(length >> 8, length & 0xFF, DATA, 0, number), chunk[:length])
            if length >= _WORTH_THANKS or length == len(chunk):
                self.frames += 1
            turn += length
            stream.went_at = self.went_at = now
            self.unsent -= length
            stream.send_window -= length
            self._window -= length
            if length < len(chunk):
                stream.unsent[0] = chunk[length:]
            else:
                stream.unsent.popleft()
            if not stream.unsent:
                if stream.trailers is not None:
                    self.headers(stream, stream.trailers, END_STREAM)
                through.append(stream)
            elif stream.send_window > 0:
                self._waiting[number] = stream
        return through

    def drop(self, stream: Stream) -> None:
        """Forgets what a stream has not sent."""
        self.unsent -= sum(map(len, stream.unsent))
        stream.unsent.clear()
        self._waiting.pop(stream.id, None)

    def widen(self, stream: Stream | None, more: int) -> None:
        """Takes a window that the client gives, for a stream or (None) for the connection.

        Raises:
            Http2ConnectionError, Http2StreamError: there is no such window.
        """
        if stream is None:
            if not more:
                raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "a WINDOW_UPDATE of 0")
            self._window += more
            if self._window > MOST:
                raise Http2ConnectionError(
                    ErrorCode.FLOW_CONTROL_ERROR, "the connection's window is above 2^31-1"
                )
            return
        if not more:
            raise Http2StreamError(stream.id, ErrorCode.PROTOCOL_ERROR)
        stream.send_window += more
        if stream.send_window > MOST:
            raise Http2StreamError(stream.id, ErrorCode.FLOW_CONTROL_ERROR)
        if stream.unsent and stream.send_window > 0:
            self._waiting[stream.id] = stream

    def adjust(self, values: list[tuple[int, int]], streams: dict[int, Stream]) -> None:
        """Takes the client's settings; the window's size changes that of open streams too.

        Raises:
            Http2ConnectionError: a stream's window would become too large.
        """
        initial = self._initial
        for name, value in values:
            if name == frames.INITIAL_WINDOW_SIZE:
                initial = value
            elif name == frames.MAX_FRAME_SIZE:
                self._frame_bytes = min(value, 4 * FRAME_BYTES)
            elif name == frames.HEADER_TABLE_SIZE:
                self._before_headers = _NO_TABLE
        more = initial - self._initial
        self._initial = initial
        if not more:
            return
        for stream in streams.values():
            stream.send_window += more
            if stream.send_window > MOST:
                raise Http2ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, "a stream's window is above 2^31-1")
            if stream.send_window <= 0:
                self._waiting.pop(stream.id, None)
            elif stream.unsent:
                self._waiting[stream.id] = stream
