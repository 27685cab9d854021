"""A server of a small service, whose places are all free in the end."""

from collections.abc import AsyncIterator

import pytest
from grpc_service import MANY, READS, Service, written

from image_transformer.grpc.calls.method import Method
from image_transformer.grpc.server import GrpcServer, ServerLimits
from image_transformer.observe.metrics import Metrics
from image_transformer.observe.requests import Observer


@pytest.fixture
async def service() -> Service:
    return Service()


@pytest.fixture
async def server(service: Service) -> AsyncIterator[GrpcServer]:
    limits = ServerLimits(calls=10, message_bytes=300_000)
    server = GrpcServer(Observer(Metrics(), log_all=False), limits)
    server.add(
        {
            "/tests.Service/Echo": Method(service.one, bytes, written),
            READS: Method(service.reads, bytes, written, takes_many=True),
            MANY: Method(service.many, bytes, written, takes_many=True, gives_many=True),
        }
    )
    yield server
    assert (server._calls, server._lasting) == (0, 0), "all places are free again"
