"""All gRPC services and what serves each of their methods."""

import re
from collections.abc import AsyncIterator
from typing import Any

import grpc
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2

from image_transformer.errors import ServiceError
from image_transformer.grpc import inference_pb2
from image_transformer.grpc.calls.method import Method
from image_transformer.grpc.ending import Ending
from image_transformer.grpc.guard import counted, guarded, refuse
from image_transformer.grpc.health import HealthService
from image_transformer.http.request import request_id
from image_transformer.observe.requests import Observer

_SERVICE = inference_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
_FILES = (health_pb2.DESCRIPTOR, reflection_pb2.DESCRIPTOR)
_WITH_IMAGES = ("ModelInfer", "ModelStreamInfer")


def methods(
    parts: tuple[object, ...], health: HealthService, ending: Ending, observer: Observer
) -> dict[str, Method]:
    """Returns v2's methods, health and reflection, each by its path.

    Args:
        parts: Objects that have v2's methods between them, each under its name in Python's spelling.
        health: Serves grpc.health.v1.
        ending: Of the server; reflection's streams end with it.
        observer: Counts what is not read.
    """
    found = {
        f"/{_SERVICE.full_name}/{method.name}": _method(method, _behaviour(method.name, parts), observer)
        for method in _SERVICE.methods
    }
    for file, servicer in zip(_FILES, (health, _Reflection(ending)), strict=True):
        for service in file.services_by_name.values():
            for method in service.methods:
                behaviour = getattr(servicer, method.name)
                found[f"/{service.full_name}/{method.name}"] = _method(method, behaviour, observer)
    return found


def _behaviour(name: str, parts: tuple[object, ...]) -> Any:
    spelled = re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
    return next(found for part in parts if (found := getattr(part, spelled, None)))


def _method(described: Any, behaviour: Any, observer: Observer) -> Method:
    read = guarded(GetMessageClass(described.input_type).FromString, infer=described.name in _WITH_IMAGES)
    return Method(
        behaviour,
        read if described.client_streaming else counted(read, observer),
        GetMessageClass(described.output_type).SerializeToString,
        takes_many=described.client_streaming,
        gives_many=described.server_streaming,
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
