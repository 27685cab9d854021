"""Frames that steer a connection, and the connection's end (RFC 9113, sections 6.3 to 6.9)."""

from typing import Final

from image_transformer.grpc.http2 import frames
from image_transformer.grpc.http2.frames import (
    ACK,
    MOST,
    ErrorCode,
    Http2ConnectionError,
    Http2StreamError,
    goaway,
    read_settings,
    rst_stream,
)
from image_transformer.grpc.http2.limits import HEADER_LIST_BYTES, SETTINGS_COST
from image_transformer.grpc.http2.sending import Sending
from image_transformer.grpc.http2.stream import Stream, StreamReset

_LEAVING: Final = b"leaving!"
_ALIVE: Final = b"alive???"


class Control(Sending):
    """Answers pings and settings, takes windows and resets, and sends the client away.

    Attributes:
        last: The highest stream that is answered; it stays as it is once the client was told it.
        left: Whether the client was told which streams are the last; it opens others elsewhere.
    """

    last = 0
    left = False
    _highest = 0  # that the client has opened
    _leaving = False

    def open(self) -> None:
        """Says what the client has to know first."""
        settings = (
            (frames.MAX_CONCURRENT_STREAMS, self.limits.streams),
            (frames.MAX_HEADER_LIST_SIZE, HEADER_LIST_BYTES),
        )
        self.outflow.parts.append(frames.settings(settings))
        self._intake.open()

    def ask_for_a_sign(self) -> None:
        """Pings a client of whom nothing is heard."""
        self.outflow.parts.append(frames.frame(frames.PING, 0, 0, _ALIVE))

    def leave(self) -> None:
        """Sends the client away: what it has asked, and what it asks before it hears of it, is answered.

        The first GOAWAY names no stream, and the ping behind it is answered by who has read that.
        """
        if not self._leaving and not self.over:
            self._leaving = True
            self.outflow.parts.append(goaway(MOST, ErrorCode.NO_ERROR))
            self.outflow.parts.append(frames.frame(frames.PING, 0, 0, _LEAVING))

    def leave_now(self) -> None:
        """Names the last stream that is answered, where `leave` waits for the client's sign."""
        if not self.left and not self.over:
            self._leaving = self.left = True
            self.outflow.parts.append(goaway(self.last, ErrorCode.NO_ERROR))

    def given_up(self, stream: Stream) -> None:
        """Takes note that what a client does ends its stream ahead of the answer that was under way."""
        if self.over or stream.closed:
            return
        try:
            self._patience.given_up(self._clock(), stream.since, stream.timeout)
        except Http2ConnectionError as fault:
            self._fail(fault)

    def close(self) -> list[Stream]:
        """Takes note that the connection is gone.

        Returns:
            The streams that were under way, and those whose end was not told yet.
        """
        self.over = True
        streams = list(self.streams.values())
        for stream in streams:
            self._close(stream)
        return list(dict.fromkeys((*streams, *(event.stream for event in self._told()))))

    def _fail(self, fault: Http2ConnectionError) -> None:
        """Ends the connection, section 5.4.1."""
        self.over = self.left = True
        self.outflow.parts.append(goaway(self.last, fault.code, fault.reason))
        for stream in tuple(self.streams.values()):
            self._close(stream)
            self._events.append(StreamReset(stream))

    def _fail_stream(self, fault: Http2StreamError) -> None:
        """Ends a stream, section 5.4.2."""
        stream = self.streams.get(fault.stream)
        self._patience.reset(self._clock())
        self.outflow.parts.append(rst_stream(fault.stream, fault.code))
        self._was_late(fault.stream)
        if stream is not None:
            self._close(stream)
            self._events.append(StreamReset(stream))

    def _spend(self, cost: int = 1) -> None:
        self._patience.answered(self.outflow.frames)
        self._patience.control(self._clock(), cost)

    def _known(self, number: int) -> Stream | None:
        """Returns a stream that is not closed, and none for one that is.

        Raises:
            Http2ConnectionError: it was never opened.
        """
        stream = self.streams.get(number)
        if stream is None and (number > self._highest or not number % 2):
            raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "a frame of an idle stream")
        return stream

    def _of_control(self, kind: int, flags: int, number: int, payload: memoryview) -> None:
        size = len(payload)
        if kind == frames.WINDOW_UPDATE:
            self._spend()
            _check(size == 4, "a WINDOW_UPDATE has 4 bytes")
            stream = self._known(number) if number else None
            if stream is not None or not number:
                self.outflow.widen(stream, int.from_bytes(payload) & MOST)
                self._pump()
        elif kind == frames.PING:
            _check(size == 8, "a PING has 8 bytes")
            _check(not number, "a PING of a stream", ErrorCode.PROTOCOL_ERROR)
            self._ping(bytes(payload), ack=bool(flags & ACK))
        elif kind == frames.SETTINGS:
            self._settings(flags, number, payload)
        elif kind == frames.RST_STREAM:
            _check(size == 4, "an RST_STREAM has 4 bytes")
            self._reset_by_client(number)
        elif kind == frames.PRIORITY:
            self._spend()
            _check(bool(number), "a PRIORITY of no stream", ErrorCode.PROTOCOL_ERROR)
            if size != 5:
                self._known(number)
                raise Http2StreamError(number, ErrorCode.FRAME_SIZE_ERROR)
        elif kind == frames.GOAWAY:
            self._spend()
            _check(not number, "a GOAWAY of a stream", ErrorCode.PROTOCOL_ERROR)
            _check(size >= 8, "a GOAWAY has 8 bytes and more")
        elif kind in (frames.PUSH_PROMISE, frames.CONTINUATION):
            raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "a frame that has no place here")
        else:
            self._spend()  # of a kind that is unknown, section 5.5

    def _ping(self, payload: bytes, *, ack: bool) -> None:
        self._spend()
        if not ack:
            self._patience.ping(self._clock())
            self.outflow.parts.append(frames.frame(frames.PING, ACK, 0, payload))
        elif payload == _LEAVING and self._leaving:
            self.leave_now()

    def _settings(self, flags: int, number: int, payload: memoryview) -> None:
        _check(not number, "SETTINGS of a stream", ErrorCode.PROTOCOL_ERROR)
        if flags & ACK:
            self._spend()
            _check(not payload, "an acknowledgement of SETTINGS has none")
            return
        _check(not len(payload) % 6, "SETTINGS have 6 bytes each")
        self._spend(SETTINGS_COST)
        self.outflow.adjust(read_settings(payload), self.streams)
        self.outflow.parts.append(frames.frame(frames.SETTINGS, ACK, 0))
        self._pump()

    def _reset_by_client(self, number: int) -> None:
        _check(bool(number), "an RST_STREAM of no stream", ErrorCode.PROTOCOL_ERROR)
        self._spend()
        stream = self._known(number)
        if stream is not None:
            self._patience.given_up(self._clock(), stream.since, stream.timeout)
            self._was_late(number)
            self._close(stream)
            self._events.append(StreamReset(stream))


def _check(holds: bool, rule: str, code: ErrorCode = ErrorCode.FRAME_SIZE_ERROR) -> None:
    if not holds:
        raise Http2ConnectionError(code, rule)
