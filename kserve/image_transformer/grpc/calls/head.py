"""What a call's header fields say (grpc/doc/PROTOCOL-HTTP2.md)."""

import base64
import binascii
import re
from typing import Final

from grpc import StatusCode

from image_transformer.errors import ServiceError
from image_transformer.grpc.calls.status import Metadata, failure
from image_transformer.grpc.http2.headers import Block

_TIMEOUT: Final = re.compile(rb"([0-9]{1,8})([HMSmun])")
_SECONDS: Final = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_CONTENT_TYPE: Final = re.compile(rb"application/grpc(?:[+;].*)?")
# What belongs to the protocol, and not to the call.
_OF_PROTOCOL: Final = frozenset(
    (b"te", b"content-type", b"content-length", b"grpc-timeout", b"grpc-encoding", b"grpc-accept-encoding")
)
_COMPRESSIONS: Final = (b"gzip", b"deflate")
# grpc/doc/compression.md: who is refused for a compression has to be told those that are taken.
_ACCEPTED: Final[Metadata] = (("grpc-accept-encoding", "identity"),)


class Refusal:
    """Why no method gets a call."""

    def __init__(
        self,
        error: ServiceError,
        code: StatusCode | None = None,
        http: int = 200,
        metadata: Metadata = (),
    ) -> None:
        """Takes what is told.

        Args:
            error: What happened.
            code: gRPC's status, where it is not the error's own.
            http: The answer's HTTP status.
            metadata: What else is told.
        """
        self._error = error
        self._code = code
        self._http = http
        self._metadata = metadata

    def alone(self) -> bytes:
        """Writes it as all there is of an answer, with a request id of its own."""
        status = failure(self._error, code=self._code, http=self._http)
        return status._replace(metadata=status.metadata + self._metadata).alone()


UNKNOWN: Final = Refusal(ServiceError("unknown_route", "Method not found!"))
"""No method has a call's path."""


class Head:
    """A call's head.

    Attributes:
        path: Of the method, as it came.
        metadata: The client's own fields; what is called `…-bin` as bytes.
        timeout: Seconds until the answer is of no more use; None for ever.
        refusal: Why it is no call that can be answered, or None.
    """

    __slots__ = ("metadata", "path", "refusal", "timeout")

    def __init__(self, block: Block) -> None:
        fields = dict(block.fields)
        self.path = fields[b":path"]
        self.metadata = _metadata(block)
        self.timeout: float | None = None
        self.refusal = _refusal(block, fields)
        if (given := fields.get(b"grpc-timeout")) is not None and self.refusal is None:
            if found := _TIMEOUT.fullmatch(given):
                self.timeout = int(found[1]) * _SECONDS[found[2]]
            else:
                self.refusal = Refusal(
                    ServiceError(
                        "invalid_request",
                        f"The grpc-timeout is {_shown(given)}; send up to 8 digits and one of HMSmun.",
                    )
                )


def head_of(block: Block) -> Head:
    """Returns a block's head, which is read once for all the calls that it begins."""
    if block.head is None:
        block.head = Head(block)
    head: Head = block.head
    return head


def _metadata(block: Block) -> Metadata:
    found: list[tuple[str, str | bytes]] = []
    for name, value in block.fields:
        if name.startswith(b":") or name in _OF_PROTOCOL:
            continue
        if not name.endswith(b"-bin"):
            found.append((name.decode("latin-1"), value.decode("latin-1")))
            continue
        for part in value.split(b","):
            try:  # the padding may be left out
                found.append(
                    (name.decode("latin-1"), base64.b64decode(part + b"=" * (-len(part) % 4), validate=True))
                )
            except binascii.Error:  # nobody asks for it: it is no reason to refuse the call
                continue
    return tuple(found)


def _refusal(block: Block, fields: dict[bytes, bytes]) -> Refusal | None:
    if block.too_long:
        return Refusal(
            ServiceError("head_too_long", "The call's metadata are over 16,384 bytes; send less."),
            StatusCode.RESOURCE_EXHAUSTED,
        )
    if fields[b":method"] != b"POST":
        sentence = f"The method is {_shown(fields[b':method'])}; gRPC's calls are POST."
        return Refusal(ServiceError("method_not_allowed", sentence), http=405)
    kind = fields.get(b"content-type", b"")
    if not _CONTENT_TYPE.fullmatch(kind):
        sentence = f"The content type is {_shown(kind)}; send application/grpc."
        return Refusal(ServiceError("unsupported_media_type", sentence), http=415)
    encoding = fields.get(b"grpc-encoding", b"identity")
    if encoding in _COMPRESSIONS:
        sentence = f"Compression algorithm {_shown(encoding)} is disabled."
    elif encoding != b"identity":
        sentence = f"Compression algorithm {_shown(encoding)} is unknown; send messages uncompressed."
    else:
        return None
    error = ServiceError("unsupported_encoding", sentence)
    return Refusal(error, StatusCode.UNIMPLEMENTED, metadata=_ACCEPTED)


def _shown(value: bytes) -> str:
    return repr(value[:80].decode("latin-1"))
