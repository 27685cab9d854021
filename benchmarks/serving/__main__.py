"""`python -m benchmarks.serving`: starts everyone, measures them in turn, writes benchmarks/results/."""

import os
import shlex
import shutil
import subprocess
import sys
from contextlib import ExitStack

from benchmarks.serving import flame, load, machine, open_loop, report
from benchmarks.serving.artifact import Precision, graph_path
from benchmarks.serving.config import Config
from benchmarks.serving.contenders import Call, Contender, line_up
from benchmarks.serving.load import LoadError
from benchmarks.serving.measure import Bench
from benchmarks.serving.photographs import answered, small_images, twelve_megapixels
from benchmarks.serving.report import Results
from benchmarks.serving.servers import Ports, starters
from benchmarks.serving.services import ServiceError


def main() -> None:
    """Measures as the settings say; a problem ends in one sentence."""
    config = Config()
    command = shlex.join(["python", "-m", "benchmarks.serving", *sys.argv[1:]])
    del sys.argv[1:]  # kserve, whose gRPC messages are used here, would read them as its own
    try:
        measure(config, command)
    except (LoadError, ServiceError, ValueError) as error:
        sys.exit(str(error))
    for path in sorted(config.results.glob("serving.*")):
        print(f"wrote {path}")


def measure(config: Config, command: str) -> None:
    """Starts the servers, takes all measurements and stops the servers.

    The results are written after each round and each part that follows: what ends it early costs no more
    than what was under way.

    Args:
        config: What to measure.
        command: How it was called, for the report.

    Raises:
        LoadError: a load generator is missing, or an answer was wrong.
        ServiceError: a server did not start.
        ValueError: a setting names something that is not there.
    """
    load.require("wrk", "on Debian: apt-get install wrk")
    load.require("vegeta", open_loop.INSTALL)
    described = machine.describe()
    ports = Ports.free()
    contenders = line_up(ports, config.only)
    notes = []
    if shutil.which("h2load") is None:
        notes.append("gRPC was left out: h2load is missing; on Debian: apt-get install nghttp2-client")
        contenders = [one for one in contenders if not isinstance(one.one, Call)]
    print("exporting the network that everyone serves", flush=True)
    subprocess.run([sys.executable, "-m", "benchmarks.serving.artifact", str(config.work)], check=True)
    needed = {name for one in contenders for name in one.services}
    starts = starters(config.work, config.variant or own_variant(), ports, needed)
    encoded = small_images(config.images)
    precisions: tuple[Precision, ...] = ("float", "int8")
    small = {one: answered(encoded, graph_path(config.work, one)) for one in precisions}
    results = Results(described, command, contenders, [], None, None, notes)
    with ExitStack() as stack:
        services = {}
        for name, start in starts.items():
            print(f"starting {name}", flush=True)
            services[name] = stack.enter_context(start())
        bench = Bench(config, contenders, services, small)
        for measured in bench.rounds():
            results.measurements += measured
            report.write(results, config.results)
        ours: Contender | None = next((one for one in contenders if one.key == "raw"), None)
        if ours:
            print("overload", flush=True)
            results.overload = bench.overload(ours)
            report.write(results, config.results)
            print("12-megapixel photographs", flush=True)
            large = answered(twelve_megapixels(encoded[:5]), graph_path(config.work))
            results.photographs = bench.photographs(ours, large)
            report.write(results, config.results)
            if config.flame:
                print("flame graph", flush=True)
                path = config.results / "transformer-flame.svg"
                if problem := flame.draw(bench, ours, services["transformer"].pid, path):
                    notes.append(problem)
                    report.write(results, config.results)


def own_variant() -> str:
    """Returns the Triton config variant for this machine's cores."""
    cores = os.cpu_count() or 1
    return f"cpu-{max(size for size in (1, 2, 4) if size <= cores)}"


if __name__ == "__main__":
    main()
