"""What explanations cost who asks for none: `python -m benchmarks.explain.latency`.

`POST /predict` is asked at half of what it can take, at even distances, alone and while two clients ask for
explanations one after the other, so that one is always waiting; rounds of both in turn. The goal: the p99
with them is at most 1.5 times that alone, or one image's time more. Writes `explain-latency.md` beside the
other results.
"""

import argparse
import statistics
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import httpx
import numpy as np

from benchmarks.serving import load, machine, open_loop
from benchmarks.serving.artifact import graph_path
from benchmarks.serving.contenders import Route, line_up
from benchmarks.serving.payloads import http_request
from benchmarks.serving.photographs import answered, small_images
from benchmarks.serving.servers import Ports, starters
from benchmarks.serving.services import settle

_RESULTS: Final = Path("benchmarks/results")
_IMAGES: Final = 64
_CLIENTS: Final = 2
_FACTOR: Final = 1.5


@contextmanager
def explaining(address: str, picture: bytes) -> Iterator[Counter[int]]:
    """Asks for explanations as long as the block runs; gives the answers by status."""
    statuses: Counter[int] = Counter()
    over = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=f"http://{address}", timeout=120, trust_env=False) as client:
            while not over.is_set():
                headers = {"Content-Type": "image/jpeg"}
                reply = client.post("/predict?explain=true", content=picture, headers=headers)
                statuses[reply.status_code] += 1

    threads = [threading.Thread(target=ask) for _ in range(_CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield statuses
    finally:
        over.set()
        for thread in threads:
            thread.join()


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--contender", choices=("raw", "int8"), default="int8")
    parser.add_argument("--work", type=Path, default=Path("var/benchmark"))
    asked = parser.parse_args()
    del sys.argv[1:]  # kserve would read them as its own
    load.require("wrk", "on Debian: apt-get install wrk")
    load.require("vegeta", open_loop.INSTALL)
    described = machine.describe()
    subprocess.run([sys.executable, "-m", "benchmarks.serving.artifact", str(asked.work)], check=True)
    ports = Ports.free()
    (contender,) = line_up(ports, [asked.contender])
    route = contender.one
    assert isinstance(route, Route)
    small = answered(small_images(_IMAGES), graph_path(asked.work, contender.precision))
    requests = [http_request(route.path, contender.address, route.encode([one.encoded])) for one in small]
    expected = np.stack([one.probabilities for one in small])
    prepared = load.prepare(asked.work / "requests" / "explain", requests, expected, route.marker)
    with ExitStack() as stack:
        starts = starters(asked.work, "cpu-2", ports, contender.services)
        services = [stack.enter_context(start()) for start in starts.values()]
        load.wrk(contender.address, prepared, 32, 2)
        image = load.wrk(contender.address, prepared, 1, 2).p50
        lines = []
        apart, ratios, more = [], [], []
        done: Counter[int] = Counter()
        for number in range(asked.rounds):
            settle(services)
            rate = load.wrk(contender.address, prepared, 32, asked.seconds).rate / 2
            settle(services)
            alone = open_loop.finish(open_loop.start(contender.address, prepared, rate, asked.seconds))
            settle(services)
            with explaining(contender.address, small[0].encoded) as statuses:
                beside = open_loop.finish(open_loop.start(contender.address, prepared, rate, asked.seconds))
                within = dict(statuses)
            done += Counter(within)
            apart.append(alone.p99)
            ratios.append(beside.p99 / alone.p99)
            more.append(beside.p99 - alone.p99)
            times = (alone.p50, alone.p99, beside.p50, beside.p99)
            shown = " | ".join([f"{number + 1}", f"{rate:,.0f}", *(f"{time:.2f}" for time in times)])
            line = f"| {shown} | {ratios[-1]:.2f} | {within.get(200, 0)} |"
            print(line, flush=True)
            lines.append(line)
    ratio, added = statistics.median(ratios), statistics.median(more)
    verdict = "was met" if ratio <= _FACTOR or added <= image else "was missed"
    text = [
        "# Explanations beside plain requests\n",
        f"Measured by `python -m benchmarks.explain.latency --contender {asked.contender} "
        f"--rounds {asked.rounds} --seconds {asked.seconds}`: `/predict` at "
        f"half of what 32 connections got just before; one image alone takes {image:.2f} ms. {_CLIENTS} "
        "clients ask for explanations all the time. Milliseconds.\n",
        "| round | requests a second | p50 alone | p99 alone | p50 beside | p99 beside | ratio | explained |",
        "|--:|--:|--:|--:|--:|--:|--:|--:|",
        *lines,
        "",
        f"Median of the rounds: {ratio:.2f} times, {added:+.2f} ms; the goal, at most {_FACTOR} times or one "
        f"image's time more, {verdict} by the median. Between rounds the p99 alone went from "
        f"{min(apart):.1f} to {max(apart):.1f} ms by itself. Explanations by status: {dict(done)}.\n",
        *(f"- {name}: {value}" for name, value in described.items()),
    ]
    print(text[-len(described) - 1])
    (_RESULTS / "explain-latency.md").write_text("\n".join(text) + "\n")


if __name__ == "__main__":
    main()
