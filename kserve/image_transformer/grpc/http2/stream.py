"""One stream of a connection, and what came of it."""

import math
from collections import deque
from typing import Any, NamedTuple

from image_transformer.grpc.http2.frames import WINDOW
from image_transformer.grpc.http2.headers import Block


class Stream:
    """A request and its answer, RFC 9113 section 5.1: open, half-closed by either side, or closed.

    Attributes:
        id: Its number.
        call: Whatever the layer above has for it.
        ended: Whether the client sends no more; events of what it sent may be on their way.
        finished: Whether all of the answer was handed in, and its end with it.
        served: Whether it is one that work was done for to the end.
        closed: Whether nothing may be sent and nothing is heard any more.
        left: Bytes that its content-length still promises; None without one.
        receive_window: Bytes that the client may still send.
        in_events: Bytes that came in events which are not handled yet; the layer above takes them out.
        held: Bytes that came and are kept.
        message: Bytes of the message that is coming, as far as that is known; `held` has some of them.
        missing: Those of them that did not come yet.
        reserved: Bytes of the connection's that it has beside its window.
        since: When it began.
        came_at: When something of its request came last, or what is kept of it was last given a window.
        came_after: Bytes of data that had come on the connection then.
        went_at: When something of its answer went out last, or was handed in.
        timeout: Seconds after which its client gives it up.
        send_window: Bytes that the client still takes; it may become negative, section 6.9.2.
        unsent: What waits for the client's window.
        trailers: The block that ends the answer, where it waits behind that.
    """

    __slots__ = (
        *("call", "came_after", "came_at", "closed", "ended", "finished", "held", "id", "in_events", "left"),
        *("message", "missing", "receive_window", "reserved", "send_window", "served", "since", "timeout"),
        *("trailers", "unsent", "went_at"),
    )

    def __init__(self, number: int, send_window: int, since: float, after: int) -> None:
        self.id = number
        self.came_after = after
        self.since = self.came_at = self.went_at = since
        self.timeout = math.inf
        self.call: Any = None
        self.ended = self.finished = self.served = self.closed = False
        self.left: int | None = None
        self.receive_window = WINDOW
        self.in_events = self.held = self.message = self.missing = self.reserved = 0
        self.send_window = send_window
        self.unsent: deque[memoryview] = deque()
        self.trailers: bytes | None = None


class RequestReceived(NamedTuple):
    """A stream begins."""

    stream: Stream
    block: Block


class DataReceived(NamedTuple):
    """Some of its body, possibly nothing; and whether that was the last of it."""

    stream: Stream
    data: memoryview
    ended: bool


class StreamReset(NamedTuple):
    """A stream is no more, without an answer."""

    stream: Stream


class DataSent(NamedTuple):
    """What waited for the client's window has gone."""

    stream: Stream


Event = RequestReceived | DataReceived | StreamReset | DataSent
