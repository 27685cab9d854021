#!/usr/bin/env bash
# grpcio 1.85.1: which families a server on 0.0.0.0 listens on.
#
# Expected: `0.0.0.0` is every IPv4 address, as for any other server; `[::]` is needed for IPv6.
# Seen: gRPC's core takes either wildcard for "all addresses" and listens on both families, so a service whose HTTP and gRPC
#       are both told 0.0.0.0 answers on IPv6 by gRPC alone.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3.11 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check grpcio==1.85.1
"$work/venv/bin/python" - <<'PY'
import concurrent.futures
import socket

import grpc

server = grpc.server(concurrent.futures.ThreadPoolExecutor(1))
port = server.add_insecure_port("0.0.0.0:0")
server.start()
found = {}
for address in ("127.0.0.1", "::1"):
    try:
        with socket.create_connection((address, port), timeout=5):
            found[address] = "answers"
    except OSError as error:
        found[address] = type(error).__name__
server.stop(None).wait()
print(f"grpcio {grpc.__version__} on 0.0.0.0: {found}")
raise SystemExit(found != {"127.0.0.1": "answers", "::1": "answers"})
PY
echo "As seen before."
