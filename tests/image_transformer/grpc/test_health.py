"""grpc.health.v1 as probes, meshes and balancers ask it."""

import asyncio
from typing import Any

import grpc
import pytest
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from over_grpc import OverGrpc

SERVING, NOT_SERVING, UNKNOWN = (
    health_pb2.HealthCheckResponse.SERVING,
    health_pb2.HealthCheckResponse.NOT_SERVING,
    health_pb2.HealthCheckResponse.SERVICE_UNKNOWN,
)
NAMES = ("", "inference.GRPCInferenceService", "cnn-image")


@pytest.fixture
def health(over_grpc: OverGrpc) -> Any:
    return health_pb2_grpc.HealthStub(over_grpc.channel)


def of(name: str) -> health_pb2.HealthCheckRequest:
    return health_pb2.HealthCheckRequest(service=name)


async def told(watch: Any) -> Any:
    async with asyncio.timeout(30):
        return (await watch.read()).status


async def test_a_check_tells_how_it_stands_now(over_grpc: OverGrpc, health: Any) -> None:
    service = over_grpc.service
    assert [(await health.Check(of(name))).status for name in NAMES] == [SERVING] * 3
    service.fake.status = 503
    await service.triton.probe()
    assert [(await health.Check(of(name))).status for name in NAMES] == [NOT_SERVING] * 3
    service.fake.status = 200
    await service.triton.probe()
    assert [(await health.Check(of(name))).status for name in NAMES] == [SERVING] * 3
    service.inference.closing = True
    assert [(await health.Check(of(name))).status for name in NAMES] == [NOT_SERVING] * 3


async def test_an_unknown_service_is_not_found(health: Any) -> None:
    with pytest.raises(aio.AioRpcError) as raised:
        await health.Check(of("other"))
    assert raised.value.code() is grpc.StatusCode.NOT_FOUND
    assert "'inference.GRPCInferenceService'" in raised.value.details()
    with pytest.raises(aio.AioRpcError) as raised:
        await health.Watch(of("long" * 100)).read()
    assert raised.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_watcher_hears_of_every_change_also_when_another_has_left(
    over_grpc: OverGrpc, health: Any
) -> None:
    service = over_grpc.service
    leaves, stays, of_model, of_none = (health.Watch(of(name)) for name in ("", "", "cnn-image", "other"))
    assert await told(leaves) == await told(stays) == await told(of_model) == SERVING
    assert await told(of_none) == UNKNOWN, "by the protocol it goes on: the service may come"
    leaves.cancel()
    service.fake.status = 503
    await service.triton.probe()
    assert await told(stays) == await told(of_model) == NOT_SERVING
    service.fake.status = 200
    await service.triton.probe()
    assert await told(stays) == await told(of_model) == SERVING


async def test_the_servers_end_sends_watchers_away(over_grpc: OverGrpc, health: Any) -> None:
    watch = health.Watch(of(""))
    assert await told(watch) == SERVING
    over_grpc.service.inference.closing = True
    assert await told(watch) == NOT_SERVING
    over_grpc.ending.begin()
    with pytest.raises(aio.AioRpcError) as raised:
        await watch.read()
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
    async with asyncio.timeout(30):
        await over_grpc.server.stop(0)
