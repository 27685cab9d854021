"""Scoring an archive of pictures offline: `score`."""

import sys
from collections.abc import Callable
from typing import Annotated

import typer

from jobs.commands.options import JsonFlag, StoreFlag
from jobs.console import answer, say, table
from jobs.settings import load_settings


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
        str | None, typer.Option("--only-new", help="Leave out what this earlier result has answered.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Processes side by side. [one a core]")
    ] = None,
    store: StoreFlag = None,
    as_json: JsonFlag = False,
) -> None:
    """Score many pictures without a service: a table in Parquet, each picture once.

    Killed or stopped, the same command goes on from what is done.
    """
    from jobs.scoring.score import Wish
    from jobs.scoring.score import score as score_all
    from jobs.scoring.source.listing import STDIN

    settings = load_settings(store=store)
    wish = Wish(source, out, version, limit, sample, only_new, workers)
    summary = score_all(settings, wish, sys.stdin if source == STDIN else ())
    if summary is None:
        say("The shards of this machine are done; others are under way elsewhere.")
    elif as_json:
        answer(summary.model_dump_json(indent=1))
    else:
        share = max(1, summary.answered)
        rows = ((name, f"{count:,}", f"{count / share:.1%}") for name, count in summary.classes.items())
        table(("class", "pictures", "share"), rows)
        for code, kind in summary.errors.items():
            say(f"{code}: {kind.pictures:,} pictures, {kind.image} for example: {kind.error}")
        say(
            f"{summary.answered:,} of {summary.pictures:,} pictures are answered, "
            f"{summary.images_per_second:,.0f} a second. Look at _summary.html in {out}."
        )


COMMANDS: tuple[Callable[..., None], ...] = (score,)
