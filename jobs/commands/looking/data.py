"""Looking at the data before anything is learned from it: `data`."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from jobs.commands.looking.data_table import print_table, write_list
from jobs.commands.options import (
    DataFlag,
    DropLeaksFlag,
    FixFlag,
    JsonFlag,
    OutputsFlag,
    RenameFlag,
    SampleFlag,
    StoreFlag,
    write_outputs,
)
from jobs.console import answer, say
from jobs.errors import MistakeError, RefusedError
from jobs.settings import load_settings
from jobs.training_runs import request_of

if TYPE_CHECKING:
    from export.store.versions import Store
    from model.data.findings import Finding
    from model.data.own.look import Look

PAGE_FILE: Final = "data.html"
_ANY: Final = "any"

SourceArgument = Annotated[
    str | None, typer.Argument(metavar="SOURCE", help="The same as --data.", show_default=False)
]
PageFlag = Annotated[
    Path | None, typer.Option("--page", help="Where the page about own pictures goes. [var/data.html]")
]
ListFlag = Annotated[
    Path | None,
    typer.Option("--list", help="Write a CSV: each file with its split, or why it is left out."),
]
FailOnFlag = Annotated[
    str | None,
    typer.Option(
        "--fail-on",
        help="End with code 3 if one of these is found, commas between: broken, too-small, duplicates, "
        "near-duplicates, conflicts, leaks, imbalance, small-classes, few-groups; or any.",
    ),
]


def data(
    source: SourceArgument = None,
    named: DataFlag = None,
    sample_allowed: SampleFlag = False,
    page: PageFlag = None,
    no_page: Annotated[bool, typer.Option("--no-page", help="Draw no page.")] = False,
    list_file: ListFlag = None,
    fix: FixFlag = None,
    rename: RenameFlag = None,
    drop_leaks: DropLeaksFlag = None,
    fail_on: FailOnFlag = None,
    as_json: JsonFlag = False,
    store: StoreFlag = None,
    outputs: OutputsFlag = None,
) -> None:
    """Check the data: what is in it, what is wrong with it, and what was made of it already.

    Of own pictures it prints a table and draws a page to look through; nothing of them is changed.
    """
    from jobs.laptop.naming import model_of_its_data
    from jobs.pipeline.candidate import made_before
    from jobs.pipeline.data import load_data, say_which, wishes
    from jobs.pipeline.decoding import decoding_shown
    from jobs.pipeline.networks import say_network
    from model.data.dataset import Dataset
    from model.data.own.look import look

    if source and named and source != named:
        raise MistakeError(f"The data is named twice, {source!r} and {named!r}; name it once.")
    kinds = _kinds(fail_on)
    settings = load_settings(data=source or named, rename=rename, drop_leaks=drop_leaks, store=store)
    opened: Store | None = settings.open_store()
    request = request_of(settings, 0, fix=fix, rename=settings.rename)
    found = None
    if settings.data:
        model = model_of_its_data(settings)
        known = model.open_store() if model else None
        with decoding_shown() as progress:
            found = look(settings.data, wishes(request, settings, known), progress)
        if not isinstance(found, Dataset):
            opened = known
    findings: Sequence[Finding] = ()
    if found is None or isinstance(found, Dataset):
        if page or list_file or fix or fail_on or as_json or rename or drop_leaks:
            raise MistakeError(
                "--page, --list, --fix, --rename, --drop-leaks, --fail-on and --json are for own pictures; "
                "these are CIFAR-10's."
            )
        if found is None:
            dataset = load_data(request, settings, settings.open_store(), sample_allowed=sample_allowed)
        else:
            dataset = found
            say_which(dataset)
        answer(dataset.digest)
    else:
        page = None if no_page else page or settings.home / PAGE_FILE
        _refuse_inside(found.check.source, [file for file in (page, list_file) if file is not None])
        findings = _show(found, page, list_file, as_json=as_json)
        dataset = found.dataset
        say_network(dataset, request, opened)
    made = made_before(request, dataset, opened) if opened else None
    if made is not None:
        say(f"Version {made} was made of it, by the same recipe, seed and code.")
    write_outputs(outputs, digest=dataset.digest, images=len(dataset.train), made=made)
    if refused := [finding for finding in findings if finding.kind in kinds]:
        names = ", ".join(dict.fromkeys(finding.kind for finding in refused))
        raise RefusedError(f"The data has {names}, which --fail-on names; mend it, or name less.")


def _show(own: "Look", page: Path | None, list_file: Path | None, *, as_json: bool) -> "Sequence[Finding]":
    """Print what was found and write the page and the list, also where nothing can be learned from the data.

    Raises:
        DataError: Nothing can.
    """
    from model.data.errors import DataError
    from model.data.findings import find

    findings = find(own.check)
    digest = None if own.mistakes else own.dataset.digest
    told = {"mistakes": own.mistakes, "notes": own.notes}
    for note in own.notes:
        say(note)
    if list_file is not None:
        with _writing("List", list_file):
            write_list(own.check, list_file)
    if page is not None:
        from model.report.data_page import write_data_page

        with _writing("Page", page):
            write_data_page(page, own.check, findings, own.pixels, digest=digest, **told)
    if as_json:
        found = {"digest": digest, "findings": [asdict(finding) for finding in findings]}
        answer(json.dumps(own.check.to_json() | found | told, ensure_ascii=False, indent=2))
    else:
        print_table(own.check, findings, digest)
    for mistake in own.mistakes:
        raise DataError(mistake)
    return findings


@contextmanager
def _writing(what: str, file: Path) -> Iterator[None]:
    """Say where something is written to.

    Raises:
        MistakeError: It cannot be.
    """
    try:
        yield
    except OSError as error:
        raise MistakeError(f"{file} cannot be written ({error.strerror}); name another place.") from error
    say(f"{what}: {file}")


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
    from model.data.own.places.opening import on_this_disk

    if source.startswith("s3://"):
        return
    there = on_this_disk(source).resolve()
    for file in files:
        path = file.resolve()
        if path == there or (there.is_dir() and there in path.parents):
            raise MistakeError(
                f"{file} would be written into the data {source}; name another place, or start it in another "
                "folder."
            )


COMMANDS: tuple[Callable[..., None], ...] = (data,)
