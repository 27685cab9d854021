"""What explanations cost who asks for none: `python -m benchmarks.explain.latency`.

`POST /predict` is asked at half of what it can take, at even distances, alone and while two clients ask for
explanations one after the other, so that one is always waiting; rounds of both in turn. The goal: the p99
with them is at most 1.5 times that alone, or one image's time more; and that they end. At the end the same
two ask while 32 connections take all that the service can. Writes `explain-latency.md` beside the other
results.
"""

import argparse
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

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
_FULL_SECONDS: Final = 15


class Explained(NamedTuple):
    """An answer to who asked for an explanation.

    Attributes:
        status: HTTP's.
        seconds: Until it was there, from when it was asked for.
        masks: Under how many the picture was classified; 0 where it was not explained.
    """

    status: int
    seconds: float
    masks: int


@contextmanager
def explaining(address: str, picture: bytes) -> Iterator[list[Explained]]:
    """Asks for explanations as long as the block runs; gives the answers."""
    answers: list[Explained] = []
    over = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=f"http://{address}", timeout=120, trust_env=False) as client:
            while not over.is_set():
                headers = {"Content-Type": "image/jpeg"}
                began = time.perf_counter()
                reply = client.post("/predict?explain=true", content=picture, headers=headers)
                seconds = time.perf_counter() - began
                masks = reply.json()["explanation"]["masks"] if reply.status_code == 200 else 0
                answers.append(Explained(reply.status_code, seconds, masks))
                if reply.status_code != 200:
                    over.wait(int(reply.headers.get("retry-after", 1)))

    threads = [threading.Thread(target=ask) for _ in range(_CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        over.set()
        for thread in threads:
            thread.join()


def told(answers: list[Explained]) -> str:
    """How explanations were answered, and when."""
    statuses = dict(Counter(one.status for one in answers))
    done = [one for one in answers if one.masks]
    if not done:
        return f"by status {statuses}"
    seconds, masks = [one.seconds for one in done], [one.masks for one in done]
    return (
        f"by status {statuses}, of {min(masks)} to {max(masks)} masks, in {statistics.median(seconds):.1f} s "
        f"by the median and {max(seconds):.1f} s at most"
    )


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
        done: list[Explained] = []
        for number in range(asked.rounds):
            settle(services)
            rate = load.wrk(contender.address, prepared, 32, asked.seconds).rate / 2
            settle(services)
            alone = open_loop.finish(open_loop.start(contender.address, prepared, rate, asked.seconds))
            settle(services)
            with explaining(contender.address, small[0].encoded) as answers:
                beside = open_loop.finish(open_loop.start(contender.address, prepared, rate, asked.seconds))
                within = list(answers)
            done += within
            apart.append(alone.p99)
            ratios.append(beside.p99 / alone.p99)
            more.append(beside.p99 - alone.p99)
            times = (alone.p50, alone.p99, beside.p50, beside.p99)
            shown = " | ".join([f"{number + 1}", f"{rate:,.0f}", *(f"{time:.2f}" for time in times)])
            line = f"| {shown} | {ratios[-1]:.2f} | {sum(one.masks > 0 for one in within)} |"
            print(line, flush=True)
            lines.append(line)
        settle(services)
        whole = load.wrk(contender.address, prepared, 32, _FULL_SECONDS).rate
        settle(services)
        with explaining(contender.address, small[0].encoded) as answers:
            shared = load.wrk(contender.address, prepared, 32, _FULL_SECONDS).rate
            full = list(answers)
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
        f"{min(apart):.1f} to {max(apart):.1f} ms by itself. Explanations {told(done)}.\n",
        f"While 32 connections took all that the service can ({shared:,.0f} requests a second, "
        f"{whole:,.0f} just before without): explanations {told(full)}.\n",
        *(f"- {name}: {value}" for name, value in described.items()),
    ]
    print(text[-len(described) - 1])
    (_RESULTS / "explain-latency.md").write_text("\n".join(text) + "\n")


if __name__ == "__main__":
    main()
