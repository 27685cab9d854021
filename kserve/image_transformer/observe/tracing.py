"""A request's place in its client's trace (https://www.w3.org/TR/trace-context/): passed on, and logged.

Nothing of OpenTelemetry is here: `spans.py` has that, and is imported only where somebody takes the spans.
"""

import os
import re
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import Final, Protocol

# Version 00 has no more; a later one may go on after a dash. All zeros are no id, and ff is no version.
_PARENT: Final = re.compile(
    rb"(?!ff)[\da-f]{2}-(?!0{32})([\da-f]{32})-(?!0{16})[\da-f]{16}-[\da-f]{2}(-[\x21-\x7e]{,200})?"
)
_STATE: Final = re.compile(rb"[\x20-\x7e\t]{1,512}")


class Traced(Protocol):
    """Images that are sent to Triton with others.

    Attributes:
        trace: Of the request that they belong to.
        count: How many they are.
        queued: When they began to wait, in nanoseconds since 1970.
    """

    trace: "Trace | None"
    count: int
    queued: int


class Calling(Protocol):
    """A call to Triton.

    Attributes:
        head: Header lines that take the trace there, each with its line's end.
    """

    head: bytes

    def ended(self, *, failed: bool) -> None:
        """It is answered, or is not going to be."""


class Trace:
    """One request's."""

    __slots__ = ("head", "id")

    def __init__(self, identity: str, head: bytes) -> None:
        """Takes the trace's id, 32 digits, and header lines that name it to whoever is asked next."""
        self.id = identity
        self.head = head

    def decoded(self, started: float, ended: float) -> None:
        """An image was decoded, between two times of `time.perf_counter`."""

    def calling(self, pieces: Sequence[Traced]) -> Calling:
        """Its images go to Triton, perhaps with other requests'."""
        return _Passing(self.head if all(piece.trace is self for piece in pieces) else b"")

    def ended(self, status: int, code: str | None) -> None:
        """The request is answered by an HTTP status, and by an error's code where there is one."""


class _Passing:
    """A call of which nobody keeps a span."""

    __slots__ = ("head",)

    def __init__(self, head: bytes) -> None:
        self.head = head

    def ended(self, *, failed: bool) -> None:
        """See `Calling`."""


class Tracing:
    """Where requests' traces begin."""

    def begin(self, route: str, headers: Mapping[bytes, bytes]) -> Trace | None:
        """Returns the trace that a request belongs to; None where it names none.

        Args:
            route: Its name in the metrics.
            headers: The request's, names in lower case.
        """
        parent = headers.get(b"traceparent")
        if parent is None or (found := _PARENT.fullmatch(parent)) is None:
            return None
        if found[2] is not None and parent.startswith(b"00"):
            return None
        head = b"traceparent: %s\r\n" % parent
        state = headers.get(b"tracestate", b"")
        if _STATE.fullmatch(state):
            head += b"tracestate: %s\r\n" % state
        return Trace(found[1].decode(), head)

    def close(self) -> None:
        """Sends what is still to be sent."""


current: ContextVar[Trace | None] = ContextVar("trace", default=None)
"""The trace of the request that is being answered."""


def calling(pieces: Sequence[Traced]) -> Calling | None:
    """Returns the call that takes images to Triton; None where none of them is traced."""
    for piece in pieces:
        if piece.trace is not None:
            return piece.trace.calling(pieces)
    return None


def configured(model: str) -> Tracing:
    """Returns what OpenTelemetry's own variables ask for: spans, where they name who takes them.

    Args:
        model: Names the service, unless `OTEL_SERVICE_NAME` does.
    """
    wanted = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    if not any(map(os.environ.get, wanted)) or os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return Tracing()
    from image_transformer.observe.spans import Spans

    return Spans(model)
