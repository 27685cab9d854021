"""What a client may send: the windows it is given (RFC 9113, sections 5.2 and 6.9)."""

from collections.abc import Callable
from typing import Final

from image_transformer.grpc.http2.frames import (
    WINDOW,
    ErrorCode,
    Http2ConnectionError,
    Http2StreamError,
    window_update,
)
from image_transformer.grpc.http2.limits import CONNECTION_WINDOW
from image_transformer.grpc.http2.stream import Stream

_WORTH_A_FRAME: Final = WINDOW // 2


class Intake:
    """Gives windows, so that what is kept of a connection has a bound.

    Each stream has a window of 65,535 bytes, less what is kept of it. A message that is longer needs more,
    and has it reserved whole before it is let in, so that it can always come to its end; those for which no
    room is left wait in their order. So all that a connection can have kept is one window for each stream,
    and what may be reserved. Its own window bounds what is on its way, and is given back at once.

    Attributes:
        received: Bytes of data that came in all.
    """

    def __init__(self, reservable: int, out: list[bytes | memoryview], clock: Callable[[], float]) -> None:
        self._clock = clock
        self._free = reservable
        self._asking: dict[Stream, int] = {}
        self._window = WINDOW
        self._out = out
        self.received = 0

    def open(self) -> None:
        """Gives the connection its window."""
        self._out.append(window_update(0, CONNECTION_WINDOW - WINDOW))
        self._window = CONNECTION_WINDOW

    def came(self, size: int) -> None:
        """Counts a frame of data for the connection, whatever stream it is of.

        Raises:
            Http2ConnectionError: it is more than the client may send.
        """
        self.received += size
        self._window -= size
        if self._window < CONNECTION_WINDOW // 2:
            if self._window < 0:
                raise Http2ConnectionError(
                    ErrorCode.FLOW_CONTROL_ERROR, "the connection's window is exceeded"
                )
            self._out.append(window_update(0, CONNECTION_WINDOW - self._window))
            self._window = CONNECTION_WINDOW

    def came_for(self, stream: Stream, size: int) -> None:
        """Counts a frame of data for its stream, its padding too.

        Raises:
            Http2StreamError: it is more than the client may send.
        """
        stream.receive_window -= size
        if stream.receive_window < 0:
            raise Http2StreamError(stream.id, ErrorCode.FLOW_CONTROL_ERROR)

    def settle(self, stream: Stream) -> None:
        """Gives a stream what it may send beside what is kept, where that is worth a frame or waited for."""
        if stream.ended or stream.closed:
            if not stream.held:
                self.release(stream)
            return
        if stream.message > WINDOW + stream.reserved:
            self._ask(stream)
        kept = stream.held + stream.in_events
        if stream.reserved and stream.message <= WINDOW and kept <= WINDOW:
            self.release(stream)
        more = WINDOW + stream.reserved - kept - stream.receive_window
        if more >= _WORTH_A_FRAME or (more > 0 and stream.receive_window < stream.missing):
            stream.receive_window += more
            self._out.append(window_update(stream.id, more))

    def release(self, stream: Stream) -> None:
        """Takes back what a stream had reserved or asked for, and gives it to those who wait."""
        if stream.reserved:
            self._free += stream.reserved
            stream.reserved = 0
        if self._asking:
            if stream.closed or stream.ended:
                self._asking.pop(stream, None)
            self._grant()

    def _ask(self, stream: Stream) -> None:
        if stream in self._asking:
            return
        self._asking[stream] = stream.message - WINDOW - stream.reserved
        self._grant()

    def _grant(self) -> None:
        while self._asking:
            stream, wanted = next(iter(self._asking.items()))
            if wanted > self._free:
                break
            del self._asking[stream]
            self._free -= wanted
            stream.reserved += wanted
            stream.came_at = self._clock()
            stream.came_after = self.received
            self.settle(stream)
