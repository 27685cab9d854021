"""How a call ends, and how that is written (grpc/doc/PROTOCOL-HTTP2.md, statuscodes.md)."""

import base64
import re
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

from grpc import StatusCode

from image_transformer.errors import ServiceError
from image_transformer.grpc.http2.headers import literal
from image_transformer.http.request import request_id

Metadata = tuple[tuple[str, str | bytes], ...]

_LONGEST_DETAILS: Final = 4096
_TO_ENCODE: Final = re.compile(rb"[^\x20-\x24\x26-\x7e]")
_CONTENT_TYPE: Final = literal(b"content-type", b"application/grpc")

HEADERS: Final = b"\x88" + _CONTENT_TYPE  # `:status: 200` of HPACK's static table
"""The block that every answer begins with."""
OK: Final = literal(b"grpc-status", b"0")
"""The block that a good answer ends with."""

INTERNAL: Final = "The service made a mistake; its log says more under the request's id."
"""What is told of a mistake of ours."""


ENDS: Final = ServiceError("shutting_down", "The service ends; ask again.")
"""What is told of calls that last longer than the service, or their connection."""


class Status(NamedTuple):
    """How a call ends.

    Attributes:
        code: gRPC's.
        details: A sentence.
        metadata: Behind it.
        http: The answer's HTTP status, where there is nothing else of it.
    """

    code: StatusCode
    details: str
    metadata: Metadata = ()
    http: int = 200

    def trailers(self) -> bytes:
        """Writes it as the block behind an answer."""
        fields = [literal(b"grpc-status", b"%d" % self.code.value[0])]
        if self.details:
            fields.append(literal(b"grpc-message", _percent_encoded(self.details)))
        fields += [_field(name, value) for name, value in self.metadata]
        return b"".join(fields)

    def alone(self) -> bytes:
        """Writes it as all there is of an answer."""
        begin = HEADERS if self.http == 200 else literal(b":status", b"%d" % self.http) + _CONTENT_TYPE
        return begin + self.trailers()


class CallError(Exception):
    """A call that cannot go on, by its bytes.

    Attributes:
        status: For its client.
    """

    def __init__(self, status: Status) -> None:
        super().__init__(status.details)
        self.status = status


class CallEnded(Exception):  # noqa: N818 - nothing is wrong where it is raised
    """The call has its status: nothing more is to be done for it."""


def failure(
    error: ServiceError, identity: str | None = None, *, code: StatusCode | None = None, http: int = 200
) -> Status:
    """Returns an error's status, with its code, a request's id, and when to try again behind it.

    Args:
        error: What happened.
        identity: The request's; None for a fresh one.
        code: gRPC's, where it is not the error's own.
        http: See `Status`.
    """
    metadata: list[tuple[str, str | bytes]] = [
        ("code", error.code),
        ("x-request-id", identity or request_id(None)),
    ]
    if error.failure.retry_after is not None:
        metadata.append(("retry-after", str(error.failure.retry_after)))
    return Status(code or StatusCode[error.failure.grpc], error.sentence, tuple(metadata), http)


def _percent_encoded(details: str) -> bytes:
    """Writes a sentence so that it may stand in a header; one that is too long for that is cut."""
    encoded = _encoded(details)
    if len(encoded) <= _LONGEST_DETAILS:
        return encoded
    whole = re.sub(rb"%.?$", b"", encoded[:_LONGEST_DETAILS])
    # Of a sign of several bytes some may be left.
    return _encoded(unquote_to_bytes(whole).decode(errors="ignore"))


def _encoded(text: str) -> bytes:
    return _TO_ENCODE.sub(lambda sign: b"%%%02X" % sign[0][0], text.encode(errors="replace"))


def _field(name: str, value: str | bytes) -> bytes:
    if isinstance(value, bytes):
        return literal(name.encode(), base64.b64encode(value).rstrip(b"="))
    return literal(name.encode(), value.encode("ascii", "replace"))
