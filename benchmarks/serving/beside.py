"""A request's cost beside other checkouts': `python -m benchmarks.serving.beside CHECKOUT …`.

Each checkout has a Triton and a transformer of its own, and serves the int8 twin that it makes itself. All
run and take turns, in rotating order. Counted is the processor time of both for a request (user and system,
of all processes and threads), which other work on the machine disturbs less than rates, which stand beside.
wrk and h2load ask, and every answer is held against ONNX Runtime's, as in `python -m benchmarks.serving`.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from benchmarks.serving import load, payloads
from benchmarks.serving.__main__ import own_variant
from benchmarks.serving.artifact import graph_path, repository
from benchmarks.serving.photographs import Photograph, answered, small_images
from benchmarks.serving.ratios import ratio
from benchmarks.serving.services import Service, free_ports, settle
from model.contract import INPUT_NAME, MODEL_NAME

Encode = Callable[[Sequence[bytes]], payloads.Body]

_INFER: Final = f"/v2/models/{MODEL_NAME}/infer"
_PREDICT: Final = "/predict", payloads.raw, '"probabilities":['
_BINARY: Final = _INFER, payloads.v2_encoded, '"data":['
_JSON: Final = _INFER, payloads.v2_base64, '"data":['
# What is asked: path, body and marker (none: gRPC), images a request, connections.
WAYS: Final[Mapping[str, tuple[tuple[str, Encode, str] | None, int, int]]] = {
    "predict": (_PREDICT, 1, 32),
    "v2-binary": (_BINARY, 1, 32),
    "v2-json": (_JSON, 1, 32),
    "grpc": (None, 1, 32),
    "v2-binary-32": (_BINARY, 32, 8),
    "predict-alone": (_PREDICT, 1, 1),
    # The cost of growing; not measured unless asked for.
    "predict-8": (_PREDICT, 1, 8),
    "predict-128": (_PREDICT, 1, 128),
    "predict-512": (_PREDICT, 1, 512),
}
# The checkout's own code and no other's, whichever is installed.
_PROGRAM: Final = """
import sys
root, package = {root!r}, {package!r}
sys.path[:0] = [root + "/kserve", root]
found = __import__(package)
assert found.__file__.startswith(root + "/"), found.__file__
sys.argv[0] = package
__import__(package + ".__main__", fromlist=["main"]).main()
"""


class Cost(NamedTuple):
    """What one measurement found: CPU in µs a request, and requests a second."""

    transformer: float
    triton: float
    rate: float


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks.serving.beside")
    parser.add_argument("checkouts", nargs="*", type=Path, help="as `git worktree add` makes them")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=2, help="length of one measurement")
    parser.add_argument("--starts", type=int, default=0, help="of each transformer, by the clock")
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS)[:6])
    parser.add_argument("--folder", type=Path, default=Path("var/benchmark"), help="where servers live")
    asked = parser.parse_args()
    checkouts = [Path.cwd(), *(path.resolve() for path in asked.checkouts)]
    with ExitStack() as stack:
        services, runs, starts = [], [], []
        for number, root in enumerate(checkouts):
            folder = asked.folder / "beside" / str(number)
            http, grpc, *triton_ports = free_ports(5)
            made = folder / f"artifact-{_commit(root)[:7]}"
            small = artifact(root, made)
            models = stack.enter_context(triton(root, repository(made, "int8"), triton_ports, folder))
            front = transformer(root, triton_ports[0], (http, grpc), folder)
            starts.append([_seconds_to_ready(front) for _ in range(asked.starts)])
            services.append((stack.enter_context(front), models))
            runs.append([run(way, small, (http, grpc), folder) for way in asked.ways])
        for each in runs:
            for load_for in each:
                load_for(1)
        memory = [[service.memory_mib() for service in pair] for pair in services]
        everybody = [service for pair in services for service in pair]
        costs: list[list[list[Cost]]] = [[[] for _ in asked.ways] for _ in checkouts]
        for number in range(asked.rounds):
            for way in range(len(asked.ways)):
                for place in range(len(checkouts)):
                    one = (place + number) % len(checkouts)
                    settle(everybody)
                    costs[one][way].append(_measured(services[one], runs[one][way], asked.seconds))
    for root, used, cost, started in zip(checkouts, memory, costs, starts, strict=True):
        print(f"\n{_commit(root)}: transformer {used[0]:.0f} MiB, Triton {used[1]:.0f} MiB")
        if started:
            print(f"the transformer is ready after {statistics.median(started):.2f} s", end=" ")
            print(f"({min(started):.2f}–{max(started):.2f})")
        print()
        print("| | transformer | Triton | together, µs | ÷ ours | requests a second | ours ÷ |")
        print("|---|--:|--:|--:|--:|--:|--:|")
        for way, ours, theirs in zip(asked.ways, costs[0], cost, strict=True):
            print(_row(way, ours, theirs))


def _seconds_to_ready(service: Service) -> float:
    """From the start of a transformer to its first answer that it is ready, by the clock."""
    began = time.monotonic()
    with service:
        return time.monotonic() - began


def _measured(pair: Sequence[Service], load_for: Callable[[int], load.Load], seconds: int) -> Cost:
    before = [service.cpu_seconds() for service in pair]
    seen = load_for(seconds)
    used = [service.cpu_seconds() - start for service, start in zip(pair, before, strict=True)]
    return Cost(used[0] / seen.requests * 1e6, used[1] / seen.requests * 1e6, seen.rate)


def _row(way: str, ours: Sequence[Cost], theirs: Sequence[Cost]) -> str:
    median = [statistics.median(each) for each in zip(*theirs, strict=True)]
    together = [[one.transformer + one.triton for one in costs] for costs in (theirs, ours)]
    rates = [one.rate for one in ours], [one.rate for one in theirs]
    return (
        f"| {way} | {median[0]:.0f} | {median[1]:.0f} | {statistics.median(together[0]):.0f} "
        f"| {ratio(*together)} | {median[2]:,.0f} | {ratio(*rates)} |"
    )


def artifact(root: Path, folder: Path) -> list[Photograph]:
    """Makes what a checkout serves, by its own code, and returns pictures with the answers due."""
    line = [sys.executable, "-m", "benchmarks.serving.artifact", str(folder.absolute())]
    subprocess.run(line, cwd=root, check=True)
    return answered(small_images(64), graph_path(folder, "int8"))


def triton(root: Path, models: Path, ports: Sequence[int], folder: Path) -> Service:
    """A checkout's Triton; its ports are for HTTP, gRPC and metrics."""
    argv = [sys.executable, "-P", "-c", _PROGRAM.format(root=str(root), package="triton_server")]
    argv += ["--model-repository", str(models), "--config-variant", own_variant()]
    for flag, port in zip(("--http-port", "--grpc-port", "--metrics-port"), ports, strict=True):
        argv += [flag, str(port)]
    ready = f"http://127.0.0.1:{ports[0]}/v2/health/ready"
    return Service(f"Triton of {root}", argv, ready, folder / "triton.log")


def transformer(root: Path, predictor: int, ports: tuple[int, int], folder: Path) -> Service:
    """A checkout's transformer; its ports are for HTTP and gRPC."""
    argv = [sys.executable, "-P", "-c", _PROGRAM.format(root=str(root), package="image_transformer")]
    argv += ["--predictor_host", f"127.0.0.1:{predictor}"]
    argv += ["--http_port", str(ports[0]), "--grpc_port", str(ports[1])]
    return Service(str(root), argv, f"http://127.0.0.1:{ports[0]}/health", folder / "transformer.log")


def run(
    way: str, small: Sequence[Photograph], ports: tuple[int, int], folder: Path
) -> Callable[[int], load.Load]:
    """Returns what loads a transformer one way for so many seconds."""
    route, images, connections = WAYS[way]
    groups = [[small[(start + more) % len(small)] for more in range(images)] for start in range(len(small))]
    expected = np.stack([np.concatenate([one.probabilities for one in group]) for group in groups])
    if route is None:
        message = payloads.grpc_encoded([one.encoded for one in groups[0]], "", INPUT_NAME)
        call = load.prepare_call(folder / way, message, expected[0])
        return lambda seconds: load.h2load(f"127.0.0.1:{ports[1]}", call, connections, seconds)
    path, encode, marker = route
    address = f"127.0.0.1:{ports[0]}"
    requests = [
        payloads.http_request(path, address, encode([one.encoded for one in group])) for group in groups
    ]
    prepared = load.prepare(folder / way, requests, expected, marker)
    return lambda seconds: load.wrk(address, prepared, connections, seconds)


def _commit(root: Path) -> str:
    line = ["git", "-C", str(root), "log", "-1", "--format=%h %s"]
    return subprocess.run(line, capture_output=True, text=True, check=True).stdout.strip()[:70]


if __name__ == "__main__":
    main()
