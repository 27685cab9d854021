"""Beside other servers: `python -m benchmarks.peers small|photographs|tune [PEER …]`.

`small`: one small JPEG a request and 32 of them, against mosec, LitServe, BentoML, Ray Serve and FastAPI with
ONNX Runtime, each with our int8 graph and our decoder and set up as was best here. `tune`: what was tried for
each. `photographs`: pictures of 12 megapixels and of 100 kB against FastAPI as tutorials write it, tuned
ones, and KServe's stock transformer with Triton, with the small network and EfficientNet-Lite0.

Everybody takes turns, and every answer is held against ONNX Runtime's own. Other servers are installed into
environments of their own below var/tools/peers (1.1 GB; `remove` removes them). Tables go to
benchmarks/results/peers.md. `--more` adds rounds to those of an earlier call.
"""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.peers import environments, photographs, report, servers
from benchmarks.peers.environments import InstallError
from benchmarks.peers.rounds import Contender, Scenario, take_turns
from benchmarks.peers.settings import NAMES, SETUPS
from benchmarks.serving import load
from benchmarks.serving.__main__ import own_variant
from benchmarks.serving.artifact import graph_path
from benchmarks.serving.load import LoadError
from benchmarks.serving.photographs import Photograph, answered, small_images
from benchmarks.serving.services import ServiceError

SMALL_IMAGES = 64


def main() -> None:
    """Measures as asked; a problem ends in one sentence."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("part", choices=("small", "photographs", "tune", "remove"))
    parser.add_argument(
        "names",
        nargs="*",
        help="peers (NAME@2: its third setup), or for photographs kinds; all of them by default",
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--seconds", type=int, help="length of one measurement; by default 2, of large photographs 10"
    )
    parser.add_argument("--minutes", type=float, default=60.0, help="begin no round that would end later")
    parser.add_argument("--scenarios", nargs="+", choices=("32", "1", "many"), default=("32", "1", "many"))
    parser.add_argument("--more", action="store_true", help="add rounds to those that are kept")
    parser.add_argument("--work", type=Path, default=Path("var/benchmark"), help="where servers live")
    asked = parser.parse_args()
    # Ended early, it ends the servers, too: some of them would live on.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended early"))
    del sys.argv[1:]  # kserve, whose gRPC messages are used here, would read them as its own
    known = tuple(photographs.KINDS) if asked.part == "photographs" else tuple(NAMES)
    if asked.part == "small":  # the others take all setups, or none
        known += tuple(f"{name}@{number}" for name in NAMES for number in range(len(SETUPS[name])))
    if wrong := [name for name in asked.names if name not in known]:
        sys.exit(f"nothing is called {', '.join(wrong)}; there are: {', '.join(known)}")
    names = asked.names or [name for name in known if "@" not in name]
    try:
        if asked.part == "remove":
            return environments.remove()
        load.require("wrk", "on Debian: apt-get install wrk")
        if asked.part == "photographs":
            for name in names:
                photographs.measure(name, asked)
        elif asked.part == "small":
            small(names, asked)
        else:
            for name in names:
                tune(name, asked)
    except (InstallError, LoadError, ServiceError, ValueError) as error:
        sys.exit(str(error))


def small(names: Sequence[str], asked: argparse.Namespace) -> None:
    """Everybody's best, small pictures."""
    with ExitStack() as stack:
        stage, right = _stage(asked, stack)
        contenders = [servers.ours(stage, right)]
        for key in names:
            name, _, number = key.partition("@")
            contenders.append(servers.peer(stage, right, name, SETUPS[name][int(number or 0)], key))
        about = (
            "Small pictures. One JPEG of about 900 bytes a request, and 32 of them; all serve our int8 graph"
            " and decode with our decoder."
        )
        measure("small", _scenarios(asked), contenders, asked, about)


def tune(name: str, asked: argparse.Namespace) -> None:
    """All setups of a peer."""
    with ExitStack() as stack:
        stage, right = _stage(asked, stack)
        contenders = [servers.ours(stage, right)]
        contenders += [
            servers.peer(stage, right, name, setup, f"{name}-{number}")
            for number, setup in enumerate(SETUPS[name])
        ]
        measure(f"tune-{name}", _scenarios(asked), contenders, asked, f"What was tried for {NAMES[name]}.")


def measure(
    part: str,
    scenarios: Sequence[Scenario],
    contenders: Sequence[Contender],
    asked: argparse.Namespace,
    about: str,
) -> None:
    """Takes a part's rounds and keeps them after each."""
    before = report.kept(part) if asked.more else []
    first = max((one.round for one in before), default=-1) + 1
    titles = {one.key: one.title for one in scenarios}
    for found in take_turns(scenarios, contenders, range(first, first + asked.rounds), asked.minutes):
        before += found
        report.keep(part, titles, before, about)


def _scenarios(asked: argparse.Namespace) -> list[Scenario]:
    seconds = asked.seconds or 2
    scenarios = [
        Scenario("32", "32 connections, 1 image a request", 1, 32, seconds),
        Scenario("1", "1 connection, 1 image a request", 1, 1, seconds),
        Scenario("many", "8 connections, 32 images a request", 32, 8, seconds),
    ]
    return [one for one in scenarios if one.key in asked.scenarios]


def _stage(asked: argparse.Namespace, stack: ExitStack) -> tuple[servers.Stage, list[Photograph]]:
    servers.make_artifact(asked.work)
    right = answered(small_images(SMALL_IMAGES), graph_path(asked.work, "int8"))
    return servers.Stage(asked.work, 32, own_variant(), (1, 32), stack), right


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main()
