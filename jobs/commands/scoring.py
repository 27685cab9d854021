"""Scoring an archive of pictures offline: `score`."""

import os
import sys
from collections.abc import Callable, Mapping
from typing import Annotated

import typer

from jobs.commands.options import JsonFlag, StoreFlag
from jobs.console import answer, say, table
from jobs.errors import MistakeError
from jobs.settings import Settings, load_settings


def score(
    source: Annotated[
        str,
        typer.Argument(
            help="A folder, an archive, a CSV or Parquet, an s3:// address, or - for a list on stdin.",
            show_default=False,
        ),
    ],
    out: Annotated[
        str,
        typer.Option(
            "--out", help="Where the table goes, a folder or s3://bucket/prefix.", show_default=False
        ),
    ],
    version: Annotated[
        int | None, typer.Option("--version", min=1, help="Which one answers. [promoted]")
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="So many pictures, the first.")] = None,
    sample: Annotated[int | None, typer.Option("--sample", min=1, help="So many pictures, drawn.")] = None,
    only_new: Annotated[
        str | None,
        typer.Option("--only-new", help="Leave out what this earlier result, or the runs in it, answered."),
    ] = None,
    run: Annotated[
        str | None,
        typer.Option(
            "--run", help="A folder in --out for this result, without what other runs there have answered."
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Processes side by side. [one a core]")
    ] = None,
    store: StoreFlag = None,
    as_json: JsonFlag = False,
    on_cluster: Annotated[
        bool, typer.Option("--on-cluster", help="Have it done by a Job on Kubernetes, with --workers pods.")
    ] = False,
    namespace: Annotated[
        str | None,
        typer.Option("--namespace", "-n", help="Of the release. [CNN_IMAGE_NAMESPACE, the kubeconfig's]"),
    ] = None,
    of: Annotated[
        int, typer.Option("--of", min=1, help="Of so many machines this is JOB_COMPLETION_INDEX.")
    ] = 1,
) -> None:
    """Score many pictures without a service: a table in Parquet, each picture once.

    Killed or stopped, the same command goes on from what is done.
    """
    from jobs.cluster.outcome import leave_word
    from jobs.scoring.score import Wish
    from jobs.scoring.score import score as score_all
    from jobs.scoring.source.listing import STDIN

    if run is not None and only_new is not None:
        raise MistakeError("--run leaves out what the runs in --out have answered; leave --only-new away.")
    settings = load_settings(store=store, namespace=namespace)
    if on_cluster:
        numbers = {"version": version, "limit": limit, "sample": sample}
        flags = {**numbers, "only-new": only_new, "run": run, "store": store}
        answer(_started(settings, source, out, flags, workers or 1))
        return
    wish = Wish(source, out, version, limit, sample, only_new, run, workers, (_index(of), of))
    summary = score_all(settings, wish, sys.stdin if source == STDIN else ())
    if summary is None:
        return
    if as_json:
        answer(summary.model_dump_json(indent=1))
    else:
        share = max(1, summary.answered)
        rows = ((name, f"{count:,}", f"{count / share:.1%}") for name, count in summary.classes.items())
        table(("class", "pictures", "share"), rows)
        for code, kind in summary.errors.items():
            say(f"{code}: {kind.pictures:,} pictures, {kind.image} for example: {kind.error}")
        # A start that found all of it done has no rate of its own.
        rate = f", {summary.images_per_second:,.0f} a second" if summary.images_per_second else ""
        sentence = (
            f"{summary.answered:,} of {summary.pictures:,} pictures are answered{rate}. "
            f"Look at _summary.html in {wish.place}."
        )
        say(sentence)
        leave_word(sentence)


def _index(of: int) -> int:
    """Which of so many machines this is, as an Indexed Job of Kubernetes says it."""
    if of == 1:
        return 0
    said = os.environ.get("JOB_COMPLETION_INDEX", "")
    if not said.isdigit() or int(said) >= of:
        raise MistakeError(
            f"JOB_COMPLETION_INDEX is {said!r}, and with --of {of} it says which machine this is: 0 to "
            f"{of - 1}."
        )
    return int(said)


def _started(settings: Settings, source: str, out: str, flags: Mapping[str, object], pods: int) -> str:
    """Start an Indexed Job whose pods score the source between them; gives its name."""
    from jobs.cluster import launch
    from jobs.cluster.client import Kubernetes, current_namespace
    from jobs.scoring.destination import place_of_run

    for place in (source, out, flags["only-new"], flags["store"]):
        if place is not None and not str(place).startswith("s3://"):
            raise MistakeError(f"{place} is not seen by pods; with --on-cluster name s3:// addresses.")
    if flags["run"] is not None:
        place_of_run(out, str(flags["run"]))  # which refuses what would be no folder
    args = ["score", source, "--out", out, "--of", str(pods)]
    for name, value in flags.items():
        if value is not None:
            args += [f"--{name}", str(value)]
    kubernetes = Kubernetes(settings.namespace or current_namespace(), model=settings.model)
    return launch.start(kubernetes, args=args, env={"CNN_IMAGE_USER": settings.who}, pods=pods)


COMMANDS: tuple[Callable[..., None], ...] = (score,)
