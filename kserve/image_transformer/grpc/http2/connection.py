"""A server's side of an HTTP/2 connection: bytes in, events and bytes out (RFC 9113)."""

from typing import Final

from image_transformer.grpc.http2.control import Control
from image_transformer.grpc.http2.frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    FRAME_BYTES,
    HEAD,
    HEAD_BYTES,
    HEADERS,
    MOST,
    PADDED,
    PREFACE,
    SETTINGS,
    WITH_PRIORITY,
    ErrorCode,
    Http2ConnectionError,
    Http2StreamError,
    rst_stream,
)
from image_transformer.grpc.http2.headers import Block, HeaderBlocks, are_trailers
from image_transformer.grpc.http2.limits import CONTINUATIONS, EMPTY_COST, MOST_HEADER_LIST_BYTES, TINY_BYTES
from image_transformer.grpc.http2.stream import DataReceived, Event, RequestReceived, Stream

_NOTHING: Final = memoryview(b"")


class _OpenBlock:
    """A header block of which more is to come.

    Attributes:
        stream, flags: Of its HEADERS frame.
        data: What there is of it.
        more: How many frames continued it.
    """

    __slots__ = ("data", "flags", "more", "stream")

    def __init__(self, stream: int, flags: int, data: memoryview) -> None:
        self.stream = stream
        self.flags = flags
        self.data = bytearray(data)
        self.more = 0


class Connection(Control):
    """Reads a client's frames: those of requests here, the others in `Control`; `Sending` has the answers.

    Nothing that a client sends raises anything: what is wrong ends a stream or the connection, whose last
    words are in `outflow` then, and `over` is set.

    Attributes:
        greeted: Whether the client's preface has come.
    """

    _rest = b""
    greeted = False
    _open_block: _OpenBlock | None = None
    _blocks: HeaderBlocks

    def open(self) -> None:
        """See `Control.open`."""
        super().open()
        self._blocks = HeaderBlocks()

    def receive(self, data: bytes) -> list[Event]:
        """Reads what has come; data of an event is a part of it.

        Returns:
            What came of it, in its order. Of a stream that was reset at once there is everything too, and
            `Stream.closed` is set.
        """
        if self.over:
            return self._told()
        if self._rest:
            data = self._rest + data
        try:
            at = self._read(data, 0 if self.greeted else self._begin(data))
            self._rest = data[at:]
        except Http2ConnectionError as fault:
            self._rest = b""
            self._fail(fault)
        return self._told()

    def _begin(self, data: bytes) -> int:
        """Reads the client's preface, and that SETTINGS follow; returns where, or a place beyond the data."""
        start = data[: len(PREFACE)]
        if not PREFACE.startswith(start):
            raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "this is gRPC, and no HTTP/2 came")
        if len(data) < len(PREFACE) + HEAD_BYTES:
            return 0
        if data[len(PREFACE) + 3] != SETTINGS:
            raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "SETTINGS come first")
        self.greeted = True
        return len(PREFACE)

    def _read(self, data: bytes, at: int) -> int:
        """Reads whole frames; returns where the rest begins."""
        if not self.greeted:
            return at
        end = len(data)
        view = memoryview(data)
        unpack = HEAD.unpack_from
        while end - at >= HEAD_BYTES:
            high, low, kind, flags, number = unpack(data, at)
            length = high << 8 | low
            if length > FRAME_BYTES:
                raise Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, "a frame is too long")
            start = at + HEAD_BYTES
            if start + length > end:
                break
            at = start + length
            number &= MOST
            if self._open_block is not None and kind != CONTINUATION:
                raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "a header block is interrupted")
            try:
                if kind == DATA:
                    self._data(flags, number, view[start:at])
                elif kind == HEADERS:
                    self._headers(flags, number, view[start:at])
                elif self._open_block is not None:
                    self._continuation(self._open_block, flags, number, view[start:at])
                else:
                    self._of_control(kind, flags, number, view[start:at])
            except Http2StreamError as fault:
                self._fail_stream(fault)
        return at

    def _data(self, flags: int, number: int, payload: memoryview) -> None:
        size = len(payload)
        self._intake.came(size)
        stream = self.streams.get(number)
        if stream is None:
            self._of_closed(number)
            return
        if stream.ended:
            raise Http2StreamError(number, ErrorCode.STREAM_CLOSED)
        self._intake.came_for(stream, size)
        if flags & PADDED:
            payload = _unpadded(payload)
        if stream.left is not None:
            stream.left -= len(payload)
            if stream.left < 0 or (stream.left and flags & END_STREAM):
                raise Http2StreamError(number, ErrorCode.PROTOCOL_ERROR)
        if flags & END_STREAM:
            stream.ended = True
        elif not payload:
            self._spend(EMPTY_COST)
            self._intake.settle(stream)
            return
        else:
            if len(payload) < TINY_BYTES:
                self._spend()
            stream.in_events += len(payload)
        self._events.append(DataReceived(stream, payload, stream.ended))

    def _headers(self, flags: int, number: int, payload: memoryview) -> None:
        if flags & PADDED:
            payload = _unpadded(payload)
        if flags & WITH_PRIORITY:  # which nobody follows any more, section 5.3.2
            if len(payload) < 5:
                raise Http2ConnectionError(
                    ErrorCode.FRAME_SIZE_ERROR, "HEADERS are too short for their priority"
                )
            payload = payload[5:]
        if flags & END_HEADERS:
            self._block(number, flags, bytes(payload))
        else:
            self._open_block = _OpenBlock(number, flags, payload)

    def _continuation(self, block: _OpenBlock, flags: int, number: int, payload: memoryview) -> None:
        if number != block.stream:
            raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "a header block is interrupted")
        block.data += payload
        block.more += 1
        if block.more > CONTINUATIONS or len(block.data) > MOST_HEADER_LIST_BYTES:
            raise Http2ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, "a header block has no end")
        if flags & END_HEADERS:
            self._open_block = None
            self._block(number, block.flags, bytes(block.data))

    def _block(self, number: int, flags: int, data: bytes) -> None:
        """Takes a whole block, unfolded whatever stream it is of: each may change the table."""
        block = self._blocks.unfold(data)
        stream = self.streams.get(number)
        if stream is not None:
            self._trailers(stream, flags, block)
            return
        if not number % 2:
            raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "a client's streams have odd numbers")
        if number <= self._highest:
            self._of_closed(number)
            return
        self._highest = number
        if self.left:
            self._spend()
            self._was_late(number)
            return
        self.last = number
        if len(self.streams) >= self.limits.streams:
            self._spend(EMPTY_COST)
            self.outflow.parts.append(rst_stream(number, ErrorCode.REFUSED_STREAM))
            self._was_late(number)
        elif block.objection is not None:
            raise Http2StreamError(number, ErrorCode.PROTOCOL_ERROR)
        else:
            self._request(number, flags, block)

    def _request(self, number: int, flags: int, block: Block) -> None:
        self.came_at = self._clock()
        stream = Stream(number, self.outflow.initial_window, self.came_at, self.received)
        stream.left = block.length
        if flags & END_STREAM:
            if block.length:
                raise Http2StreamError(number, ErrorCode.PROTOCOL_ERROR)
            stream.ended = True
        self.streams[number] = stream
        self._events.append(RequestReceived(stream, block))
        if stream.ended:
            self._events.append(DataReceived(stream, _NOTHING, True))

    def _trailers(self, stream: Stream, flags: int, block: Block) -> None:
        if stream.ended:
            raise Http2StreamError(stream.id, ErrorCode.STREAM_CLOSED)
        if not flags & END_STREAM or stream.left or block.too_long or not are_trailers(block.fields):
            raise Http2StreamError(stream.id, ErrorCode.PROTOCOL_ERROR)
        stream.ended = True
        self._events.append(DataReceived(stream, _NOTHING, True))

    def _of_closed(self, number: int) -> None:
        """A frame of a request came whose stream is not open.

        Raises:
            Http2ConnectionError: the client had ended it itself, or has never opened it (section 5.1).
        """
        self._known(number)
        if not self._is_late(number):
            raise Http2ConnectionError(ErrorCode.STREAM_CLOSED, "a frame of a closed stream")
        self._spend()


def _unpadded(payload: memoryview) -> memoryview:
    """Returns what is no padding, section 6.1."""
    if not payload or payload[0] >= len(payload):
        raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "a frame has more padding than bytes")
    return payload[1 : len(payload) - payload[0]]
