"""What `cnn-image data` prints and lists of one's own pictures."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from jobs.console import answer, listing, table

if TYPE_CHECKING:
    from model.data.check import ClassCount, DataCheck
    from model.data.findings import Finding

_MOST_ROWS: Final = 40
"""Classes in the table; the page and `--json` have all."""
_LIST_COLUMNS: Final = ("image", "label", "split", "group", "left_out", "why")


def print_table(check: "DataCheck", findings: "Sequence[Finding]", digest: str | None) -> None:
    """Print counts by class, what the pictures are like, and what was found.

    Args:
        check: The data.
        findings: What is wrong with it.
        digest: Of what is learned from; None where nothing can be.
    """
    from model.data.check import SPLITS

    counts = check.counts
    rows = [_row(count) for count in counts]
    if len(rows) > _MOST_ROWS:
        by_size = sorted(counts, key=lambda count: -count.total)
        half = _MOST_ROWS // 2
        gap = (f"… {len(rows) - 2 * half:,} classes between", *[""] * (len(SPLITS) + 1))
        rows = [*map(_row, by_size[:half]), gap, *map(_row, by_size[-half:])]
    table(("class", *SPLITS, "left out"), rows)
    facts = {
        "pictures": f"{len(check.pictures):,}",
        "width": f"{check.widths.smallest:,} to {check.widths.largest:,}, median {check.widths.median:,}",
        "height": f"{check.heights.smallest:,} to {check.heights.largest:,}, median {check.heights.median:,}",
        "formats": _listed(check.formats),
        "input": f"{check.size} x {check.size}, {check.fit}",
        "groups": _listed(check.groups),
        "left out": _listed({reason: len(lefts) for reason, lefts in check.reasons.items()}),
        "digest": digest or "none",
    }
    answer("")
    listing(facts)
    if findings:
        answer("")
    for finding in findings:
        answer(f"{finding.kind}: {finding.sentence}")


def _row(count: "ClassCount") -> tuple[str, ...]:
    return (
        count.name,
        f"{count.train:,}",
        f"{count.validation:,}",
        f"{count.test:,}",
        f"{count.left_out:,}",
    )


def write_list(check: "DataCheck", file: Path) -> None:
    """Write a CSV with a row for each file of the source."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding="utf-8", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(_LIST_COLUMNS)
        for picture, split in zip(check.pictures, check.splits, strict=True):
            rows.writerow((picture.name, picture.label, split, picture.group or "", "", ""))
        for left in check.left_out:
            rows.writerow((left.name, left.label or "", "", "", left.reason, left.detail))


def _listed(numbers: Mapping[Any, int]) -> str:
    return ", ".join(f"{name} {number:,}" for name, number in numbers.items()) or "none"
