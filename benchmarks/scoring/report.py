"""What was measured, as lines and as a table in Markdown."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.scoring.answers import Compared
from benchmarks.scoring.contenders import FETCH, LIMIT, OURS
from benchmarks.scoring.watched import Measured


@dataclass
class Found:
    """One contender's.

    Attributes:
        few: Pictures of the small set.
        runs: Of each round the small set, then the whole one.
        compared: Its answers beside ours.
        failed: Why there is no more of it.
    """

    few: int
    runs: list[tuple[Measured, Measured]] = field(default_factory=list)
    compared: Compared | None = None
    failed: str = ""

    def rates(self, pictures: int) -> list[float]:
        """Pictures a second, from its start to its table."""
        return [pictures / whole.seconds for _, whole in self.runs]

    def costs(self, pictures: int) -> list[float]:
        """Processor time a picture, µs, from its start to its table."""
        return [whole.processor_seconds / pictures * 1e6 for _, whole in self.runs]

    def further(self, pictures: int) -> list[float]:
        """Processor time of each further picture, µs: without the start.

        Raises:
            ValueError: The whole set has no more pictures than the small one.
        """
        if pictures <= self.few:
            raise ValueError(f"{pictures} pictures are no more than the {self.few} that tell the start")
        return [
            (whole.processor_seconds - few.processor_seconds) / (pictures - self.few) * 1e6
            for few, whole in self.runs
        ]

    def further_rates(self, pictures: int) -> list[float]:
        """Pictures a second, without the start."""
        return [(pictures - self.few) / max(1e-9, whole.seconds - few.seconds) for few, whole in self.runs]

    def said(self, pictures: int) -> str:
        """The last round in a line."""
        return (
            f"{self.rates(pictures)[-1]:,.0f} a second, {self.costs(pictures)[-1]:,.0f} µs a picture; "
            f"without the start {self.further_rates(pictures)[-1]:,.0f} a second, "
            f"{self.further(pictures)[-1]:,.0f} µs; "
            f"{self.runs[-1][1].memory / 1e6:,.0f} MB a worker; {self.compared or ''}"
        )


def table(found: Mapping[str, Found], pictures: int) -> str:
    """A row for each, with the ratio to ours of the same place by processor time without the start."""
    lines = [
        "| | pictures a second | µs a picture | without the start: a second | µs | of ours | answers |",
        "|---|--:|--:|--:|--:|--:|---|",
    ]
    for name, one in found.items():
        if not one.runs:
            lines.append(f"| {name} | {one.failed} | | | | | |")
            continue
        ours = found.get(f"{OURS}, {name.rpartition(', ')[2]}") or found[f"{OURS}, files"]
        against = [
            theirs / mine
            for theirs, mine in zip(one.further(pictures), ours.further(pictures), strict=False)
            if mine > 0
        ]
        cells = [
            name,
            _spread(one.rates(pictures)),
            _spread(one.costs(pictures)),
            _spread(one.further_rates(pictures)),
            _spread(one.further(pictures)),
            f"{statistics.median(against):.2f}" if against and OURS not in name else "",
            "" if name in {LIMIT, FETCH} else str(one.compared),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _spread(values: Sequence[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:,.0f}"
    return f"{statistics.median(values):,.0f} ({min(values):,.0f}–{max(values):,.0f})"
