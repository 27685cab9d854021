"""`python -m benchmarks.serving`: starts everyone, measures them in turn, writes benchmarks/results/."""

import os
import shlex
import shutil
import subprocess
import sys
from contextlib import ExitStack

from benchmarks.serving import flame, load, machine, open_loop, report
from benchmarks.serving.artifact import graph_path
from benchmarks.serving.config import Config
from benchmarks.serving.contenders import Call, Contender, line_up
from benchmarks.serving.load import LoadError
from benchmarks.serving.measure import Bench, Overload, Photographs
from benchmarks.serving.photographs import answered, small_images, twelve_megapixels
from benchmarks.serving.report import Results
from benchmarks.serving.servers import Ports, starters
from benchmarks.serving.services import ServiceError


def main() -> None:
    """Measures as the settings say; a problem ends in one sentence."""
    config = Config()
    try:
        results = measure(config)
    except (LoadError, ServiceError, ValueError) as error:
        sys.exit(str(error))
    for path in report.write(results, config.results):
        print(f"wrote {path}")


def measure(config: Config) -> Results:
    """Starts the servers, takes all measurements and stops the servers.

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
    graph = graph_path(config.work)
    needed = {name for one in contenders for name in one.services}
    starts = starters(config.work, config.variant or own_variant(), ports, needed)
    small = answered(small_images(config.images), graph)
    overload: Overload | None = None
    photographs: Photographs | None = None
    with ExitStack() as stack:
        services = {}
        for name, start in starts.items():
            print(f"starting {name}", flush=True)
            services[name] = stack.enter_context(start())
        bench = Bench(config, contenders, services, small)
        measurements = bench.rounds()
        ours: Contender | None = next((one for one in contenders if one.key == "raw"), None)
        if ours:
            print("12-megapixel photographs", flush=True)
            large = answered(twelve_megapixels([one.encoded for one in small[:5]]), graph)
            photographs = bench.photographs(ours, large)
            print("overload", flush=True)
            overload = bench.overload(ours)
            if config.flame:
                print("flame graph", flush=True)
                config.results.mkdir(parents=True, exist_ok=True)
                path = config.results / "transformer-flame.svg"
                if problem := flame.draw(bench, ours, services["transformer"].pid, path):
                    notes.append(problem)
    command = shlex.join(["python", "-m", "benchmarks.serving", *sys.argv[1:]])
    return Results(described, command, contenders, measurements, overload, photographs, notes)


def own_variant() -> str:
    """Returns the Triton config variant for this machine's cores."""
    cores = os.cpu_count() or 1
    return f"cpu-{max(size for size in (1, 2, 4) if size <= cores)}"


if __name__ == "__main__":
    main()
