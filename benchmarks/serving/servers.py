"""How each server is started, and where it listens."""

import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from benchmarks.serving.artifact import graph_path
from benchmarks.serving.ensemble import write_repository
from benchmarks.serving.services import Service, free_ports


@dataclass(frozen=True)
class Ports:
    """Where everyone listens on 127.0.0.1."""

    transformer: int
    transformer_grpc: int
    triton: int
    triton_grpc: int
    triton_metrics: int
    other_triton: int
    other_triton_grpc: int
    other_triton_metrics: int
    kserve: int
    fastapi_onnx: int
    fastapi_plain: int
    original: int

    @classmethod
    def free(cls) -> "Ports":
        """Returns ports that nobody listens on now."""
        return cls(*free_ports(len(fields(cls))))


def starters(
    work: Path, variant: str, ports: Ports, needed: Collection[str]
) -> dict[str, Callable[[], Service]]:
    """Returns how to start the servers that are needed, by name, in the order to start them.

    Args:
        work: Holds the artifact; repositories and logs are written below it.
        variant: Triton config variant of ours.
        ports: Where they listen.
        needed: Their names.
    """

    def service(
        name: str, argv: Sequence[str], ready: str, environment: Mapping[str, str] | None = None
    ) -> Service:
        command = [sys.executable, "-m", *argv]
        return Service(name, command, f"http://127.0.0.1:{ready}", work / "log" / f"{name}.log", environment)

    def triton(name: str, repository: Path, http: int, grpc: int, metrics: int, *flags: str) -> Service:
        argv = ["triton_server", "--model-repository", str(repository), "--http-port", str(http)]
        argv += ["--grpc-port", str(grpc), "--metrics-port", str(metrics), *flags]
        return service(name, argv, f"{http}/v2/health/ready")

    def own_triton() -> Service:
        at = (ports.triton, ports.triton_grpc, ports.triton_metrics)
        return triton("triton", work / "repository", *at, "--config-variant", variant)

    def transformer() -> Service:
        argv = ["image_transformer", "--predictor_host", f"127.0.0.1:{ports.triton}"]
        argv += ["--http_port", str(ports.transformer), "--grpc_port", str(ports.transformer_grpc)]
        return service("transformer", argv, f"{ports.transformer}/health")

    def other_triton() -> Service:
        repository = work / "ensemble"
        write_repository(repository, graph_path(work))
        at = (ports.other_triton, ports.other_triton_grpc, ports.other_triton_metrics)
        return triton("other-triton", repository, *at)

    def kserve() -> Service:
        argv = ["benchmarks.competitors.kserve_stock", "--predictor_protocol", "grpc-v2"]
        argv += ["--predictor_host", f"127.0.0.1:{ports.other_triton_grpc}"]
        argv += ["--http_port", str(ports.kserve), "--enable_grpc", "false"]
        argv += ["--enable_latency_logging", "false", "--configure_logging", "false"]
        return service("kserve", argv, f"{ports.kserve}/v2/health/ready")

    def uvicorn(name: str, app: str, port: int, *flags: str, **environment: str) -> Service:
        argv = ["uvicorn", f"benchmarks.competitors.{app}:app", "--port", str(port)]
        argv += ["--no-access-log", "--log-level", "warning", *flags]
        return service(name, argv, f"{port}/health", environment)

    def fastapi_onnx() -> Service:
        flags = ("--workers", "2", "--loop", "uvloop", "--http", "httptools")
        graph = str(graph_path(work))
        return uvicorn("fastapi-onnx", "fastapi_onnx", ports.fastapi_onnx, *flags, COMPETITOR_GRAPH=graph)

    def fastapi_plain() -> Service:
        graph = str(graph_path(work))
        return uvicorn("fastapi-plain", "fastapi_plain", ports.fastapi_plain, COMPETITOR_GRAPH=graph)

    def original() -> Service:
        network = str(work / "network.keras")
        environment = {"COMPETITOR_NETWORK": network, "TF_CPP_MIN_LOG_LEVEL": "3"}
        return uvicorn("original", "original", ports.original, **environment)

    starts = {
        "triton": own_triton,
        "transformer": transformer,
        "other-triton": other_triton,
        "kserve": kserve,
        "fastapi-onnx": fastapi_onnx,
        "fastapi-plain": fastapi_plain,
        "original": original,
    }
    return {name: start for name, start in starts.items() if name in needed}
