"""A request's cost beside other checkouts': `python -m benchmarks.serving.beside CHECKOUT …`.

One Triton with the int8 twin; this checkout's transformer and the others' in front of it, which all run and
take turns, in rotating order. Counted is the transformer's processor time for a request (user and system, of
all its threads), which other work on the machine disturbs little. wrk and h2load ask, and every answer is
held against ONNX Runtime's, as in `python -m benchmarks.serving`.
"""

import argparse
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

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
}
# The checkout's own code and no other's, whichever is installed.
_PROGRAM: Final = """
import sys
root = {root!r}
sys.path[:0] = [root + "/kserve", root]
import image_transformer
assert image_transformer.__file__.startswith(root + "/"), image_transformer.__file__
sys.argv[0] = "image_transformer"
from image_transformer.__main__ import main
main()
"""


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks.serving.beside")
    parser.add_argument("checkouts", nargs="+", type=Path, help="as `git worktree add` makes them")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=2, help="length of one measurement")
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--folder", type=Path, default=Path("var/benchmark"), help="where servers live")
    asked = parser.parse_args()
    checkouts = [Path.cwd(), *(path.resolve() for path in asked.checkouts)]
    subprocess.run([sys.executable, "-m", "benchmarks.serving.artifact", str(asked.folder)], check=True)
    small = answered(small_images(64), graph_path(asked.folder, "int8"))
    with ExitStack() as stack:
        ports = free_ports(3 + 2 * len(checkouts))
        triton = stack.enter_context(_triton(asked.folder, ports))
        services, runs = [], []
        for number, root in enumerate(checkouts):
            http, grpc = ports[3 + 2 * number : 5 + 2 * number]
            folder = asked.folder / "beside" / str(number)
            services.append(stack.enter_context(_transformer(root, ports[0], (http, grpc), folder)))
            runs.append([_run(way, small, (http, grpc), folder) for way in asked.ways])
        for run in (run for each in runs for run in each):
            run(1)
        memory = [service.memory_mib() for service in services]
        costs: list[list[list[float]]] = [[[] for _ in asked.ways] for _ in checkouts]
        for number in range(asked.rounds):
            for way in range(len(asked.ways)):
                for place in range(len(checkouts)):
                    one = (place + number) % len(checkouts)
                    settle([*services, triton])
                    before = services[one].cpu_seconds()
                    requests = runs[one][way](asked.seconds).requests
                    costs[one][way].append((services[one].cpu_seconds() - before) / requests * 1e6)
    for root, used, cost in zip(checkouts, memory, costs, strict=True):
        print(f"\n{_commit(root)}, {used:.0f} MiB")
        for way, ours, theirs in zip(asked.ways, costs[0], cost, strict=True):
            print(f"  {way:14} {statistics.median(theirs):7.1f} µs a request, ÷ ours {ratio(theirs, ours)}")


def _triton(work: Path, ports: Sequence[int]) -> Service:
    argv = [sys.executable, "-m", "triton_server", "--model-repository", str(repository(work, "int8"))]
    for flag, port in zip(("--http-port", "--grpc-port", "--metrics-port"), ports[:3], strict=True):
        argv += [flag, str(port)]
    argv += ["--config-variant", own_variant()]
    return Service("triton", argv, f"http://127.0.0.1:{ports[0]}/v2/health/ready", work / "log/triton.log")


def _transformer(root: Path, predictor: int, ports: tuple[int, int], folder: Path) -> Service:
    argv = [sys.executable, "-P", "-c", _PROGRAM.format(root=str(root))]
    argv += ["--predictor_host", f"127.0.0.1:{predictor}"]
    argv += ["--http_port", str(ports[0]), "--grpc_port", str(ports[1])]
    return Service(str(root), argv, f"http://127.0.0.1:{ports[0]}/health", folder / "transformer.log")


def _run(
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
