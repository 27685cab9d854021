"""Whether a client still does its part: greets, gives signs, sends what it began, takes its answers."""

import array
import asyncio
import fcntl
import termios
from typing import Final

from image_transformer.grpc.http2.connection import Connection
from image_transformer.grpc.http2.frames import WINDOW
from image_transformer.grpc.http2.stream import Stream

_HANDSHAKE_SECONDS: Final = 20.0
_SIGN_SECONDS: Final = 60.0
STALL_SECONDS: Final = 60.0
"""After which what is begun and does not go on is ended."""
LINGER_SECONDS: Final = 2.0
"""For which a connection is still read after its last words, or a reset would take them along."""


class Watch:
    """Looks at a client once a second or so, by the time that it is told.

    Attributes:
        heard: Whether anything came since it looked.
    """

    def __init__(self, http2: Connection, now: float) -> None:
        self._http2 = http2
        self.heard = False
        self._silent_since = now
        self._asked_at: float | None = None

    def is_gone(self, now: float) -> bool:
        """Tells whether the client is there no more; of one that is silent a sign is asked."""
        if not self._http2.greeted:
            return now - self._silent_since > _HANDSHAKE_SECONDS
        if self.heard:
            self.heard = False
            self._silent_since = now
            self._asked_at = None
        elif self._asked_at is not None:
            return now - self._asked_at > _SIGN_SECONDS
        elif now - self._silent_since > _SIGN_SECONDS:
            self._asked_at = now
            self._http2.ask_for_a_sign()
        return False

    def stalled(self, now: float) -> list[Stream]:
        """Returns the streams that their client holds up, while what they take is kept from others.

        Such is a request, or a message of many, that is begun and not whole, and for which there is a window;
        and an answer for which there is none, of the stream or of the connection. Streams on which neither is
        under way may be silent for days. Over a slow way many requests wait for their turn at the client: one
        is held up where nothing of any comes, or more has come since than all others had windows for.
        """
        http2 = self._http2
        long_ago = now - STALL_SECONDS
        nothing_goes = http2.outflow.went_at < long_ago
        nothing_comes = http2.came_at < long_ago
        overtaken = http2.received - http2.limits.message_bytes - WINDOW * len(http2.streams)

        def owes(stream: Stream) -> bool:
            late = stream.came_at < long_ago and (nothing_comes or stream.came_after < overtaken)
            return late and stream.receive_window > 0 and stream.call.is_owed

        return [
            stream
            for stream in http2.streams.values()
            if (stream.unsent and stream.went_at < long_ago and (nothing_goes or stream.send_window <= 0))
            or owes(stream)
        ]


def unacknowledged(transport: asyncio.Transport) -> int:
    """Bytes that a client has not acknowledged: the transport's, and the kernel's (tcp(7), SIOCOUTQ)."""
    waiting = array.array("i", [0])
    try:
        fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, waiting)
    except (OSError, ValueError):  # it is closed
        return 0
    return transport.get_write_buffer_size() + waiting[0]


class Linger:
    """The time in which a connection's last words go out and are read.

    Attributes:
        until: When it is over, whatever did not go out.
    """

    def __init__(self, now: float, until: float) -> None:
        self.until = until
        self._unwritten = 0
        self._moved_at = now

    def is_over(self, now: float, unwritten: int) -> bool:
        """Tells whether nothing is to be waited for any more.

        Args:
            now: The time.
            unwritten: Bytes that the client has not taken yet.
        """
        if unwritten != self._unwritten:
            self._unwritten = unwritten
            self._moved_at = now
        patience = STALL_SECONDS if unwritten else LINGER_SECONDS
        return now >= self.until or now - self._moved_at > patience
