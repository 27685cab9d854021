"""What stands around every gRPC method: messages that are not read, and errors that become a status."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

import grpc
from google.protobuf.message import DecodeError

from image_transformer.errors import ServiceError
from image_transformer.grpc.message_size import MOST, is_modest
from image_transformer.http.request import request_id
from image_transformer.observe.requests import Observer

log = logging.getLogger(__name__)

Read = Callable[[bytes], Any]
Behaviour = Callable[[Any, Any], Awaitable[Any]]

INTERNAL = "The service made a mistake; its log says more under the request's id."


class Guard:
    """Wraps methods as they are registered, once for all their calls."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer

    def around(self, path: str, handler: grpc.RpcMethodHandler) -> grpc.RpcMethodHandler:
        """Returns a method whose messages are guarded.

        In place of one that is not read stands a ServiceError, which a method of single messages never sees,
        and one that reads a stream does.

        Args:
            path: The method's.
            handler: What serves it.
        """
        read = guarded(
            handler.request_deserializer, infer=path.endswith(("/ModelInfer", "/ModelStreamInfer"))
        )
        if handler.request_streaming:
            return grpc.stream_stream_rpc_method_handler(
                handler.stream_stream, read, handler.response_serializer
            )
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(
                self._answering(handler.unary_stream), read, handler.response_serializer
            )
        return grpc.unary_unary_rpc_method_handler(
            self._answering(handler.unary_unary), read, handler.response_serializer
        )

    def _answering(self, behaviour: Behaviour) -> Behaviour:
        async def answer(request: Any, context: Any) -> Any:
            try:
                if isinstance(request, ServiceError):
                    identity = request_id(None)
                    with self._observer.request("grpc", identity) as observation:
                        observation.failed(request)
                    await refuse(context, request, identity)
                return await behaviour(request, context)
            except ServiceError as error:
                await refuse(context, error, request_id(None))
            except grpc.aio.BaseError:  # grpc's own, refusals among them
                raise
            except Exception:
                identity = request_id(None)
                log.exception("a gRPC method failed", extra={"request_id": identity})
                await refuse(context, ServiceError("internal", INTERNAL), identity)

        return answer


def guarded(read: Read, *, infer: bool) -> Read:
    """Reads messages, but for bytes that are none of the method's, or would become a far larger one.

    grpc itself calls the first a fault of the server, and parses the second.

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


async def refuse(context: Any, error: ServiceError, identity: str) -> NoReturn:
    """Ends a call with an error's status, its sentence, and code and request id behind them.

    Raises:
        AbortError: always, as grpc wants it.
    """
    trailer = [("code", error.code), ("x-request-id", identity)]
    if error.failure.retry_after is not None:
        trailer.append(("retry-after", str(error.failure.retry_after)))
    await context.abort(grpc.StatusCode[error.failure.grpc], error.sentence, tuple(trailer))
    raise error  # grpc has raised before
