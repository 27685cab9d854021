#!/usr/bin/env bash
# LitServe 0.2.19: what a server takes that nobody asks, and what is left of it after SIGTERM.
#
# Expected: next to nothing, and nothing.
# Seen: with batches switched on (`max_batch_size=32`) a worker asks the queue, which is a process of its own, with a timeout
#       of a millisecond, so both take processor time for ever, a third to two thirds of a core in all. SIGTERM, as `kill` or a
#       container's end sends it to the process that was started, ends that one alone: its children live on, as busy as
#       before. (In a container they end with it.)
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3.11 -m venv "$work/venv"
"$work/venv/bin/pip" install -q litserve==0.2.19 psutil==7.2.2
cat >"$work/server.py" <<'PYTHON'
import litserve


class Echo(litserve.LitAPI):
    def setup(self, device):
        pass

    def decode_request(self, request):
        return request["input"]

    def batch(self, inputs):
        return inputs

    def predict(self, inputs):
        return inputs

    def unbatch(self, outputs):
        return outputs

    def encode_response(self, output):
        return {"output": output}


if __name__ == "__main__":
    server = litserve.LitServer(Echo(max_batch_size=32), accelerator="cpu")
    server.run(host="127.0.0.1", port=18471, log_level="warning", generate_client_file=False)
PYTHON
cat >"$work/look.py" <<'PYTHON'
import subprocess
import sys
import time
import urllib.request

import psutil

started = subprocess.Popen([sys.executable, sys.argv[1]])
for _ in range(200):
    try:
        urllib.request.urlopen("http://127.0.0.1:18471/health", timeout=2)
        break
    except OSError:
        time.sleep(0.3)
time.sleep(2)
main = psutil.Process(started.pid)
everybody = [main, *main.children(recursive=True)]
try:
    before = sum(sum(one.cpu_times()[:2]) for one in everybody)
    time.sleep(5)
    idle = (sum(sum(one.cpu_times()[:2]) for one in everybody) - before) / 5
    started.terminate()
    started.wait(30)
    _, left = psutil.wait_procs(everybody, timeout=10)
    print(f"idle: {idle:.2f} of a core; {len(left)} processes live on after SIGTERM")
finally:
    for one in everybody:
        if one.is_running():
            one.kill()
if idle < 0.1 or not left:
    sys.exit("CHANGED: it is still when nobody asks, or ends as a whole")
PYTHON
"$work/venv/bin/python" "$work/look.py" "$work/server.py"
echo "As seen before."
