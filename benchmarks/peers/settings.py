"""The ways in which each peer was set up, the best first: `python -m benchmarks.peers tune` tries them all.

Each is what a peer's own documentation says to try (the page stands beside it), for two cores.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final


@dataclass(frozen=True)
class Setup:
    """One way to run a peer.

    Attributes:
        title: For people.
        settings: Of its program, as JSON in its environment.
        workers: Processes of uvicorn, for FastAPI.
        threads: Of ONNX Runtime in each session.
        service: Of BentoML, which class.
    """

    title: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    workers: int = 2
    threads: int = 1
    service: str = ""


NAMES: Final[Mapping[str, str]] = {
    "fastapi": "FastAPI + ONNX Runtime",
    "mosec": "mosec",
    "litserve": "LitServe",
    "bentoml": "BentoML",
    "ray": "Ray Serve",
}

ADVICE: Final[Mapping[str, str]] = {
    "fastapi": "uvicorn's page on deployment (a process a core, uvloop, httptools) and ONNX Runtime's on"
    " threads",
    "mosec": "its README, “Performance tuning”: batch size and wait by measuring, stages, workers a stage,"
    " threads by hand, no JSON for images",
    "litserve": "its pages on batching (`max_batch_size`, `batch_timeout`), on speed (workers, API servers)"
    " and `fast_queue`",
    "bentoml": "its pages on adaptive batching, on workers and on ASGI integration",
    "ray": "its pages on performance (`RAY_SERVE_THROUGHPUT_OPTIMIZED`, `async`, `max_ongoing_requests`), on"
    " high throughput (HAProxy) and on dynamic request batching",
}

SETUPS: Final[Mapping[str, tuple[Setup, ...]]] = {
    "fastapi": (
        Setup("2 processes, what a turn of the loop brings together", {"batch": 32}),
        Setup("2 processes, each request by itself"),
        Setup("1 process, turns, 2 threads of ONNX Runtime", {"batch": 32}, workers=1, threads=2),
    ),
    "mosec": (
        Setup("2 workers, batches of 16, 1 ms", {"workers": 2, "batch": 16, "wait_ms": 1}),
        Setup("2 workers, no batches", {"workers": 2}),
        Setup("1 worker, batches of 32, 1 ms", {"workers": 1, "batch": 32, "wait_ms": 1}),
        Setup("2 workers, batches of 8, 1 ms", {"workers": 2, "batch": 8, "wait_ms": 1}),
        Setup("2 workers, batches of 32, 2 ms", {"workers": 2, "batch": 32, "wait_ms": 2}),
        Setup(
            "2 decoders, then 1 worker, batches of 32, 1 ms",
            {"decoders": 2, "workers": 1, "batch": 32, "wait_ms": 1},
        ),
    ),
    "litserve": (
        Setup("1 worker, 1 server, batches of 32", {"batch": 32}),
        Setup("1 worker, 1 server, batches of 32, fast queue", {"batch": 32, "fast_queue": True}),
        Setup(
            "1 worker, 2 servers, batches of 32, fast queue", {"batch": 32, "servers": 2, "fast_queue": True}
        ),
        Setup("1 worker, 2 servers, batches of 32", {"batch": 32, "servers": 2}),
        Setup(
            "2 workers, 2 servers, batches of 16, 1 ms",
            {"workers": 2, "batch": 16, "servers": 2, "timeout": 0.001},
        ),
        Setup("2 workers, 1 server, no batches", {"workers": 2}),
    ),
    "bentoml": (
        Setup("an ASGI application, 2 workers", {"workers": 2}, service="Mounted"),
        Setup("adaptive batches of 32, 2 workers", {"workers": 2, "batch": 32}, service="Batched"),
        Setup("adaptive batches of 32, 1 worker", {"workers": 1, "batch": 32}, service="Batched"),
    ),
    "ray": (
        Setup("1 replica, batches of 32", {"replicas": 1, "batch": 32}),
        Setup("2 replicas, batches of 16", {"replicas": 2, "batch": 16}),
        Setup("2 replicas, no batches", {"replicas": 2}),
        Setup("2 replicas, batches of 16, 2 ms", {"replicas": 2, "batch": 16, "wait": 0.002}),
    ),
}
