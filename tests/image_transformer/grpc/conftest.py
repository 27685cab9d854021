"""The gRPC server in front of a Triton that a test can make slow or silent."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from grpc import aio
from over_grpc import OverGrpc, serve

from image_transformer.grpc import message_size
from image_transformer.grpc.ending import Ending
from image_transformer.grpc.health import HealthService
from image_transformer.grpc.management import ManagementService
from image_transformer.grpc.methods import methods
from image_transformer.grpc.server import GrpcServer, ServerLimits
from image_transformer.grpc.service import InferenceService
from image_transformer.grpc.stream import StreamService
from image_transformer.observe.requests import Observer


@pytest.fixture
async def over_grpc(service: Any) -> AsyncIterator[OverGrpc]:
    ending, inference = Ending(), service.inference
    observer = Observer(service.metrics, log_all=False)
    server = GrpcServer(observer, ServerLimits(calls=1000))
    infer = InferenceService(None, inference, observer)
    stream = StreamService(infer, inference.held, observer, ending)
    health = HealthService(lambda: inference.ready, inference.catalogue.ready, ending)
    parts = (infer, stream, ManagementService(inference.catalogue))
    server.add(methods(parts, health, ending, observer))
    port = await serve(server)
    async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield OverGrpc(service, ending, server, channel)
    await server.stop(0)


@pytest.fixture
def small_limit(monkeypatch: pytest.MonkeyPatch) -> int:
    """A hundredth of the limit in its place: a message's fields are counted one by one up to it."""
    monkeypatch.setattr(message_size, "MOST", message_size.MOST // 100)
    return message_size.MOST
