"""`python -m benchmarks.cluster`: loads the installed InferenceService, a stock KServe transformer and Triton
itself in turn, from outside the cluster, and writes `cluster-separate.md` or `cluster-collocated.md`.
"""

import shlex
import statistics
import sys
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from benchmarks.cluster.hops import Hops, between, counted
from benchmarks.cluster.objects import ClusterError, added, pods, transformer_labels, triton_labels
from benchmarks.serving import load, machine, payloads
from benchmarks.serving.contenders import Route
from benchmarks.serving.load import LoadError
from benchmarks.serving.measure import Scenario
from benchmarks.serving.photographs import Photograph, small_images
from benchmarks.serving.ratios import ratio, spread
from model.contract import CLASSES, MODEL_NAME
from model.images.decode import decode_image

INFER: Final = f"/v2/models/{MODEL_NAME}/infer"
MANY: Final = 32
# One image a request over 1, 32 and 128 connections, and many over 8.
SCENARIOS: Final = ((1, 1), (1, 32), (1, 128), (MANY, 8))


class Config(BaseSettings):
    """Measure the installed product on a Kubernetes beside a stock KServe transformer on the same Triton."""

    model_config = SettingsConfigDict(
        env_prefix="CNN_IMAGE_BENCH_",
        cli_parse_args=True,
        cli_prog_name="python -m benchmarks.cluster",
        cli_kebab_case=True,
    )

    namespace: str = Field("cnn-image", description="where the product is installed")
    service: str = Field("cnn-image", description="the InferenceService's name")
    node: str = Field("127.0.0.1", description="address of a node, whose ports this machine reaches")
    rounds: int = Field(5, ge=1, description="times each contender is measured, taking turns")
    seconds: int = Field(2, ge=1, description="length of one measurement")
    images: int = Field(64, ge=1, description="different photographs that are sent in turn")
    work: Path = Field(Path("var/benchmark/cluster"), description="where requests are prepared")
    results: Path = Field(Path("benchmarks/results"), description="where the results are written")


@dataclass(frozen=True)
class Contender:
    """Who is measured: its title, its node port's name, one image's way and many images'."""

    title: str
    port: str
    one: Route
    many: Route


V2: Final = Route(INFER, payloads.v2_encoded, '"data":[')
TENSORS: Final = Route(INFER, payloads.v2_pixels, "", pixels=True)
V1: Final = Route(f"/v1/models/{MODEL_NAME}:predict", payloads.v1_base64, '"predictions":[')
CONTENDERS: Final = (
    Contender("**ours** (one: POST /predict; many: v2 REST)", "ours",
              Route("/predict", payloads.raw, '"probabilities":['), V2),
    Contender("stock KServe transformer, gRPC to the same Triton", "stock", V1, V1),
    Contender("the limit: the same Triton, ready tensors", "triton", TENSORS, TENSORS),
)  # fmt: skip


def main() -> None:
    """Measures and writes; a problem ends in one sentence."""
    config = Config()
    try:
        load.require("wrk", "on Debian: apt-get install wrk")
        names = [
            {
                pod["metadata"]["name"]
                for pod in pods(config.namespace, ",".join(f"{k}={v}" for k, v in one.items()))
            }
            for one in (transformer_labels(), triton_labels(config.service))
        ]
        with added(config.namespace, config.service) as ports:
            text = measure(
                config, ports, "collocated" if names[0] & names[1] else "separate", [*map(len, names)]
            )
    except (ClusterError, LoadError, OSError) as error:
        sys.exit(str(error))
    print(text)


def measure(config: Config, ports: Mapping[str, int], layout: str, counts: Sequence[int]) -> str:
    """Takes all measurements, in turns; the report is written after each round.

    Raises:
        LoadError: an answer was wrong, or a load generator failed.
    """
    addresses = {name: f"{config.node}:{port}" for name, port in ports.items()}
    images = [_answered(addresses["triton"], data) for data in small_images(config.images)]
    rates: dict[tuple[str, tuple[int, int]], list[load.Load]] = {}
    hops: list[Hops] = []
    text = ""
    for number in range(config.rounds):
        for scenario in SCENARIOS:
            turn = number % len(CONTENDERS)
            for contender in CONTENDERS[turn:] + CONTENDERS[:turn]:
                count, connections = scenario
                prepared = _prepare(config.work, contender, addresses[contender.port], images, count)
                run = partial(load.wrk, addresses[contender.port], prepared, connections)
                if number == 0:
                    run(1)
                watched = contender.port == "ours" and scenario == (1, 1)
                before = counted(config.namespace, config.service) if watched else {}
                seen = run(config.seconds)
                if watched:
                    after = counted(config.namespace, config.service)
                    hops.append(between(before, after, 1e3 / seen.rate))
                rates.setdefault((contender.port, scenario), []).append(seen)
                print(
                    f"round {number + 1}, {scenario}: {contender.port} {seen.rate * count:,.0f}", flush=True
                )
        text = _report(rates, hops, layout, counts)
        config.results.mkdir(parents=True, exist_ok=True)
        (config.results / f"cluster-{layout}.md").write_text(text)
    return text


def _answered(address: str, data: bytes) -> Photograph:
    """An image with the answer that Triton itself gives to its pixels, at rest."""
    pixels = decode_image(data)
    body = payloads.v2_pixels([pixels.tobytes()])
    request = urllib.request.Request(f"http://{address}{INFER}", body.data, body.headers)
    with urllib.request.urlopen(request, timeout=20) as answer:
        values = answer.read()[-4 * len(CLASSES) :]
    return Photograph(data, pixels, np.frombuffer(values, "<f4"))


def _prepare(
    work: Path, contender: Contender, address: str, images: Sequence[Photograph], count: int
) -> load.Prepared:
    route = contender.one if count == 1 else contender.many
    groups = [[images[(start + more) % len(images)] for more in range(count)] for start in range(len(images))]
    requests = [
        payloads.http_request(
            route.path,
            address,
            route.encode([one.pixels.tobytes() if route.pixels else one.encoded for one in group]),
        )
        for group in groups
    ]
    expected = np.stack([np.concatenate([one.probabilities for one in group]) for group in groups])
    return load.prepare(work / f"{contender.port}-{count}", requests, expected, route.marker)


def _report(
    rates: Mapping[tuple[str, tuple[int, int]], Sequence[load.Load]],
    hops: Sequence[Hops],
    layout: str,
    counts: Sequence[int],
) -> str:
    lines = [
        f"# In a cluster, {layout}",
        "",
        f"Measured by `{shlex.join(['python', '-m', 'benchmarks.cluster', *sys.argv[1:]])}`, from outside the"
        " cluster through node ports."
        f" {counts[0]} transformer and {counts[1]} Triton pods; the stock transformer has as many replicas"
        " and the same resources as ours. Every answer was compared with Triton's own on the same pixels."
        " Median over the rounds; ratios with the lowest and the highest.",
    ]
    for scenario in SCENARIOS:
        count, connections = scenario
        lines += [
            "",
            f"## {Scenario(count, connections).title}",
            "",
            "| | images/s | ours ÷ this | p50 ms | p99 ms |",
            "|---|--:|--:|--:|--:|",
        ]
        ours = [one.rate for one in rates["ours", scenario]]
        for contender in CONTENDERS:
            seen = rates[contender.port, scenario]
            compared = "–" if contender.port == "ours" else str(ratio(ours, [one.rate for one in seen]))
            rate, p50, p99 = (
                statistics.median(getattr(one, name) for one in seen) for name in ("rate", "p50", "p99")
            )
            lines.append(
                f"| {contender.title} | {rate * count:,.0f} | {compared} | {p50:,.1f} | {p99:,.1f} |"
            )
    lines += ["", "## Where a single request's time goes", "", "| part | ms |", "|---|--:|"]
    titles = {
        "outside": "client to transformer and back: node port, kernel, HTTP server",
        "decoding": "decoding the image",
        "transformer": "the rest of the transformer",
        "between": "transformer to Triton and back: the cluster's network, Triton's HTTP server",
        "triton": "Triton around its backend: queue, copies",
        "network": "Triton's backend, which runs the network",
    }
    for field in fields(Hops):
        found = spread([getattr(one, field.name) for one in hops])
        lines.append(f"| {titles[field.name]} | {found} |")
    lines += ["", *(f"- {name}: {text}" for name, text in machine.describe().items() if text)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
