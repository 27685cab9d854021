"""What stands before every gRPC method: messages that are not read, and errors that become a status."""

from collections.abc import Callable
from typing import Any, NoReturn

from google.protobuf.message import DecodeError

from image_transformer.errors import ServiceError
from image_transformer.grpc.calls.status import failure
from image_transformer.grpc.message_size import MOST, is_modest
from image_transformer.http.request import request_id
from image_transformer.observe.requests import Observer

Read = Callable[[bytes], Any]


def guarded(read: Read, *, infer: bool) -> Read:
    """Reads messages, but for bytes that are none of the method's, or would become a far larger one.

    Args:
        read: Parses a message.
        infer: Whether it has images, which do not count.

    Returns:
        A function that gives the message, or the ServiceError to tell in its place.
    """

    def guard(message: bytes) -> Any:
        if not is_modest(message, infer=infer):
            return ServiceError(
                "too_many_bytes",
                f"The message has over {MOST:,} bytes beside raw tensors and encoded images; send less.",
            )
        try:
            return read(message)
        except DecodeError:
            return ServiceError(
                "invalid_request", "The message is not the method's protobuf message; send one."
            )

    return guard


def counted(read: Read, observer: Observer) -> Read:
    """Has a message that is not read counted as a request that failed, as its call's one message.

    Args:
        read: As `guarded` gives it.
        observer: Counts it.

    Returns:
        A function that gives the message, or the Status to end the call with.
    """

    def guard(message: bytes) -> Any:
        request = read(message)
        if not isinstance(request, ServiceError):
            return request
        identity = request_id(None)
        with observer.request("grpc", identity) as observation:
            observation.failed(request)
        return failure(request, identity)

    return guard


async def refuse(context: Any, error: ServiceError, identity: str) -> NoReturn:
    """Ends a call with an error's status, its sentence, and code and request id behind them.

    Raises:
        CallEnded: always; see `Call.abort`.
    """
    status = failure(error, identity)
    await context.abort(status.code, status.details, status.metadata)
    raise error  # the context has raised before
