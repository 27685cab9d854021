"""All gRPC services and what serves each of their methods."""

import re
from collections.abc import AsyncIterator
from typing import Any

import grpc
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc

from image_transformer.errors import ServiceError
from image_transformer.grpc import inference_pb2
from image_transformer.grpc.ending import Ending
from image_transformer.grpc.guard import refuse
from image_transformer.grpc.health import HealthService
from image_transformer.grpc.server import GrpcServer
from image_transformer.http.request import request_id

_SERVICE = inference_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
_FILES = (health_pb2.DESCRIPTOR, reflection_pb2.DESCRIPTOR)


def add_methods(server: GrpcServer, parts: tuple[object, ...], health: HealthService, ending: Ending) -> None:
    """Has a server serve v2's methods, health and reflection.

    Args:
        server: Not yet started.
        parts: Objects that have v2's methods between them, each under its name in Python's spelling.
        health: Serves grpc.health.v1.
        ending: Of the server; reflection's streams end with it.
    """
    server.add_registered_method_handlers(
        _SERVICE.full_name, {method.name: _handler(method, parts) for method in _SERVICE.methods}
    )
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(_Reflection(ending), server)


def _handler(method: Any, parts: tuple[object, ...]) -> grpc.RpcMethodHandler:
    name = re.sub(r"(?<!^)(?=[A-Z])", "_", method.name).lower()
    behaviour = next(found for part in parts if (found := getattr(part, name, None)))
    make = (
        grpc.stream_stream_rpc_method_handler
        if method.client_streaming
        else grpc.unary_unary_rpc_method_handler
    )
    return make(
        behaviour,
        request_deserializer=GetMessageClass(method.input_type).FromString,
        response_serializer=GetMessageClass(method.output_type).SerializeToString,
    )


class _Reflection(reflection.aio.ReflectionServicer):  # type: ignore[misc] # grpc has no types
    """Describes what is really served: v2's messages as they are here, not kserve's of the same names."""

    def __init__(self, ending: Ending) -> None:
        pool = inference_pb2.DESCRIPTOR.pool
        for file in _FILES:
            pool.AddSerializedFile(file.serialized_pb)
        services = (_SERVICE, *(service for file in _FILES for service in file.services_by_name.values()))
        super().__init__([service.full_name for service in services], pool)
        self._ending = ending

    async def ServerReflectionInfo(self, requests: Any, context: Any) -> None:  # noqa: N802
        """Answers questions until the client has no more."""
        async with self._ending.of_call(context):
            while await self._answer_one(context):  # which keeps none while it waits for the next
                pass

    async def _answer_one(self, context: Any) -> bool:
        request = await context.read()
        if request is grpc.aio.EOF:
            return False
        if isinstance(request, ServiceError):
            await refuse(context, request, request_id(None))
        async for answer in super().ServerReflectionInfo(_one(request), context):
            await context.write(answer)
        return True


async def _one(request: Any) -> AsyncIterator[Any]:
    yield request
