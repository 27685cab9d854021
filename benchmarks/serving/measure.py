"""The measurements: scenarios, rounds in which the contenders take turns, overload, photographs."""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from benchmarks.serving import load, open_loop
from benchmarks.serving.artifact import Precision
from benchmarks.serving.config import Config
from benchmarks.serving.contenders import Call, Contender, Route
from benchmarks.serving.open_loop import Outcome
from benchmarks.serving.payloads import http_request
from benchmarks.serving.photographs import Photograph
from benchmarks.serving.services import Service, settle

Run = Callable[[int, int], load.Load]
"""Loads a contender: connections, seconds → what was seen."""

OVERLOAD_CONNECTIONS = 128
PHOTOGRAPH_CONNECTIONS = 32
_STARTED = time.monotonic()


@dataclass(frozen=True)
class Scenario:
    """How many images a request, over how many connections."""

    images: int
    connections: int

    @property
    def title(self) -> str:
        """For people."""
        sent = "1 image" if self.images == 1 else f"{self.images} images"
        return f"{self.connections} connection{'s' * (self.connections != 1)}, {sent} a request"


@dataclass(frozen=True)
class Measurement:
    """One contender in one scenario in one round.

    Attributes:
        contender: Its key.
        scenario: What was asked.
        round: Counts from 0.
        rate: Images a second.
        p50, p99: Latency of a request in ms.
        cpu: Processor time of its servers for one image, in µs; the load generator's is not in it.
    """

    contender: str
    scenario: Scenario
    round: int
    rate: float
    p50: float
    p99: float
    cpu: float


@dataclass(frozen=True)
class Overload:
    """Open-loop load above what the transformer can take.

    Attributes:
        cores: That the servers had; the generator had others, unless there is only one.
        capacity: Requests a second it served to a closed loop just before.
        outcome: What became of the requests sent at `factor` times that.
        memory: MiB held by transformer and Triton, before and at half-second steps during the load.
    """

    cores: int
    capacity: float
    factor: float
    outcome: Outcome
    memory: list[float]


@dataclass(frozen=True)
class Photographs:
    """p99 of small images in ms, alone and with large photographs mixed in, round by round."""

    alone: list[float]
    mixed: list[float]
    photographs: list[Outcome]
    megabytes: float


@contextmanager
def _halves(services: Sequence[Service]) -> Iterator[int]:
    """Binds servers to half of the cores, and what this process starts to the others; says how many."""
    everything = sorted(os.sched_getaffinity(0))
    half = len(everything) // 2
    theirs, rest = (everything[:half], everything[half:]) if half else (everything, everything)
    for service in services:
        service.bind(theirs)
    os.sched_setaffinity(0, rest)
    try:
        yield len(theirs)
    finally:
        os.sched_setaffinity(0, everything)
        for service in services:
            service.bind(everything)


class Bench:
    """Measures contenders whose servers run.

    Args:
        config: What to measure.
        contenders: Who takes part.
        services: The running servers by name.
        small: The images everyone is sent, with the answers of the graph of each precision.
    """

    def __init__(
        self,
        config: Config,
        contenders: Sequence[Contender],
        services: Mapping[str, Service],
        small: Mapping[Precision, Sequence[Photograph]],
    ) -> None:
        self._config = config
        self._contenders = contenders
        self._services = services
        self._small = small
        self._runs: dict[tuple[str, int], Run] = {}
        for contender in contenders:
            for images in (1, config.batch):
                route = contender.one if images == 1 else contender.many
                if route is not None:
                    self._runs[contender.key, images] = self._prepare(contender, route, images)

    def rounds(self) -> Iterator[list[Measurement]]:
        """Takes the measurements; in each round every contender is asked once in every scenario, in turn.

        The order rotates from round to round, so that nobody always follows the same neighbour.

        Returns:
            Each round's, once it is complete.

        Raises:
            LoadError: a contender failed or answered wrongly.
        """
        scenarios = [Scenario(1, connections) for connections in self._config.connections]
        scenarios.append(Scenario(self._config.batch, self._config.batch_connections))
        self._warm_up()
        for number in range(self._config.rounds):
            begun = time.monotonic()
            measured: list[Measurement] = []
            for scenario in scenarios:
                takes_part = [
                    one
                    for one in self._contenders
                    if (one.key, scenario.images) in self._runs
                    and scenario.connections <= one.most_connections
                ]
                turn = number % len(takes_part) if takes_part else 0
                line = f"round {number + 1}/{self._config.rounds}, {scenario.title}:"
                for contender in takes_part[turn:] + takes_part[:turn]:
                    one = self._measure(contender, scenario, number)
                    measured.append(one)
                    line += f"  {contender.key} {one.rate:,.0f}"
                print(line, flush=True)
            yield measured
            now = time.monotonic()
            if now + (now - begun) > _STARTED + self._config.minutes * 60:
                print(f"There is no time for another round after {number + 1}.", flush=True)
                return

    def _warm_up(self) -> None:
        least = {one.key: one.least_seconds for one in self._contenders}
        for (key, images), run in self._runs.items():
            print(f"warming up: {key}, {images} a request", flush=True)
            run(self._config.batch_connections, least[key])
        settle(list(self._services.values()))

    def _measure(self, contender: Contender, scenario: Scenario, number: int) -> Measurement:
        services = [self._services[name] for name in contender.services]
        before = sum(service.cpu_seconds() for service in services)
        seconds = max(self._config.seconds, contender.least_seconds)
        seen = self._runs[contender.key, scenario.images](scenario.connections, seconds)
        used = sum(service.cpu_seconds() for service in services) - before
        settle(services)
        images = scenario.images
        cpu = used / (seen.requests * images) * 1e6
        return Measurement(contender.key, scenario, number, seen.rate * images, seen.p50, seen.p99, cpu)

    def overload(self, contender: Contender) -> Overload:
        """Sends more than the contender can take, without waiting for answers.

        The servers get half of the cores and the generator the other: at twice the capacity it would take
        away what the capacity was measured with.

        Raises:
            LoadError: an answer was wrong, or the generator failed.
        """
        config = self._config
        services = [self._services[name] for name in contender.services]
        prepared = self._requests(contender, 1)
        with _halves(services) as cores:
            capacity = self._runs[contender.key, 1](OVERLOAD_CONNECTIONS, config.overload_seconds // 2).rate
            settle(services)
            memory = [sum(service.memory_mib() for service in services)]
            attack = open_loop.start(
                contender.address, prepared, capacity * config.overload_factor, config.overload_seconds
            )
            while attack.process.poll() is None:
                time.sleep(0.5)
                memory.append(sum(service.memory_mib() for service in services))
        return Overload(cores, capacity, config.overload_factor, open_loop.finish(attack), memory)

    def photographs(self, contender: Contender, large: Sequence[Photograph]) -> Photographs:
        """Measures the small images' p99 alone and with large photographs mixed in, in turn.

        Raises:
            LoadError: an answer was wrong, small or large, or a generator failed.
        """
        config = self._config
        services = [self._services[name] for name in contender.services]
        run = self._runs[contender.key, 1]
        prepared = self._requests(contender, 1, large, "photographs")
        alone, mixed, outcomes = [], [], []
        for _ in range(config.rounds):
            alone.append(run(PHOTOGRAPH_CONNECTIONS, config.seconds).p99)
            attack = open_loop.start(
                contender.address, prepared, config.photographs_a_second, config.seconds + 1
            )
            mixed.append(run(PHOTOGRAPH_CONNECTIONS, config.seconds).p99)
            outcomes.append(open_loop.finish(attack))
            settle(services)
        megabytes = sum(len(one.encoded) for one in large) / len(large) / 1e6
        return Photographs(alone, mixed, outcomes, megabytes)

    def run(self, contender: Contender, connections: int, seconds: int) -> load.Load:
        """Loads a contender with one image a request."""
        return self._runs[contender.key, 1](connections, seconds)

    def _prepare(self, contender: Contender, route: Route | Call, images: int) -> Run:
        if isinstance(route, Route):
            prepared = self._requests(contender, images)
            return lambda connections, seconds: load.wrk(contender.address, prepared, connections, seconds)
        small = self._small[contender.precision]
        first = [small[number % len(small)] for number in range(images)]
        call = load.prepare_call(
            self._config.work / "requests" / f"{contender.key}-{images}",
            route.encode([one.encoded for one in first]),
            np.concatenate([one.probabilities for one in first]),
        )
        return lambda connections, seconds: load.h2load(contender.address, call, connections, seconds)

    def _requests(
        self, contender: Contender, images: int, of: Sequence[Photograph] | None = None, name: str = "small"
    ) -> load.Prepared:
        route = contender.one if images == 1 else contender.many
        assert isinstance(route, Route)
        of = of or self._small[contender.precision]
        # Request i carries the images from i on, so that no two requests carry the same.
        groups = [[of[(start + offset) % len(of)] for offset in range(images)] for start in range(len(of))]
        requests = [
            http_request(
                route.path,
                contender.address,
                route.encode([one.pixels.tobytes() if route.pixels else one.encoded for one in group]),
            )
            for group in groups
        ]
        expected = np.stack([np.concatenate([one.probabilities for one in group]) for group in groups])
        folder = self._config.work / "requests" / f"{contender.key}-{images}-{name}"
        return load.prepare(folder, requests, expected, route.marker)
