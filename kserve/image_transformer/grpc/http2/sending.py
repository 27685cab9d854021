"""What is said on a connection's streams, and what becomes of them then."""

from collections.abc import Callable
from typing import Final

from image_transformer.grpc.http2.frames import ErrorCode, rst_stream
from image_transformer.grpc.http2.intake import Intake
from image_transformer.grpc.http2.limits import Limits, Patience
from image_transformer.grpc.http2.outflow import Outflow
from image_transformer.grpc.http2.stream import DataSent, Event, Stream

_REMEMBERED: Final = 2


class Sending:
    """The streams of a connection, and the answers to them.

    Attributes:
        streams: Those that are not closed, by their numbers.
        outflow: What is to be written.
        over: Whether nothing is read any more.
        came_at: When something of any request came last.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float]) -> None:
        self.limits = limits
        self.streams: dict[int, Stream] = {}
        self.outflow = Outflow()
        self.over = False
        self.came_at = clock()
        self._clock = clock
        self._intake = Intake(limits.message_bytes, self.outflow.parts, clock)
        self._patience = Patience(limits.ping_seconds, clock())
        self._events: list[Event] = []
        # Streams that ended while their clients could still have been sending, and those before which none
        # is known any more: frames of them are late, and no fault.
        self._late: dict[int, None] = {}
        self._late_below = 0

    def answer(self, stream: Stream, headers: bytes, body: bytes, trailers: bytes) -> None:
        """Sends a whole answer, as soon as the client takes it.

        Args:
            stream: Of which nothing was sent yet.
            headers: The block before the data; no longer than a frame.
            body: The data.
            trailers: The block behind it, which ends the stream; no longer than a frame.
        """
        if stream.finished or stream.closed:
            return
        if self.outflow.whole(stream, headers, body, trailers):
            stream.finished = stream.served = True
            self._through(stream)
            return
        self.send_headers(stream, headers)
        self.send_data(stream, body)
        self.send_trailers(stream, trailers)

    def send_headers(self, stream: Stream, block: bytes) -> None:
        """Begins an answer."""
        if not (stream.finished or stream.closed):
            self.outflow.headers(stream, block)

    def send_data(self, stream: Stream, data: bytes) -> None:
        """Sends data, as soon as the client takes it: where some is `unsent` then, `DataSent` follows."""
        if not (stream.finished or stream.closed):
            self.outflow.data(stream, data, self._clock())
            self._pump(stream)

    def send_trailers(self, stream: Stream, block: bytes, *, served: bool = True) -> None:
        """Ends an answer behind its data; without any, this is all of it.

        Args:
            stream: Which is answered.
            block: No longer than a frame.
            served: Whether work was done for it to the end: that lets its client give up another.
        """
        if stream.finished or stream.closed:
            return
        stream.finished = True
        stream.served = served
        if self.outflow.end(stream, block):
            self._through(stream)

    def reset(self, stream: Stream, code: ErrorCode) -> None:
        """Ends a stream at once."""
        if not stream.closed:
            self.outflow.parts.append(rst_stream(stream.id, code))
            self._was_late(stream.id)
            self._close(stream)

    @property
    def received(self) -> int:
        """Bytes of data that came in all."""
        return self._intake.received

    def taken(self) -> None:
        """Takes note that one of a stream's messages was taken up."""
        self._patience.taken()

    def keeps(self, stream: Stream, held: int, message: int, missing: int) -> None:
        """Says what is kept of a stream's data, from which follows what the client may send.

        Args:
            stream: Which.
            held: Bytes that are kept.
            message: Bytes of the message that is coming, 0 for none; `held` has some of them.
            missing: Those of them that did not come yet.
        """
        stream.held = held
        stream.message = message
        stream.missing = missing
        stream.came_at = self.came_at = self._clock()
        stream.came_after = self._intake.received
        self._intake.settle(stream)

    def pump(self) -> list[Event]:
        """Writes more of what waits, where there are windows; what was all written is told."""
        self._pump()
        return self._told()

    @property
    def untold(self) -> bool:
        """Whether `pump` has something to tell."""
        return bool(self._events)

    def _told(self) -> list[Event]:
        """Gives the events away, once: they keep what was read, and those of an answer come at any time."""
        events, self._events = self._events, []
        return events

    def _pump(self, by: Stream | None = None) -> None:
        if self.outflow.waits:
            for stream in self.outflow.pump(self._clock()):
                if stream.finished and not stream.closed:
                    self._through(stream)
                if stream is not by:
                    self._events.append(DataSent(stream))

    def _through(self, stream: Stream) -> None:
        """An answer is written to its end: what its client still sends is not asked for (section 8.1)."""
        if stream.served:
            self._patience.finished()
        if stream.ended:
            self._close(stream)
        else:
            self.reset(stream, ErrorCode.NO_ERROR)

    def _close(self, stream: Stream) -> None:
        del self.streams[stream.id]
        stream.closed = True
        self.outflow.drop(stream)
        self._intake.release(stream)

    def _was_late(self, number: int) -> None:
        self._late[number] = None
        if len(self._late) > _REMEMBERED * self.limits.streams:
            oldest = next(iter(self._late))
            del self._late[oldest]
            self._late_below = max(self._late_below, oldest)

    def _is_late(self, number: int) -> bool:
        return number <= self._late_below or number in self._late
