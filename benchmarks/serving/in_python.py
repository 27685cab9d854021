"""What a request costs in Python, here and there: `python -m benchmarks.serving.in_python CHECKOUT …`.

All of a transformer between two sockets: eight connections get a request each, whose answers are awaited,
on a transport that keeps what is written; Triton is the other end of some pairs of sockets, and answers at
once.
Printed is the 5th percentile of the processor time of such turns, in µs a request, which other work on the
machine changes little: each is short, and few of them are disturbed. The kernel's part is measured by
`python -m benchmarks.serving.beside`.
"""

import asyncio
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

CONNECTIONS: Final = 8
TURNS: Final = 1000
ROUNDS: Final = 3
WAYS: Final = ("predict", "v2-binary", "v2-json")
_BYTES: Final = 32 * 32 * 3


class Wire:
    """A transport that counts what is written down to the last answer that is due."""

    due = 0
    answered: "asyncio.Future[None]"
    answer = b""

    def write(self, data: bytes) -> None:
        Wire.answer = data
        Wire.due -= 1
        if not Wire.due:
            Wire.answered.set_result(None)

    def is_closing(self) -> bool:
        return False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"sockname": ("127.0.0.1", 80), "peername": ("127.0.0.1", 1)}.get(name, default)


def respond(end: socket.socket) -> None:
    """Answers a call as Triton does, with numbers of no meaning."""
    count = len(end.recv(2**20)) // _BYTES
    head = (
        b'{"model_name":"cnn-image","model_version":"7","outputs":[{"name":"probs","datatype":"FP32",'
        b'"shape":[%d,5],"parameters":{"binary_data_size":%d}}]}' % (count, 20 * count)
    )
    end.send(
        b"HTTP/1.1 200 OK\r\nInference-Header-Content-Length: %d\r\nContent-Length: %d\r\n\r\n"
        % (len(head), len(head) + 20 * count)
        + head
        + b"\0\0\x80\x3e" * 5 * count
    )


async def measure(request: bytes) -> float:
    """Returns µs a request."""
    import uvicorn
    from uvicorn.server import ServerState

    from image_transformer.http.http1.protocol import guarded
    from image_transformer.http.routes import Routes
    from image_transformer.inference.answer import Inference
    from image_transformer.observe import logs
    from image_transformer.observe.metrics import Metrics
    from image_transformer.observe.requests import Observer
    from image_transformer.settings import Settings
    from image_transformer.training.routes import TrainRoutes
    from image_transformer.triton.client import Triton
    from image_transformer.triton.connection import Connection
    from image_transformer.triton.served import Served
    from model.contract import DEFAULT_CONTRACT

    logs.configure()
    loop = asyncio.get_running_loop()
    settings, metrics = Settings(), Metrics()
    triton = Triton("127.0.0.1:1", settings.model_name, 3, metrics)
    inference, observer = Inference(settings, triton, metrics), Observer(metrics, log_all=False)
    app: Any = Routes(inference, observer, TrainRoutes(None, ""), None)  # type: ignore[arg-type] # none is asked
    endpoint = triton.endpoints.add(("127.0.0.1", 1))
    for _ in range(4):
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        loop.add_reader(theirs, respond, theirs)
        connection = Connection(ours, endpoint._idle.append, lambda _: None)
        connection.opened += 3600  # or it would be old soon
        endpoint._idle.append(connection)
    endpoint.serves((Served("cnn-image", "7", DEFAULT_CONTRACT, {}),))
    config = uvicorn.Config(app, log_config=None, proxy_headers=False, server_header=False)
    config.load()
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    protocol = guarded(listener, 1024, lambda: False, lambda: None, lambda: None)
    state, took = ServerState(), []
    protocols = [protocol(config, state, {}, loop) for _ in range(CONNECTIONS)]
    for one in protocols:
        one.connection_made(Wire())  # type: ignore[arg-type] # what a connection needs of one
    for _ in range(TURNS):
        Wire.due, Wire.answered = CONNECTIONS, loop.create_future()
        started = time.process_time()
        for one in protocols:
            one.data_received(request)
        await Wire.answered
        took.append(time.process_time() - started)
        assert Wire.answer.startswith(b"HTTP/1.1 200 OK\r\n"), Wire.answer
    inference.close()
    return sorted(took)[TURNS // 20] / CONNECTIONS * 1e6


def work(root: str) -> None:
    """Measures the code of a checkout: requests are read from the standard input, as hexadecimal lines."""
    import uvloop

    sys.path[:0] = [f"{root}/kserve", root]
    import image_transformer

    assert (image_transformer.__file__ or "").startswith(root + "/")
    sys.argv[1:] = []
    print(uvloop.run(measure(bytes.fromhex(sys.stdin.read()))))


def main() -> None:
    """Measures each checkout in turns and prints the medians."""
    from benchmarks.serving import payloads
    from benchmarks.serving.photographs import small_images
    from benchmarks.serving.ratios import spread

    roots = [str(Path.cwd()), *(str(Path(name).resolve()) for name in sys.argv[1:])]
    image, infer = small_images(1), "/v2/models/cnn-image/infer"
    bodies = (
        ("/predict", payloads.raw(image)),
        (infer, payloads.v2_encoded(image)),
        (infer, payloads.v2_base64(image)),
    )
    for way, (path, body) in zip(WAYS, bodies, strict=True):
        request = payloads.http_request(path, "127.0.0.1", body).hex()
        found: dict[str, list[float]] = {root: [] for root in roots}
        for _ in range(ROUNDS):
            for root in roots:
                line = [sys.executable, "-P", __file__, "--work", root]
                done = subprocess.run(line, input=request, capture_output=True, text=True, check=True)
                found[root].append(float(done.stdout.splitlines()[-1]))
        for root in roots:
            print(f"{way:10} {spread(found[root])} µs a request  {root}", flush=True)


if __name__ == "__main__":
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    if sys.argv[1:2] == ["--work"]:
        work(sys.argv[2])
    else:
        main()
