"""What connections ask of the server that they belong to."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from image_transformer.grpc.calls.call import Call
from image_transformer.grpc.calls.head import Refusal
from image_transformer.grpc.calls.method import Method
from image_transformer.grpc.http2.limits import Limits

if TYPE_CHECKING:
    from image_transformer.grpc.calls.connection import ClientConnection


class Server(Protocol):
    """A server of calls.

    Attributes:
        methods: What is served, by its path.
        asked: Whether anybody ever called a method.
        http2_limits: What a connection may take.
        connection_seconds, connection_grace_seconds: How long one lives, and its calls from then on.
    """

    methods: Mapping[bytes, Method]
    asked: bool
    http2_limits: Limits
    connection_seconds: float
    connection_grace_seconds: float

    def joins(self, connection: "ClientConnection") -> bool:
        """Takes a connection in; tells whether there was a place."""

    def leaves(self, connection: "ClientConnection") -> None:
        """Takes note that a connection is gone."""

    def refusal(self, method: Method | None, unsent: int) -> Refusal | None:
        """Says why a call is not taken; None where it is."""

    def taken(self, call: Call) -> None:
        """Counts a call."""

    def left(self, call: Call) -> None:
        """Takes note that a call has ended."""
