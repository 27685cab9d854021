"""grpc.health.v1: whether the service as a whole, its one gRPC service, or a model answers.

Its messages are grpcio-health-checking's. The servicer is ours: that one's answers what it was told last, and
forgets all watchers of a name as soon as one of them leaves.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import grpc
from grpc_health.v1 import health_pb2

from image_transformer.errors import ServiceError
from image_transformer.grpc import inference_pb2
from image_transformer.grpc.ending import Ending

# Between two looks for a watcher; what it costs is a comparison.
_WATCH_SECONDS: Final = 0.5
_LONGEST_NAME: Final = 200

SERVICES: Final = ("", *(service.full_name for service in inference_pb2.DESCRIPTOR.services_by_name.values()))
"""The names that stand for everything."""


class HealthService:
    """Tells how it stands whenever it is asked."""

    def __init__(
        self, ready: Callable[[], bool], model_ready: Callable[[str], Awaitable[bool]], ending: Ending
    ) -> None:
        """Takes what knows it.

        Args:
            ready: Tells whether requests are answered, and are to come.
            model_ready: The same of a model; a ServiceError where there is no such.
            ending: Of the server; watchers are sent away by it.
        """
        self._ready = ready
        self._model_ready = model_ready
        self._ending = ending

    async def Check(self, request: health_pb2.HealthCheckRequest, context: Any) -> Any:  # noqa: N802
        """Tells how it stands now."""
        status = await self._status(request.service)
        if status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN:
            await self._unknown(request.service, context)
        return health_pb2.HealthCheckResponse(status=status)

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Any) -> None:  # noqa: N802
        """Tells how it stands now, and whenever that changes; of a service that is unknown, too."""
        if len(request.service) > _LONGEST_NAME:  # the request is kept for as long as it is answered
            await self._unknown(request.service, context)
        told = None
        async with self._ending.of_call(context):
            while True:
                status = await self._status(request.service)
                if status != told:
                    await context.write(health_pb2.HealthCheckResponse(status=status))
                    told = status
                await asyncio.sleep(_WATCH_SECONDS)

    async def _unknown(self, service: str, context: Any) -> None:
        await context.abort(
            grpc.StatusCode.NOT_FOUND,
            f"There is no service {service[:80]!r}; ask for none in particular, for {SERVICES[1]!r} or for a "
            "model's name.",
        )

    async def _status(self, service: str) -> int:
        if service in SERVICES:
            ready = self._ready()
        else:
            try:
                ready = await self._model_ready(service)
            except ServiceError as error:
                if error.code == "unknown_model":
                    return int(health_pb2.HealthCheckResponse.SERVICE_UNKNOWN)
                ready = False
        response = health_pb2.HealthCheckResponse
        return int(response.SERVING if ready else response.NOT_SERVING)
