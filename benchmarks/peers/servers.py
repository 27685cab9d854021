"""How everybody is started, and how each is asked."""

import base64
import json
import secrets
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.peers import environments
from benchmarks.peers.rounds import Contender, Run
from benchmarks.peers.settings import NAMES, Setup
from benchmarks.serving import load, payloads
from benchmarks.serving.artifact import Precision, graph_path, repository
from benchmarks.serving.payloads import Body
from benchmarks.serving.photographs import Photograph
from benchmarks.serving.services import START_SECONDS, Service, ServiceError, free_ports
from model.contract import MODEL_NAME

Encode = Callable[[Sequence[bytes]], Body]

PROBABILITIES: Final = '"probabilities":['
_INFER: Final = f"/v2/models/{MODEL_NAME}/infer"


@dataclass(frozen=True)
class Stage:
    """What all are given.

    Attributes:
        work: Holds the artifact, logs and requests.
        size: Side of the network's input.
        variant: Config variant of our Triton.
        images: Numbers of images a request that are asked.
        stack: Keeps the servers running.
    """

    work: Path
    size: int
    variant: str
    images: Sequence[int]
    stack: ExitStack

    def start(
        self, name: str, argv: Sequence[str], ready: str, environment: Mapping[str, str] | None = None
    ) -> Service:
        """Starts a server and waits until it serves."""
        print(f"starting {name}", flush=True)
        log = self.work / "log" / f"{name}.log"
        return self.stack.enter_context(Service(name, argv, f"http://127.0.0.1:{ready}", log, environment))

    def environment(self, precision: Precision, decoder: str, setup: Setup) -> dict[str, str]:
        """What `benchmarks.competitors.model` and `.decoders` read."""
        return {
            "COMPETITOR_GRAPH": str(graph_path(self.work, precision).absolute()),
            "COMPETITOR_SIZE": str(self.size),
            "COMPETITOR_DECODER": decoder,
            "COMPETITOR_THREADS": str(setup.threads),
            "COMPETITOR_SETTINGS": json.dumps(dict(setup.settings)),
            "PYTHONPATH": str(Path.cwd()),
        }

    def runs(
        self, key: str, port: int, answered: Sequence[Photograph], ways: Mapping[int, tuple[str, Encode, str]]
    ) -> dict[int, Run]:
        """Returns what loads a server, by images a request: path, body and the text before the numbers."""
        return {
            images: _run(self.work / "requests" / f"{key}-{images}", port, answered, images, *ways[images])
            for images in self.images
            if images in ways
        }


def _run(
    folder: Path,
    port: int,
    answered: Sequence[Photograph],
    images: int,
    path: str,
    encode: Encode,
    marker: str,
) -> Run:
    groups = [
        [answered[(start + more) % len(answered)] for more in range(images)] for start in range(len(answered))
    ]
    address = f"127.0.0.1:{port}"
    requests = [
        payloads.http_request(path, address, encode([one.encoded for one in group])) for group in groups
    ]
    expected = np.stack([np.concatenate([one.probabilities for one in group]) for group in groups])
    prepared = load.prepare(folder, requests, expected, marker)
    return lambda connections, seconds: load.wrk(address, prepared, connections, seconds)


def make_artifact(work: Path, *network: str) -> None:
    """Makes what everybody serves, unless it is there: see `benchmarks.serving.artifact`."""
    if not graph_path(work, "int8").exists():
        line = [sys.executable, "-m", "benchmarks.serving.artifact", str(work), *network]
        subprocess.run(line, check=True)


def ours(stage: Stage, answered: Sequence[Photograph], precision: Precision = "int8") -> Contender:
    """Our transformer and our Triton: `POST /predict`; several images over v2 REST in binary."""
    port, own = _transformer(stage, precision)
    ways = {1: ("/predict", payloads.raw, PROBABILITIES)}
    ways |= {images: (_INFER, payloads.v2_encoded, '"data":[') for images in stage.images if images > 1}
    title = f"**ours**, {precision}{', the default' if precision == 'int8' else ''}"
    return Contender(f"ours-{precision}", title, own, stage.runs(f"ours-{precision}", port, answered, ways))


def _transformer(stage: Stage, precision: Precision) -> tuple[int, list[Service]]:
    http, grpc = free_ports(2)
    predictor, _, triton = _triton(stage, f"triton-{precision}", precision)
    argv = [sys.executable, "-m", "image_transformer", "--predictor_host", f"127.0.0.1:{predictor}"]
    argv += ["--http_port", str(http), "--grpc_port", str(grpc)]
    return http, [triton, stage.start(f"transformer-{precision}", argv, f"{http}/health")]


def _triton(stage: Stage, name: str, precision: Precision) -> tuple[int, int, Service]:
    http, grpc, metrics = free_ports(3)
    argv = [sys.executable, "-m", "triton_server"]
    argv += ["--model-repository", str(repository(stage.work, precision)), "--config-variant", stage.variant]
    argv += ["--http-port", str(http), "--grpc-port", str(grpc), "--metrics-port", str(metrics)]
    return http, grpc, stage.start(name, argv, f"{http}/v2/health/ready")


def kserve_stock(stage: Stage, answered: Sequence[Photograph], decoder: str) -> Contender:
    """KServe's transformer as its examples have it, with our graph in float in a Triton of its own."""
    _, predictor, triton = _triton(stage, "stock-triton", "float")
    [port] = free_ports(1)
    argv = [sys.executable, "-m", "benchmarks.competitors.kserve_stock", "--predictor_protocol", "grpc-v2"]
    argv += ["--predictor_host", f"127.0.0.1:{predictor}", "--http_port", str(port), "--enable_grpc", "false"]
    argv += ["--enable_latency_logging", "false", "--configure_logging", "false"]
    environment = {"COMPETITOR_DECODER": decoder, "COMPETITOR_SIZE": str(stage.size)}
    own = [triton, stage.start("stock", argv, f"{port}/v2/health/ready", environment)]
    way = f"/v1/models/{MODEL_NAME}:predict", payloads.v1_base64, '"predictions":['
    runs = stage.runs("stock", port, answered, {1: way})
    return Contender("stock", "KServe's stock transformer + Triton, float, Pillow", own, runs)


def fastapi(
    stage: Stage,
    answered: Sequence[Photograph],
    setup: Setup,
    *,
    precision: Precision = "int8",
    decoder: str = "ours",
    key: str = "fastapi",
) -> Contender:
    """FastAPI with ONNX Runtime in its processes."""
    [port] = free_ports(1)
    argv = [sys.executable, "-m", "uvicorn", "benchmarks.competitors.fastapi_turns:app", "--port", str(port)]
    argv += ["--workers", str(setup.workers), "--loop", "uvloop", "--http", "httptools"]
    argv += ["--no-access-log", "--log-level", "warning"]
    own = [stage.start(key, argv, f"{port}/health", stage.environment(precision, decoder, setup))]
    runs = stage.runs(key, port, answered, _bodies(stage))
    return Contender(key, f"{NAMES['fastapi']}, {setup.title}", own, runs)


def tutorial(stage: Stage, answered: Sequence[Photograph]) -> Contender:
    """FastAPI as tutorials write it: upload, Pillow, one process, float, default threads."""
    [port] = free_ports(1)
    argv = [sys.executable, "-m", "uvicorn", "benchmarks.competitors.fastapi_plain:app", "--port", str(port)]
    argv += ["--no-access-log", "--log-level", "warning"]
    environment = stage.environment("float", "pillow", Setup(""))
    own = [stage.start("tutorial", argv, f"{port}/health", environment)]
    runs = stage.runs("tutorial", port, answered, {1: ("/predict", payloads.multipart, PROBABILITIES)})
    return Contender("tutorial", "FastAPI + ONNX Runtime as tutorials write it, float, Pillow", own, runs)


def peer(stage: Stage, answered: Sequence[Photograph], name: str, setup: Setup, key: str = "") -> Contender:
    """One of `NAMES`, run as a setup says, with the int8 graph and our decoder."""
    key = key or name
    if name == "fastapi":
        return fastapi(stage, answered, setup, key=key)
    python = str(environments.python(name))
    environment = stage.environment("int8", "ours", setup)
    [port] = free_ports(1)
    program, ready = f"benchmarks.competitors.{name}_server", f"{port}/health"
    argv = [python, "-m", program, str(port)]
    ways = _bodies(stage)
    if name == "mosec":
        argv = [python, "-m", program, "--port", str(port), "--address", "127.0.0.1"]
        argv += ["--log-level", "warning", "--timeout", "60000"]
        ready = f"{port}/"
    elif name == "ray":
        argv[2] = "benchmarks.competitors.ray_serve"
        # Its pages on performance and on high throughput; a token, so that nobody else commands it.
        environment |= {"RAY_SERVE_THROUGHPUT_OPTIMIZED": "1", "RAY_SERVE_ENABLE_HA_PROXY": "1"}
        environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        # On a busy machine its proxy needs longer to start than the 5 s that it is given.
        environment |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60"}
        ready = f"{port}/-/healthz"
    elif name == "bentoml":
        service = f"benchmarks.competitors.bentoml_service:{setup.service}"
        argv = [python, "-m", "bentoml", "serve", service, "--port", str(port), "--host", "127.0.0.1"]
        environment |= {"BENTOML_DO_NOT_TRACK": "True", "BENTOML_HOME": str(stage.work / "bentoml")}
        if setup.service == "Batched":
            ways = dict.fromkeys(stage.images, ("/predict", _json, "["))
            ready = f"{port}/readyz"
    own = [stage.start(key, argv, ready, environment)]
    path, encode, _ = ways[1]
    _until_answered(key, f"http://127.0.0.1:{port}{path}", encode([answered[0].encoded]))
    said = f"{NAMES[name]} {environments.version(name)}, {setup.title}"
    restless = name == "litserve"  # its workers ask their queue without end
    return Contender(key, said, own, stage.runs(key, port, answered, ways), suspended=restless)


def _until_answered(name: str, url: str, body: Body) -> None:
    """Waits for the first answer: some say that they are ready before their workers are."""
    request = urllib.request.Request(url, body.data, body.headers)
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with suppress(OSError), urllib.request.urlopen(request, timeout=10):
            return
        time.sleep(0.2)
    raise ServiceError(f"{name} runs, and answered no picture in {START_SECONDS} s")


def _bodies(stage: Stage) -> dict[int, tuple[str, Encode, str]]:
    return {
        images: ("/predict", payloads.raw if images == 1 else _prefixed, PROBABILITIES)
        for images in stage.images
    }


def _prefixed(images: Sequence[bytes]) -> Body:
    return Body(payloads.length_prefixed(images), {"Content-Type": "application/octet-stream"})


def _json(images: Sequence[bytes]) -> Body:
    encoded = [base64.b64encode(image).decode() for image in images]
    return Body(json.dumps({"images": encoded}).encode(), {"Content-Type": "application/json"})
