"""How Triton should run the model on so many cores: `python -m benchmarks.serving.variants`.

For each CPU config variant that this machine has cores for, the whole service is bound to that many cores
and measured with every candidate of instances and threads, which take turns; it serves the int8 graph, as by
default. Writes `variants.md` beside the other results. Takes the flags of the benchmark itself; the load
generator is not bound.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from benchmarks.serving import machine, payloads
from benchmarks.serving.artifact import VERSION, Precision, graph_path
from benchmarks.serving.config import Config
from benchmarks.serving.contenders import Contender, Route
from benchmarks.serving.measure import Bench, Measurement, Scenario
from benchmarks.serving.photographs import answered, small_images
from benchmarks.serving.ratios import ratio, spread
from benchmarks.serving.services import Service, free_ports
from export.graph.triton_config import CPU_1, CPU_2, CPU_4, Variant, classifier_config
from model.contract import MODEL_NAME

_PRECISION: Final[Precision] = "int8"
CORES: Final = {1: CPU_1, 2: CPU_2, 4: CPU_4}
_THREADS: Final = '"intra_op_thread_count" value {{ string_value: "{}" }}'


@dataclass(frozen=True)
class Candidate:
    """One way to run the model.

    Attributes:
        cores: That the service may use.
        instances: Of the model.
        threads: Of one instance.
    """

    cores: int
    instances: int
    threads: int

    @property
    def key(self) -> str:
        """Short name."""
        return f"{self.cores}-{self.instances}x{self.threads}"

    @property
    def ours(self) -> bool:
        """Whether it is what the variant for these cores says."""
        return self.threads == 1 and self.instances == CORES[self.cores].instances

    @property
    def title(self) -> str:
        """For people."""
        instances = f"{self.instances} instance{'s' * (self.instances != 1)}"
        words = f"{instances} of {self.threads} thread{'s' * (self.threads != 1)}"
        return f"**{words}** (`cpu-{self.cores}`)" if self.ours else words


def candidates(cores: int) -> list[Candidate]:
    """What makes sense to try on so many cores: from half to twice as many threads in all."""
    counts = [count for count in (1, 2, 4, 8) if count <= 2 * cores]
    return [
        Candidate(cores, instances, threads)
        for instances in counts
        for threads in counts
        if cores / 2 <= instances * threads <= 2 * cores
    ]


def main() -> None:
    """Measure, print and write."""
    config = Config()
    subprocess.run([sys.executable, "-m", "benchmarks.serving.artifact", str(config.work)], check=True)
    lines = [
        "# Instances and threads, side by side",
        "",
        "The network in int8, as it is served by default.",
        "",
    ]
    for cores in CORES:
        if cores <= (os.cpu_count() or 1):
            lines += [f"## {cores} core{'s' * (cores != 1)}", "", *_measure(config, candidates(cores)), ""]
        else:
            lines += [f"## {cores} cores", "", f"Not measured: this machine has {os.cpu_count()}.", ""]
    lines += [f"- {name}: {text}" for name, text in machine.describe().items() if text]
    config.results.mkdir(parents=True, exist_ok=True)
    (config.results / "variants.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def _measure(config: Config, tried: Sequence[Candidate]) -> list[str]:
    with ExitStack() as stack:
        services: dict[str, Service] = {}
        contenders = []
        for candidate in tried:
            print(f"starting {candidate.key}", flush=True)
            port, *triton_ports = free_ports(5)
            for service in _services(config.work, candidate, port, triton_ports):
                services[service.name] = stack.enter_context(service)
            contenders.append(_contender(candidate, port))
        small = answered(small_images(config.images), graph_path(config.work, _PRECISION))
        rounds = Bench(config, contenders, services, {_PRECISION: small}).rounds()
        measured = [one for each in rounds for one in each]
    return _table(tried, measured)


def _services(work: Path, candidate: Candidate, port: int, triton_ports: Sequence[int]) -> Iterator[Service]:
    repository = work / "variants" / candidate.key
    model = repository / MODEL_NAME / str(VERSION)
    model.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(graph_path(work, _PRECISION), model / "model.onnx")
    variant: Variant = replace(CORES[candidate.cores], instances=candidate.instances)
    text = classifier_config(variant, {"version": str(VERSION)}).to_pbtxt().replace("labels.txt", "")
    (model.parent / "config.pbtxt").write_text(
        text.replace(_THREADS.format(1), _THREADS.format(candidate.threads))
    )
    http, grpc, metrics, transformer_grpc = triton_ports
    bound = ["taskset", "--cpu-list", f"0-{candidate.cores - 1}", sys.executable, "-m"]
    triton = ["triton_server", "--model-repository", str(repository), "--http-port", str(http)]
    triton += ["--grpc-port", str(grpc), "--metrics-port", str(metrics)]
    transformer = ["image_transformer", "--predictor_host", f"127.0.0.1:{http}", "--http_port", str(port)]
    transformer += ["--grpc_port", str(transformer_grpc)]
    transformer += ["--calls_in_flight", str(candidate.instances + 1)]
    for name, argv, ready in (
        (f"triton-{candidate.key}", triton, f"http://127.0.0.1:{http}/v2/health/ready"),
        (f"transformer-{candidate.key}", transformer, f"http://127.0.0.1:{port}/health"),
    ):
        yield Service(name, [*bound, *argv], ready, work / "log" / f"{name}.log")


def _contender(candidate: Candidate, port: int) -> Contender:
    return Contender(
        candidate.key,
        candidate.title,
        "ours",
        f"127.0.0.1:{port}",
        Route("/predict", payloads.raw, '"probabilities":['),
        Route(f"/v2/models/{MODEL_NAME}/infer", payloads.v2_encoded, '"data":['),
        (f"triton-{candidate.key}", f"transformer-{candidate.key}"),
        _PRECISION,
    )


def _table(tried: Sequence[Candidate], measured: Sequence[Measurement]) -> list[str]:
    scenarios: list[Scenario] = list(dict.fromkeys(one.scenario for one in measured))
    ours = next(candidate for candidate in tried if candidate.ours)

    def rates(candidate: Candidate, scenario: Scenario) -> list[float]:
        return [one.rate for one in measured if (one.contender, one.scenario) == (candidate.key, scenario)]

    lines = [
        "Images a second, and how many times the shipped variant's: median over the rounds (lowest–highest).",
        "",
        "| | " + " | ".join(scenario.title for scenario in scenarios) + " |",
        "|---|" + "--:|" * len(scenarios),
    ]
    for candidate in tried:
        cells = []
        for scenario in scenarios:
            mine = rates(candidate, scenario)
            cells.append(f"{spread(mine).median:,.0f}; {ratio(mine, rates(ours, scenario))}")
        lines.append(f"| {candidate.title} | " + " | ".join(cells) + " |")
    return lines


if __name__ == "__main__":
    main()
