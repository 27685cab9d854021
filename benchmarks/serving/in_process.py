"""How much of the in-process limit is served: `python -m benchmarks.serving.in_process`.

The limit is a process on each core that decodes single small JPEGs and runs the int8 network on each, with
nothing served: no socket, no batch, no answer written. In turns with it wrk asks `POST /predict` of this
checkout's service over 32 connections, every answer checked; wrk shares the cores with the servers.
"""

import argparse
import os
import resource
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import onnxruntime

from benchmarks.serving.artifact import graph_path, repository
from benchmarks.serving.beside import artifact, run, transformer, triton
from benchmarks.serving.photographs import small_images
from benchmarks.serving.ratios import ratio, spread
from benchmarks.serving.services import free_ports, settle
from model.contract import INPUT_NAME
from model.images.decode import decode_image


def work(graph: Path, core: int, seconds: float) -> None:
    """Decodes and classifies on one core for so long; prints images a second and CPU in µs an image."""
    os.sched_setaffinity(0, {core})
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    images, count = small_images(64), 0
    session.run(None, {INPUT_NAME: decode_image(images[0])[np.newaxis]})
    print("ready", flush=True)
    sys.stdin.readline()
    began, used = time.perf_counter(), time.process_time()
    while time.perf_counter() - began < seconds:
        for image in images:
            session.run(None, {INPUT_NAME: decode_image(image)[np.newaxis]})
        count += len(images)
    took = time.perf_counter() - began
    print(count / took, (time.process_time() - used) / count * 1e6)


def limit(graph: Path, seconds: float) -> tuple[float, float]:
    """Returns images a second of all processes, and CPU in µs an image."""
    cores = sorted(os.sched_getaffinity(0))
    line = [sys.executable, "-m", "benchmarks.serving.in_process", "--work", str(graph)]
    workers = [
        subprocess.Popen(
            [*line, str(core), str(seconds)], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for core in cores
    ]
    for worker in workers:
        assert worker.stdout is not None
        worker.stdout.readline()
    said = [worker.communicate("go\n")[0].split() for worker in workers]
    rates, costs = zip(*((float(rate), float(cost)) for rate, cost in said), strict=True)
    return sum(rates), sum(costs) / len(costs)


def main() -> None:
    """Measures in turns and prints both and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks.serving.in_process")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2, help="length of one measurement")
    parser.add_argument("--folder", type=Path, default=Path("var/benchmark/in-process"))
    parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.work:
        work(Path(asked.work[0]), int(asked.work[1]), float(asked.work[2]))
        return
    root, folder = Path.cwd(), asked.folder
    http, grpc, *triton_ports = free_ports(5)
    small = artifact(root, folder / "artifact")
    limits, served = [], []
    with ExitStack() as stack:
        models = repository(folder / "artifact", "int8")
        pair = [
            stack.enter_context(triton(root, models, triton_ports, folder)),
            stack.enter_context(transformer(root, triton_ports[0], (http, grpc), folder)),
        ]
        ask = run("predict", small, (http, grpc), folder)
        ask(1)
        for _ in range(asked.rounds):
            settle(pair)
            limits.append(limit(graph_path(folder / "artifact", "int8"), asked.seconds))
            before = sum(service.cpu_seconds() for service in pair), _children()
            seen = ask(asked.seconds)
            used = sum(service.cpu_seconds() for service in pair) - before[0]
            load = _children() - before[1]
            served.append((seen.rate, used / seen.requests * 1e6, load / seen.requests * 1e6))
    rates, costs = [one[0] for one in served], [one[1] for one in served]
    print(f"the limit: {spread([one[0] for one in limits])} images a second, ", end="")
    print(f"{spread([one[1] for one in limits])} µs of CPU an image")
    print(f"served: {spread(rates)} images a second, {spread(costs)} µs of CPU an image, ", end="")
    print(f"{spread([one[2] for one in served])} beside it for wrk")
    print(f"served ÷ the limit, rate: {ratio(rates, [one[0] for one in limits])}")
    print(f"the limit ÷ served, CPU: {ratio([one[1] for one in limits], costs)}")


def _children() -> float:
    """Processor time of children that have ended, in seconds: here wrk's."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
