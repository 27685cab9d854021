"""Contenders that take turns, and what was measured."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.serving.load import Load
from benchmarks.serving.services import Service, settle

Run = Callable[[int, int], Load]
"""Loads a server: connections, seconds → what was seen."""


@dataclass(frozen=True)
class Scenario:
    """What is asked of everybody.

    Attributes:
        key: Short name.
        title: For people.
        images: In a request.
        connections: At once.
        seconds: Length of one measurement.
    """

    key: str
    title: str
    images: int
    connections: int
    seconds: int


@dataclass(frozen=True)
class Contender:
    """Somebody whose servers run.

    Attributes:
        key: Short name.
        title: For people.
        services: Its servers.
        runs: By a scenario's images a request.
        suspended: Whether its servers stand still while others are measured, for they take processor time
            even when nobody asks them.
    """

    key: str
    title: str
    services: Sequence[Service]
    runs: Mapping[int, Run]
    suspended: bool = False


@dataclass(frozen=True)
class Measured:
    """One contender in one scenario in one round.

    Attributes:
        contender, title: Its key, and what is said of it.
        scenario: The scenario's key.
        round: Counts from 0.
        rate: Images a second.
        p50, p99: Latency of a request in ms.
        cpu: Processor time of its servers for an image, in µs.
    """

    contender: str
    title: str
    scenario: str
    round: int
    rate: float
    p50: float
    p99: float
    cpu: float


def take_turns(
    scenarios: Sequence[Scenario], contenders: Sequence[Contender], rounds: range, minutes: float
) -> Iterator[list[Measured]]:
    """Asks everybody in every scenario once a round, in rotating order, and yields each round whole.

    Args:
        scenarios: What is asked.
        contenders: Whose servers run.
        rounds: Their numbers.
        minutes: No round is begun that would end later.

    Raises:
        LoadError: somebody failed or answered wrongly.
    """
    begun = time.monotonic()
    everybody = [service for one in contenders if not one.suspended for service in one.services]
    for one in contenders:
        for run in one.runs.values():
            run(8, 1)
        _stand_still(one)
    settle(everybody)
    for number in rounds:
        started = time.monotonic()
        found = []
        for scenario in scenarios:
            line = f"round {number + 1}, {scenario.title}:"
            takes_part = [one for one in contenders if scenario.images in one.runs]
            turn = number % len(takes_part)
            for one in takes_part[turn:] + takes_part[:turn]:
                for service in one.services:
                    service.resume()
                found.append(_measure(one, scenario, number))
                _stand_still(one)
                line += f"  {one.key} {found[-1].rate:,.0f} ({found[-1].cpu:,.0f} µs)"
                settle(everybody)
            print(line, flush=True)
        yield found
        now = time.monotonic()
        if now + (now - started) > begun + minutes * 60:
            return


def _stand_still(one: Contender) -> None:
    if one.suspended:
        for service in one.services:
            service.suspend()


def _measure(one: Contender, scenario: Scenario, number: int) -> Measured:
    before = sum(service.cpu_seconds() for service in one.services)
    seen = one.runs[scenario.images](scenario.connections, scenario.seconds)
    used = sum(service.cpu_seconds() for service in one.services) - before
    images = scenario.images
    cpu = used / (seen.requests * images) * 1e6
    return Measured(one.key, one.title, scenario.key, number, seen.rate * images, seen.p50, seen.p99, cpu)
