#!/usr/bin/env bash
# grpcio 1.85.1: which option decides when a server gives up a client that answers no keepalive ping.
#
# Expected: `grpc.keepalive_timeout_ms` after the ping, as its description says.
# Seen: a server told 500 ms keeps the connection, and the call on it; `grpc.http2.ping_timeout_ms`, 60 s by default, decides.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3.11 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check grpcio==1.85.1
cat >"$work/client.py" <<'PY'
import sys
import threading

import grpc


def messages():
    yield b"one"
    threading.Event().wait()


channel = grpc.insecure_channel(sys.argv[1])
for _ in channel.stream_stream("/tests.Service/Stream")(messages()):
    print("answered", flush=True)
PY
"$work/venv/bin/python" - "$work/client.py" <<'PY'
import asyncio
import signal
import subprocess
import sys

import grpc

WAIT = 10.0


async def gone(option: str) -> bool:
    """Whether a server hears within some seconds that its client stands still."""
    ended = asyncio.Event()

    async def stream(requests, context):
        try:
            async for request in requests:
                await context.write(request)
        finally:
            ended.set()

    server = grpc.aio.server(options=(("grpc.keepalive_time_ms", 1000), (option, 500)))
    handlers = {"Stream": grpc.stream_stream_rpc_method_handler(stream)}
    server.add_registered_method_handlers("tests.Service", handlers)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    client = subprocess.Popen([sys.executable, sys.argv[1], f"127.0.0.1:{port}"], stdout=subprocess.PIPE)
    await asyncio.to_thread(client.stdout.readline)
    client.send_signal(signal.SIGSTOP)
    try:
        await asyncio.wait_for(ended.wait(), WAIT)
    except TimeoutError:
        return False
    finally:
        client.kill()
        await server.stop(0)
    return True


async def main() -> bool:
    options = ("grpc.keepalive_timeout_ms", "grpc.http2.ping_timeout_ms")
    found = {option: await gone(option) for option in options}
    print(f"noticed within {WAIT:.0f} s: {found}")
    return list(found.values()) == [False, True]


raise SystemExit(not asyncio.run(main()))
PY
echo "As seen before."
