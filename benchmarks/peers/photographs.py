"""Photographs: what a user would pick instead, on the same pictures and the same network.

Each decoder gives other pixels, so its answers are held against ONNX Runtime's on its own pixels.
"""

import argparse
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.competitors.decoders import DECODERS
from benchmarks.peers import report, servers
from benchmarks.peers.rounds import Contender, Scenario, take_turns
from benchmarks.peers.settings import Setup
from benchmarks.serving.__main__ import own_variant
from benchmarks.serving.artifact import Precision, graph_path
from benchmarks.serving.photographs import Photograph, answered, enlarged, small_images, twelve_megapixels


class Kind(NamedTuple):
    """Pictures, and the network that sees them.

    Attributes:
        title: For people.
        artifact: Arguments of `benchmarks.serving.artifact`.
        size: Side of the network's input.
        make: Makes the pictures.
        seconds: Length of a measurement.
        who: Takes part, see `_line_up`.
    """

    title: str
    artifact: tuple[str, ...]
    size: int
    make: Callable[[], list[bytes]]
    seconds: int
    who: tuple[str, ...]


_LITE: Final = ("efficientnet-lite0", "128")
KINDS: Final = {
    "12-megapixels": Kind(
        "12-megapixel photographs, the small network",
        (),
        32,
        lambda: twelve_megapixels(small_images(5)),
        10,
        ("ours", "tutorial", "stock", "pillow", "draft-int8", "all-ours"),
    ),
    "12-megapixels-lite0": Kind(
        "12-megapixel photographs, EfficientNet-Lite0 at 128 pixels",
        _LITE,
        128,
        lambda: twelve_megapixels(small_images(5)),
        10,
        ("ours", "tutorial", "stock", "draft-int8", "all-ours"),
    ),
    "100-kB-lite0": Kind(
        "Pictures of 100 kB, EfficientNet-Lite0 at 128 pixels",
        _LITE,
        128,
        lambda: enlarged(small_images(20), 720, 540),
        2,
        ("ours", "draft", "decoder", "all-ours"),
    ),
}
_DECODERS: Final = {"ours": "our decoder", "pillow": "Pillow", "pillow-draft": "Pillow with draft"}


def measure(name: str, asked: argparse.Namespace) -> None:
    """Takes the rounds of a kind of pictures and keeps them after each."""
    kind = KINDS[name]
    work: Path = asked.work if not kind.artifact else asked.work / "-".join(kind.artifact)
    servers.make_artifact(work, *kind.artifact)
    encoded = _pictures(asked.work / "pictures" / name, kind)
    megabytes = sum(len(one) for one in encoded) / len(encoded) / 1e6
    scenario = Scenario(
        "32",
        f"32 connections, 1 picture of {megabytes:.2g} MB a request",
        1,
        32,
        asked.seconds or kind.seconds,
    )
    part = f"photographs-{name}"
    before = report.kept(part) if asked.more else []
    first = max((one.round for one in before), default=-1) + 1
    with ExitStack() as stack:
        stage = servers.Stage(work, kind.size, own_variant(), (1,), stack)
        contenders = _line_up(stage, encoded, kind.who)
        rounds = range(first, first + asked.rounds)
        for found in take_turns([scenario], contenders, rounds, asked.minutes):
            before += found
            about = f"{kind.title}. Each decodes and answers in its own way, as its row says."
            report.keep(part, {scenario.key: scenario.title}, before, about)


def _pictures(folder: Path, kind: Kind) -> list[bytes]:
    """The pictures, which are made once."""
    if not folder.exists():
        making = folder.with_suffix(".new")
        making.mkdir(parents=True, exist_ok=True)
        for number, data in enumerate(kind.make()):
            (making / f"{number:02}.jpg").write_bytes(data)
        making.rename(folder)
    return [path.read_bytes() for path in sorted(folder.glob("*.jpg"))]


def _line_up(stage: servers.Stage, encoded: list[bytes], who: Sequence[str]) -> list[Contender]:
    def right(precision: Precision, decoder: str) -> list[Photograph]:
        return answered(
            encoded, graph_path(stage.work, precision), lambda data: DECODERS[decoder](data, stage.size)
        )

    def tuned(key: str, precision: Precision, decoder: str) -> Contender:
        setup = Setup(f"tuned (2 processes), {precision}, {_DECODERS[decoder]}")
        answers = right(precision, decoder)
        return servers.fastapi(stage, answers, setup, precision=precision, decoder=decoder, key=key)

    start: dict[str, Callable[[], Contender]] = {
        "ours": lambda: servers.ours(stage, right("int8", "ours")),
        "tutorial": lambda: servers.tutorial(stage, right("float", "pillow")),
        "stock": lambda: servers.kserve_stock(stage, right("float", "pillow"), "pillow"),
        "pillow": lambda: tuned("pillow", "float", "pillow"),
        "draft": lambda: tuned("draft", "float", "pillow-draft"),
        "draft-int8": lambda: tuned("draft-int8", "int8", "pillow-draft"),
        "decoder": lambda: tuned("decoder", "float", "ours"),
        "all-ours": lambda: tuned("all-ours", "int8", "ours"),
    }
    return [start[key]() for key in who]
