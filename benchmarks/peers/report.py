"""What was measured, kept part by part in `peers.json` and written as tables to `peers.md`."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from benchmarks.peers.rounds import Measured
from benchmarks.peers.settings import ADVICE, NAMES
from benchmarks.serving import machine
from benchmarks.serving.ratios import ratio, spread

RESULTS: Final = Path("benchmarks/results")


def kept(part: str) -> list[Measured]:
    """What a part has found before."""
    return [Measured(**one) for one in _read().get(part, {}).get("measured", [])]


def keep(part: str, titles: dict[str, str], measured: Sequence[Measured], about: str) -> None:
    """Keeps a part's measurements and writes all tables anew.

    Args:
        part: Its name.
        titles: Of its scenarios, by key, in their order.
        measured: All of it.
        about: What the part is, in a sentence or two.
    """
    everything = _read()
    everything[part] = {
        "about": about,
        "machine": machine.describe(),
        "titles": titles,
        "measured": [asdict(one) for one in measured],
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "peers.json").write_text(json.dumps(everything, indent=1, ensure_ascii=False) + "\n")
    (RESULTS / "peers.md").write_text(_markdown(everything))


def _read() -> dict[str, Any]:
    path = RESULTS / "peers.json"
    return dict(json.loads(path.read_text())) if path.exists() else {}


def _markdown(everything: dict[str, Any]) -> str:
    lines = [
        "# Beside other servers",
        "",
        "Measured by `python -m benchmarks.peers` ([what and how](../../docs/speed.md#beside-other-servers))."
        " Given are the median over the rounds and, for ratios, which are taken round by round, the lowest"
        " and the highest. Rates are ours over theirs, processor time is theirs over ours: above 1 ours is"
        " ahead. Every answer was held against ONNX Runtime's own on the same pixels.",
    ]
    order = ["small", *sorted(one for one in everything if one.startswith("photographs"))]
    order += [f"tune-{name}" for name in NAMES]
    for part in (part for part in order if part in everything):
        lines += ["", *_part(part, everything[part])]
    return "\n".join(lines) + "\n"


def _part(part: str, found: dict[str, Any]) -> list[str]:
    measured = [Measured(**one) for one in found["measured"]]
    described = found["machine"]
    lines = [f"## {found['about'].partition('. ')[0].rstrip('.')}", ""]
    lines += [found["about"].partition(". ")[2], ""] if ". " in found["about"] else []
    if name := part.partition("tune-")[2]:
        lines += [f"By {ADVICE[name]}.", ""]
    lines.append(
        f"{described['date']}, {described['commit']}, {described['processor']}; "
        f"{described['other work at the start']}; {described['packages']}."
    )
    for key, title in found["titles"].items():
        asked = [one for one in measured if one.scenario == key]
        if asked:
            lines += ["", f"### {title[0].upper()}{title[1:]}", "", *_table(asked)]
    return lines


def _table(measured: Sequence[Measured]) -> list[str]:
    lines = [
        "| | images/s | ours ÷ this | CPU µs/image | this ÷ ours | p50 ms | p99 ms | rounds |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    by: dict[str, list[Measured]] = {}
    for one in sorted(measured, key=lambda one: one.round):
        by.setdefault(one.contender, []).append(one)
    first = next(key for key in by if key.startswith("ours"))
    mine = by.pop(first)
    for theirs in (mine, *by.values()):
        rate, cpu, p50, p99 = (
            spread([getattr(one, name) for one in theirs]).median for name in ("rate", "cpu", "p50", "p99")
        )
        both = ("–", "–")
        if theirs is not mine:
            # Who came later is held against ours of the same rounds.
            same = [(one, other) for one in mine for other in theirs if one.round == other.round]
            both = (
                str(ratio([one.rate for one, _ in same], [other.rate for _, other in same])),
                str(ratio([other.cpu for _, other in same], [one.cpu for one, _ in same])),
            )
        cells = (
            f"{rate:,.0f}" if rate >= 10 else f"{rate:.1f}",
            both[0],
            f"{cpu:,.0f}",
            both[1],
            f"{p50:,.1f}",
            f"{p99:,.1f}",
            str(len(theirs)),
        )
        lines.append(f"| {theirs[-1].title} | {' | '.join(cells)} |")
    return lines
