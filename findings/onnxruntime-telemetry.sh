#!/usr/bin/env bash
# onnxruntime 1.31.1, the Linux wheel: whom it connects to while it only runs a model.
#
# Expected: nobody; telemetry was a matter of Windows builds, and `disable_telemetry_events()` switches it off.
# Seen: within a minute and a half it asks for mobile.events.data.microsoft.com:443, through the proxy of the environment,
#       also after `disable_telemetry_events()`. ORT_DISABLE_TELEMETRY=1 in the environment stops it.
# Takes five minutes: three processes, a minute and a half each. Nothing leaves the machine: the proxy named to it is one
# that writes down what is asked for and refuses.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3.11 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check onnxruntime==1.31.1 onnx==1.23.2
cat >"$work/model.py" <<'PY'
"""Runs a model of one node once a second."""
import sys
import time

import numpy as np
import onnxruntime
from onnx import TensorProto, helper

if "disable" in sys.argv:
    onnxruntime.disable_telemetry_events()
shape = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1]), helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [shape[0]], [shape[1]])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
ends = time.monotonic() + 90
while time.monotonic() < ends:
    session.run(None, {"x": np.zeros(1, np.float32)})
    time.sleep(1)
PY
cat >"$work/watch.py" <<'PY'
"""Runs a command with a proxy that records and refuses; prints the hosts that were asked for."""
import os
import socket
import subprocess
import sys
import threading

listening = socket.create_server(("127.0.0.1", 0))
asked: set[str] = set()


def serve() -> None:
    while True:
        client, _ = listening.accept()
        with client:
            line = client.recv(4096).decode("latin-1").split("\r\n")[0]
            asked.add(" ".join(line.split()[:2]))
            client.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")


threading.Thread(target=serve, daemon=True).start()
proxy = f"http://127.0.0.1:{listening.getsockname()[1]}"
names = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), proxy)
subprocess.run(sys.argv[1:], env={**os.environ, **names}, check=True)
print(sorted(asked))
PY
export HOME=$work
python=$work/venv/bin/python
by_itself=$("$python" "$work/watch.py" "$python" "$work/model.py")
disabled=$("$python" "$work/watch.py" "$python" "$work/model.py" disable)
variable=$(ORT_DISABLE_TELEMETRY=1 "$python" "$work/watch.py" "$python" "$work/model.py")
echo "by itself:                       $by_itself"
echo "after disable_telemetry_events:  $disabled"
echo "with ORT_DISABLE_TELEMETRY=1:    $variable"
[[ $by_itself == *mobile.events.data.microsoft.com:443* && $disabled == *mobile.events.data.microsoft.com:443* ]] ||
    { echo "CHANGED: it asks nobody, or the call helps"; exit 1; }
[[ $variable == "[]" ]] || { echo "CHANGED: the variable does not stop it"; exit 1; }
echo "As seen before."
