"""HTTP/2's frames: numbers of RFC 9113, how they are written, and what is wrong with one that came."""

import struct
from collections.abc import Iterable
from enum import IntEnum
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

# Types, section 6.
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = (
    range(10)
)

# Flags.
ACK: Final = 0x1
END_STREAM: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
WITH_PRIORITY: Final = 0x20

# Settings, section 6.5.2.
HEADER_TABLE_SIZE: Final = 0x1
ENABLE_PUSH: Final = 0x2
MAX_CONCURRENT_STREAMS: Final = 0x3
INITIAL_WINDOW_SIZE: Final = 0x4
MAX_FRAME_SIZE: Final = 0x5
MAX_HEADER_LIST_SIZE: Final = 0x6

HEAD_BYTES: Final = 9
FRAME_BYTES: Final = 16_384
"""The payload that every endpoint takes; this one takes no longer ones."""
WINDOW: Final = 65_535
"""A flow-control window's size at first, section 6.9.2."""
MOST: Final = 2**31 - 1
"""The largest window, and the largest stream."""

# A head: the length in two parts, type, flags and stream.
HEAD: Final = struct.Struct(">HBBBI")
_LONG: Final = struct.Struct(">I")
_SETTING: Final = struct.Struct(">HI")


class ErrorCode(IntEnum):
    """Why a stream or a connection ends, section 7."""

    NO_ERROR = 0x0
    PROTOCOL_ERROR = 0x1
    INTERNAL_ERROR = 0x2
    FLOW_CONTROL_ERROR = 0x3
    SETTINGS_TIMEOUT = 0x4
    STREAM_CLOSED = 0x5
    FRAME_SIZE_ERROR = 0x6
    REFUSED_STREAM = 0x7
    CANCEL = 0x8
    COMPRESSION_ERROR = 0x9
    CONNECT_ERROR = 0xA
    ENHANCE_YOUR_CALM = 0xB
    INADEQUATE_SECURITY = 0xC
    HTTP_1_1_REQUIRED = 0xD


class Http2ConnectionError(Exception):
    """What ends the connection: a connection error of section 5.4.1.

    Attributes:
        code: For the GOAWAY.
        reason: For its debug data.
    """

    def __init__(self, code: ErrorCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Http2StreamError(Exception):
    """What ends a stream alone: a stream error of section 5.4.2.

    Attributes:
        stream: Its number.
        code: For the RST_STREAM.
    """

    def __init__(self, stream: int, code: ErrorCode) -> None:
        super().__init__(code.name)
        self.stream = stream
        self.code = code


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Writes a frame, section 4.1."""
    length = len(payload)
    return HEAD.pack(length >> 8, length & 0xFF, kind, flags, stream) + payload


def header_frames(stream: int, block: bytes, flags: int) -> bytes:
    """Writes a header block as one HEADERS frame and as many CONTINUATION frames as it needs."""
    if len(block) <= FRAME_BYTES:
        return frame(HEADERS, flags | END_HEADERS, stream, block)
    parts = [block[at : at + FRAME_BYTES] for at in range(0, len(block), FRAME_BYTES)]
    written = [frame(HEADERS, flags, stream, parts[0])]
    written += [frame(CONTINUATION, 0, stream, part) for part in parts[1:-1]]
    written.append(frame(CONTINUATION, END_HEADERS, stream, parts[-1]))
    return b"".join(written)


def settings(values: Iterable[tuple[int, int]]) -> bytes:
    """Writes a SETTINGS frame of identifiers and values."""
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(*pair) for pair in values))


def rst_stream(stream: int, code: ErrorCode) -> bytes:
    """Writes what ends a stream at once."""
    return frame(RST_STREAM, 0, stream, _LONG.pack(code))


def goaway(last: int, code: ErrorCode, reason: str = "") -> bytes:
    """Writes that no stream above `last` is answered, and why."""
    return frame(GOAWAY, 0, 0, struct.pack(">II", last, code) + reason.encode())


def window_update(stream: int, more: int) -> bytes:
    """Writes that so many bytes more may come; stream 0 is the connection."""
    return frame(WINDOW_UPDATE, 0, stream, _LONG.pack(more))


def read_settings(payload: memoryview) -> list[tuple[int, int]]:
    """Returns the identifiers and values of a SETTINGS frame, in their order.

    Raises:
        Http2ConnectionError: one of them has a value that it may not have.
    """
    values = list(_SETTING.iter_unpack(payload))
    for name, value in values:
        if name == ENABLE_PUSH and value > 1:
            raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "ENABLE_PUSH is neither 0 nor 1")
        if name == INITIAL_WINDOW_SIZE and value > MOST:
            raise Http2ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, "INITIAL_WINDOW_SIZE is above 2^31-1")
        if name == MAX_FRAME_SIZE and not FRAME_BYTES <= value < 2**24:
            raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "MAX_FRAME_SIZE is out of its bounds")
    return values
