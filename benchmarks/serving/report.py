"""Results for people: a markdown table and a plot, beside all measurements as JSON."""

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt

from benchmarks.serving.contenders import Contender
from benchmarks.serving.measure import Measurement, Overload, Photographs, Scenario
from benchmarks.serving.ratios import Spread, ratio, spread

mpl.use("agg")

COLOURS = {"ours": "#1f77b4", "theirs": "#9aa5b1", "limit": "#d9b44a"}


@dataclass
class Results:
    """All that was measured.

    Attributes:
        machine: What it ran on.
        command: How to repeat it.
        contenders: Who took part.
        measurements: One by one.
        overload, photographs: None if our own routes took no part.
        notes: Sentences on what was left out.
    """

    machine: dict[str, str]
    command: str
    contenders: list[Contender]
    measurements: list[Measurement]
    overload: Overload | None
    photographs: Photographs | None
    notes: list[str]

    def scenarios(self) -> list[Scenario]:
        """In the order they were measured."""
        return list(dict.fromkeys(one.scenario for one in self.measurements))

    def of(self, contender: str, scenario: Scenario) -> list[Measurement]:
        """One contender's measurements in a scenario, by round."""
        return [one for one in self.measurements if (one.contender, one.scenario) == (contender, scenario)]

    def references(self, scenario: Scenario) -> list[Contender]:
        """Ours that the others are compared with: of each precision the first that takes part."""
        ours = [one for one in self.contenders if one.group == "ours" and self.of(one.key, scenario)]
        first = {one.precision: one for one in reversed(ours)}
        return [one for one in ours if one in first.values()]


def write(results: Results, folder: Path) -> list[Path]:
    """Writes serving.md, serving.svg and serving.json; returns them."""
    folder.mkdir(parents=True, exist_ok=True)
    table, plot, data = (folder / f"serving.{kind}" for kind in ("md", "svg", "json"))
    table.write_text(markdown(results))
    draw(results, plot)
    content = {
        "machine": results.machine,
        "command": results.command,
        "contenders": {one.key: one.title.replace("**", "") for one in results.contenders},
        "measurements": [dataclasses.asdict(one) for one in results.measurements],
        "overload": dataclasses.asdict(results.overload) if results.overload else None,
        "photographs": dataclasses.asdict(results.photographs) if results.photographs else None,
    }
    data.write_text(json.dumps(content, indent=1) + "\n")
    return [table, plot, data]


def markdown(results: Results) -> str:
    """Returns the report."""
    lines = ["# Serving speed", ""]
    lines += [
        f"Measured by `{results.command}`. All servers, one after the other, and the load generator share"
        f" this machine,"
        " so only ratios within one run mean something. Each ratio is taken round by round, between"
        " measurements that"
        " followed each other; given are the median and, in brackets, the lowest and the highest round."
        " Every HTTP"
        " answer was compared with ONNX Runtime's own on the same pixels; of the gRPC answers, those of a"
        " second client"
        " under the same load.",
        "",
    ]
    lines += [f"- {name}: {text}" for name, text in results.machine.items() if text]
    lines += [f"- {note}" for note in results.notes]
    for scenario in results.scenarios():
        lines += ["", f"## {scenario.title[0].upper()}{scenario.title[1:]}", "", *_table(results, scenario)]
    if results.overload:
        lines += ["", "## Overload", "", *_overload(results.overload)]
    if results.photographs:
        lines += ["", "## Photographs of 12 megapixels mixed in", "", *_photographs(results.photographs)]
    return "\n".join(lines) + "\n"


def _table(results: Results, scenario: Scenario) -> list[str]:
    references = results.references(scenario)
    versus = "".join(f" {one.key} ÷ this |" for one in references)
    lines = [
        f"| | images/s |{versus} p50 ms | p99 ms | CPU µs/image |",
        f"|---|--:|{'--:|' * len(references)}--:|--:|--:|",
    ]
    for contender in results.contenders:
        measured = results.of(contender.key, scenario)
        if not measured:
            continue
        compared = "".join(
            f" {_ratio(results.of(one.key, scenario), measured) if one != contender else '–'} |"
            for one in references
        )
        rate, p50, p99, cpu = (
            spread([getattr(one, name) for one in measured]).median for name in ("rate", "p50", "p99", "cpu")
        )
        lines.append(f"| {contender.title} | {rate:,.0f} |{compared} {p50:,.1f} | {p99:,.1f} | {cpu:,.0f} |")
    return lines


def _ratio(ours: list[Measurement], theirs: list[Measurement]) -> Spread:
    return ratio([one.rate for one in ours], [one.rate for one in theirs])


def _overload(overload: Overload) -> list[str]:
    outcome = overload.outcome
    turned_away = {status: count for status, count in outcome.statuses.items() if status != "200"}
    answers = ", ".join(f"{count:,} with {status}" for status, count in turned_away.items()) or "none"
    return [
        f"The servers had {overload.cores} core{'s' * (overload.cores != 1)}, the generator others. A closed"
        f" loop over 128 connections got {overload.capacity:,.0f} answers a second. An open loop then sent"
        f" {overload.factor:g} times that, {outcome.planned:,} requests in all: {outcome.served_rate:,.0f} a"
        f" second were served ({outcome.served_rate / overload.capacity:.0%} of capacity; p50"
        f" {outcome.p50:,.0f} ms, p99 {outcome.p99:,.0f} ms), turned away were {answers} (p50"
        f" {outcome.turned_away_p50:,.0f} ms, p99 {outcome.turned_away_p99:,.0f} ms), {outcome.broken:,} got"
        f" no answer. Memory of transformer and Triton: {overload.memory[0]:,.0f} MiB before, at most"
        f" {max(overload.memory):,.0f} MiB during it. The generator itself was late by"
        f" {outcome.late_p99:.0f} ms (p99).",
    ]


def _photographs(photographs: Photographs) -> list[str]:
    served = sum(one.served for one in photographs.photographs)
    planned = sum(one.planned for one in photographs.photographs)
    slowest = max(one.p99 for one in photographs.photographs)
    return [
        f"32 connections send small images, beside them an open loop photographs of"
        f" {photographs.megabytes:.1f} MB. p99"
        f" of the small ones: {spread(photographs.alone).median:.1f} ms alone,"
        f" {spread(photographs.mixed).median:.1f} ms with photographs, ratio"
        f" {ratio(photographs.mixed, photographs.alone)}. {served} of {planned} photographs were answered"
        f" in time, p99"
        f" {slowest:,.0f} ms.",
    ]


def draw(results: Results, path: Path) -> None:
    """Draws everyone's images a second in every scenario, with the spread, on a logarithmic axis."""
    scenarios = results.scenarios()
    figure, rows = plt.subplots(
        math.ceil(len(scenarios) / 2), 2, figsize=(13, 3.6 * math.ceil(len(scenarios) / 2)), squeeze=False
    )
    axes = rows.ravel()
    for ax, scenario in zip(axes, scenarios, strict=False):
        shown = [one for one in reversed(results.contenders) if results.of(one.key, scenario)]
        rates = [spread([m.rate for m in results.of(one.key, scenario)]) for one in shown]
        ax.barh(
            [one.title.replace("**", "") for one in shown],
            [rate.median for rate in rates],
            xerr=[[rate.median - rate.low for rate in rates], [rate.high - rate.median for rate in rates]],
            color=[COLOURS[one.group] for one in shown],
            error_kw={"linewidth": 1, "capsize": 2},
        )
        for place, rate in enumerate(rates):
            ax.annotate(f" {rate.median:,.0f}", (rate.high, place), va="center", fontsize=8)
        ax.set_xscale("log")
        ax.set_title(scenario.title, fontsize=10)
        ax.set_xlabel("images a second (median, lowest and highest round)", fontsize=8)
        ax.tick_params(labelsize=8)
        ax.margins(x=0.15)
    for ax in axes[len(scenarios) :]:
        ax.set_visible(False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
