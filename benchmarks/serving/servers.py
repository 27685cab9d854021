"""How each server is started, and where it listens."""

import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path

from benchmarks.serving.artifact import Precision, graph_path, repository
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
    transformer_int8: int
    transformer_int8_grpc: int
    triton_int8: int
    triton_int8_grpc: int
    triton_int8_metrics: int
    other_triton: int
    other_triton_grpc: int
    other_triton_metrics: int
    other_triton_int8: int
    other_triton_int8_grpc: int
    other_triton_int8_metrics: int
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

    def triton(name: str, models: Path, at: tuple[int, int, int], *flags: str) -> Service:
        http, grpc, metrics = at
        argv = ["triton_server", "--model-repository", str(models), "--http-port", str(http)]
        argv += ["--grpc-port", str(grpc), "--metrics-port", str(metrics), *flags]
        return service(name, argv, f"{http}/v2/health/ready")

    def own_triton(name: str, precision: Precision, at: tuple[int, int, int]) -> Service:
        return triton(name, repository(work, precision), at, "--config-variant", variant)

    def transformer(name: str, predictor: int, http: int, grpc: int) -> Service:
        argv = ["image_transformer", "--predictor_host", f"127.0.0.1:{predictor}"]
        argv += ["--http_port", str(http), "--grpc_port", str(grpc)]
        return service(name, argv, f"{http}/health")

    def other_triton(name: str, precision: Precision, at: tuple[int, int, int]) -> Service:
        models = work / name
        write_repository(models, graph_path(work, precision))
        return triton(name, models, at)

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

    at = (ports.triton, ports.triton_grpc, ports.triton_metrics)
    at_int8 = (ports.triton_int8, ports.triton_int8_grpc, ports.triton_int8_metrics)
    own = (ports.triton, ports.transformer, ports.transformer_grpc)
    own_int8 = (ports.triton_int8, ports.transformer_int8, ports.transformer_int8_grpc)
    other = (ports.other_triton, ports.other_triton_grpc, ports.other_triton_metrics)
    other_int8 = (ports.other_triton_int8, ports.other_triton_int8_grpc, ports.other_triton_int8_metrics)
    starts: dict[str, Callable[[], Service]] = {
        "triton": partial(own_triton, "triton", "float", at),
        "transformer": partial(transformer, "transformer", *own),
        "triton-int8": partial(own_triton, "triton-int8", "int8", at_int8),
        "transformer-int8": partial(transformer, "transformer-int8", *own_int8),
        "other-triton": partial(other_triton, "other-triton", "float", other),
        "other-triton-int8": partial(other_triton, "other-triton-int8", "int8", other_int8),
        "kserve": kserve,
        "fastapi-onnx": fastapi_onnx,
        "fastapi-plain": fastapi_plain,
        "original": original,
    }
    return {name: start for name, start in starts.items() if name in needed}
