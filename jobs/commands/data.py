"""Looking at the data before anything is learned from it: `data`."""

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from jobs.commands.options import (
    DataFlag,
    JsonFlag,
    OutputsFlag,
    SampleFlag,
    StoreFlag,
    request_of,
    write_outputs,
)
from jobs.console import answer, listing, say, table
from jobs.errors import MistakeError, RefusedError
from jobs.settings import Settings, load_settings

if TYPE_CHECKING:
    from model.data.check import ClassCount, DataCheck
    from model.data.dataset import Dataset
    from model.data.findings import Finding

PAGE_FILE: Final = "data.html"
_MOST_ROWS: Final = 40
"""Classes in the printed table; the page and `--json` have all."""
_LIST_COLUMNS: Final = ("image", "label", "split", "group", "left_out", "why")
_ANY: Final = "any"


def data(
    source: Annotated[
        str | None, typer.Argument(metavar="SOURCE", help="The same as --data.", show_default=False)
    ] = None,
    named: DataFlag = None,
    sample_allowed: SampleFlag = False,
    page: Annotated[
        Path | None,
        typer.Option("--page", help="Where the page about one's own pictures goes. [var/data.html]"),
    ] = None,
    no_page: Annotated[bool, typer.Option("--no-page", help="Draw no page.")] = False,
    list_file: Annotated[
        Path | None,
        typer.Option("--list", help="Write a CSV: each file with its split, or why it is left out."),
    ] = None,
    fix: Annotated[
        Path | None,
        typer.Option("--fix", help="A CSV with columns image and fix (a class or drop): as if it were done."),
    ] = None,
    fail_on: Annotated[
        str | None,
        typer.Option(
            "--fail-on",
            help="End with code 3 where one of these is found, commas between: broken, too-small, duplicates, "
            "conflicts, leaks, imbalance, small-classes, few-groups; or any.",
        ),
    ] = None,
    as_json: JsonFlag = False,
    store: StoreFlag = None,
    outputs: OutputsFlag = None,
) -> None:
    """Check the data: what is in it, what is wrong with it, and what was made of it already.

    Of one's own pictures it prints a table and draws a page to look through. Nothing of them is changed.
    """
    from jobs.pipeline.candidate import load_data, made_before

    if source and named and source != named:
        raise MistakeError(f"The data is named twice, {source!r} and {named!r}; name it once.")
    kinds = _kinds(fail_on)
    settings = load_settings(data=source or named, store=store)
    request = request_of(settings, 0)
    page_file = None if no_page else page or settings.state / PAGE_FILE
    if settings.data:
        _refuse_inside(settings.data, [file for file in (page_file, list_file) if file is not None])
    dataset = load_data(request, sample_allowed=sample_allowed)
    made = made_before(request, dataset, settings.open_store())
    if made is not None:
        say(f"Version {made} was made of it, by the same recipe, seed and code.")
    write_outputs(outputs, digest=dataset.digest, images=len(dataset.train), made=made)
    answer(dataset.digest)


def _kinds(fail_on: str | None) -> frozenset[str]:
    """What `--fail-on` names.

    Raises:
        MistakeError: It names something that is never found.
    """
    from model.data.findings import KINDS

    given = [kind.strip() for kind in (fail_on or "").split(",") if kind.strip()]
    wrong = [kind for kind in given if kind not in {*KINDS, _ANY}]
    if wrong:
        raise MistakeError(f"--fail-on does not know {wrong[0]!r}; it takes {', '.join(KINDS)}, or {_ANY}.")
    return frozenset(KINDS if _ANY in given else given)


def _refuse_inside(source: str, files: Sequence[Path]) -> None:
    """Keep what is written here out of the folder that the pictures lie in.

    Raises:
        MistakeError: Something would be written into it, or over it.
    """
    if source.startswith("s3://"):
        return
    there = Path(source).expanduser().resolve()
    for file in files:
        path = file.resolve()
        if path == there or (there.is_dir() and there in path.parents):
            raise MistakeError(
                f"{file} would be written into the data {source}; name another place, or start in another folder."
            )


def _print_table(check: "DataCheck", findings: "Sequence[Finding]", digest: str) -> None:
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
        "formats": ", ".join(f"{name} {number:,}" for name, number in check.formats.items()),
        "input": f"{check.size} x {check.size}, {check.fit}",
        "groups": ", ".join(f"{split} {number:,}" for split, number in check.groups.items()) or "none",
        "left out": ", ".join(f"{reason} {len(lefts):,}" for reason, lefts in check.reasons.items()) or "none",
        "digest": digest,
    }
    answer("")
    listing(facts)
    if findings:
        answer("")
        listing({finding.kind: finding.sentence for finding in findings})


def _row(count: "ClassCount") -> tuple[str, ...]:
    return (
        count.name,
        f"{count.train:,}",
        f"{count.validation:,}",
        f"{count.test:,}",
        f"{count.left_out:,}",
    )


def _write_list(check: "DataCheck", file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding="utf-8", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(_LIST_COLUMNS)
        for picture, split in zip(check.pictures, check.splits, strict=True):
            rows.writerow((picture.name, picture.label, split, picture.group or "", "", ""))
        for left in check.left_out:
            rows.writerow((left.name, left.label or "", "", "", left.reason, left.detail))


COMMANDS: tuple[Callable[..., None], ...] = (data,)
