"""How much a client may do on its connection that costs the server work and brings nobody on.

Every bound is one that clients which are in earnest do not meet: gRPC's own cores, Go's and Java's ping after
data that they get, at most once for each frame of it, and whenever their keepalive is due; they give windows
back a few times for each frame; they give up calls one by one. So what is allowed grows with what was
answered, and with time, and has a stock for the rest (CVE-2019-9512 to 9518, CVE-2023-44487, CVE-2025-8671).
"""

import math
from dataclasses import dataclass
from typing import Final

from image_transformer.grpc.http2.frames import ErrorCode, Http2ConnectionError

HEADER_LIST_BYTES: Final = 16_384
"""A list of headers, as section 6.5.2 counts it; what is longer is refused. gRPC's core has the same
(`src/core/call/metadata_info.h` in grpcio 1.80.0)."""
MOST_HEADER_LIST_BYTES: Final = 2 * HEADER_LIST_BYTES
"""What is longer still, or is so when it is not yet unfolded, ends the connection."""
CONTINUATIONS: Final = 32
"""Frames after the first that a header block may come in; the list fits in two."""
CONNECTION_WINDOW: Final = 2**20
"""Bytes that may be on their way on a connection; what is kept of them, each stream's window bounds."""

# So many pings may come too early between two frames of data, as in gRPC's core (`ping_abuse_policy.cc` in
# grpcio 1.80.0) and Go's server (`internal/transport/http2_server.go` in grpc-go 1.85.0).
_STRIKES: Final = 2
_PINGS_IN_STOCK: Final = 100

_CONTROL_IN_STOCK: Final = 10_000
_CONTROL_A_SECOND: Final = 200
_CONTROL_A_FRAME: Final = 10

_RESETS_IN_STOCK: Final = 1_000
_RESETS_A_SECOND: Final = 100
# Whoever waits for so long gives up in earnest, and with all its streams cannot do so more often than it may
# call. Cores give up at their deadline, all at once where a service is slow, and a
# little early as they round it up; one of nothing is no excuse.
_EARNEST_SECONDS: Final = 1.0
_LEAST_EARNEST_SECONDS: Final = 0.1
_NEARLY: Final = 0.9

# What a frame costs beside one: SETTINGS changes every stream, and one without content does nothing at all.
SETTINGS_COST: Final = 20
EMPTY_COST: Final = 10
TINY_BYTES: Final = 64
"""Data of fewer bytes that does not end its stream costs; a message that is taken brings that back twice."""
_CONTROL_A_MESSAGE: Final = 2


@dataclass(frozen=True)
class Limits:
    """What a connection may take.

    Attributes:
        streams: Streams at once.
        message_bytes: Of the longest message; messages longer than a window share as many.
        ping_seconds: Between two pings of a client to whom nothing is sent.
    """

    streams: int
    message_bytes: int
    ping_seconds: float


class _Stock:
    """So many, and more with time."""

    __slots__ = ("_a_second", "_left", "_most", "_since")

    def __init__(self, most: int, a_second: float, now: float) -> None:
        self._most = self._left = float(most)
        self._a_second = a_second
        self._since = now

    def add(self, count: int) -> None:
        self._left = min(self._most, self._left + count)

    def takes(self, count: int, now: float) -> bool:
        """Takes some out, and tells whether there were so many; time fills it up when it is empty."""
        self._left -= count
        if self._left >= 0:
            return True
        self._left = min(self._most, self._left + (now - self._since) * self._a_second)
        self._since = now
        return self._left >= 0


class Patience:
    """What one client has used up."""

    def __init__(self, ping_seconds: float, now: float) -> None:
        self._ping_seconds = ping_seconds
        self._pinged = -math.inf
        self._strikes = self._pings = 0
        self._answered_before = 0
        self._control = _Stock(_CONTROL_IN_STOCK, _CONTROL_A_SECOND, now)
        self._resets = _Stock(_RESETS_IN_STOCK, _RESETS_A_SECOND, now)

    def answered(self, frames: int) -> None:
        """Takes note of how many frames of headers and data were sent or came in all: what they allow.

        Args:
            frames: Since the connection began.
        """
        more = frames - self._answered_before
        if more:
            self._answered_before = frames
            self._control.add(more * _CONTROL_A_FRAME)
            self._pings = min(_PINGS_IN_STOCK, self._pings + more)
            self._strikes = 0

    def control(self, now: float, cost: int = 1) -> None:
        """A frame came that does nothing for any call.

        Raises:
            Http2ConnectionError: too many of them came.
        """
        if not self._control.takes(cost, now):
            raise Http2ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, "too_many_control_frames")

    def taken(self) -> None:
        """One of a stream's messages was taken up."""
        self._control.add(_CONTROL_A_MESSAGE)

    def ping(self, now: float) -> None:
        """A ping came.

        Raises:
            Http2ConnectionError: too many of them came.
        """
        if now - self._pinged >= self._ping_seconds:
            self._pinged = now
        elif self._pings:
            self._pings -= 1
        else:
            self._strikes += 1
            if self._strikes > _STRIKES:
                raise Http2ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, "too_many_pings")

    def finished(self) -> None:
        """A call had its answer."""
        self._resets.add(1)

    def given_up(self, now: float, since: float, timeout: float) -> None:
        """A client has given up a stream that was under way; that counts where it did not wait for long.

        Args:
            now: The time.
            since: When the stream began.
            timeout: Seconds that its client had wanted to wait.

        Raises:
            Http2ConnectionError: see `reset`.
        """
        if now - since < min(_EARNEST_SECONDS, max(_LEAST_EARNEST_SECONDS, _NEARLY * timeout)):
            self.reset(now)

    def reset(self, now: float) -> None:
        """A stream that was under way is no more, for its client gave it up early or broke the rules.

        Raises:
            Http2ConnectionError: too many of them were.
        """
        if not self._resets.takes(1, now):
            raise Http2ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, "too_many_resets")
