#!/usr/bin/env bash
# grpcio-health-checking 1.81.1: what becomes of the other watchers of a service when one of them leaves.
#
# Expected: each watcher hears of every change for as long as it stays.
# Seen: the asyncio servicer keeps one condition for all watchers of a name, and drops it when the first of them leaves;
#       the others are never told anything again. The synchronous servicer is not concerned.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3.11 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check grpcio==1.85.1 grpcio-health-checking==1.81.1 protobuf==6.33.6
"$work/venv/bin/python" - <<'PY'
import asyncio

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

WAIT = 3.0


async def main() -> bool:
    server, servicer = grpc.aio.server(), health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        leaves, stays = (stub.Watch(health_pb2.HealthCheckRequest()) for _ in range(2))
        await leaves.read()
        await stays.read()
        leaves.cancel()
        await asyncio.sleep(0.5)  # until the server has heard of it
        await servicer.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
        try:
            told = await asyncio.wait_for(stays.read(), WAIT)
        except TimeoutError:
            told = None
    await server.stop(0)
    print(f"the watcher that stayed was told: {told}")
    return told is None


raise SystemExit(not asyncio.run(main()))
PY
echo "As seen before."
