"""Messages in a stream of bytes, each behind a flag and its length (grpc/doc/PROTOCOL-HTTP2.md)."""

from typing import Final

from grpc import StatusCode

from image_transformer.errors import ServiceError
from image_transformer.grpc.calls.status import CallError, failure

PREFIX_BYTES: Final = 5


def prefixed(message: bytes) -> bytes:
    """Writes a message as it goes into a stream."""
    return b"\0" + len(message).to_bytes(PREFIX_BYTES - 1) + message


class Messages:
    """Puts messages together, wherever they were cut.

    They are kept as the bytes that came: thousands of tiny messages take no more than those.
    """

    __slots__ = ("_bytes", "_most", "_whole")

    def __init__(self, most: int) -> None:
        """Takes how long a message may be."""
        self._most = most
        self._bytes = bytearray()
        self._whole = 0  # bytes of the first message with its prefix; 0 while that is not known

    @property
    def held(self) -> int:
        """How many bytes are kept."""
        return len(self._bytes)

    @property
    def begun(self) -> bool:
        """Whether something came of a message that is not whole, and none is."""
        return bool(self._bytes) and not self.ready

    @property
    def ready(self) -> bool:
        """Whether the first message is whole."""
        return 0 < self._whole <= len(self._bytes)

    @property
    def coming(self) -> int:
        """How many bytes the first message will have with its prefix; 0 where it is whole or not known."""
        return 0 if self.ready else self._whole

    @property
    def more(self) -> bool:
        """Whether something came behind the first message."""
        return 0 < self._whole < len(self._bytes)

    def feed(self, data: memoryview) -> None:
        """Takes bytes.

        Raises:
            CallError: the first message is compressed, or longer than is taken.
        """
        self._bytes += data
        if not self._whole:
            self._measure()

    def whole(self, data: memoryview) -> bytes | None:
        """Returns the one message that these bytes are, where none are kept; None where they are not one.

        Raises:
            CallError: see `feed`.
        """
        if self._bytes or len(data) < PREFIX_BYTES or self._length(data) != len(data):
            return None
        return bytes(data[PREFIX_BYTES:])

    def pop(self) -> bytes | None:
        """Takes out the first message; None where it is not whole.

        Raises:
            CallError: the next message is compressed, or longer than is taken.
        """
        if not self._whole:
            self._measure()
        if not self.ready:
            return None
        with memoryview(self._bytes) as view:
            message = bytes(view[PREFIX_BYTES : self._whole])
        del self._bytes[: self._whole]
        self._whole = 0
        return message

    def clear(self) -> None:
        """Forgets all that is kept."""
        self._bytes = bytearray()
        self._whole = 0

    def _measure(self) -> None:
        if len(self._bytes) >= PREFIX_BYTES:
            self._whole = self._length(self._bytes)

    def _length(self, prefix: memoryview | bytearray) -> int:
        """The length of a message with what stands before it."""
        flag = prefix[0]
        length = int.from_bytes(prefix[1:PREFIX_BYTES])
        if flag == 1:
            sentence = (
                "A message is marked as compressed, and its call names no compression; send it as it is."
            )
            raise CallError(failure(ServiceError("unsupported_encoding", sentence), code=StatusCode.INTERNAL))
        if flag:
            sentence = f"A message begins with {flag}, which is no flag of gRPC's; send 0."
            raise CallError(failure(ServiceError("invalid_request", sentence), code=StatusCode.INTERNAL))
        if length > self._most:
            sentence = f"SERVER: Received message larger than max ({length} vs. {self._most})"
            error = ServiceError("too_many_bytes", sentence)
            raise CallError(failure(error, code=StatusCode.RESOURCE_EXHAUSTED))
        return PREFIX_BYTES + length
