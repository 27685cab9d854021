"""Jobs on Kubernetes: `jobs run`, `jobs list`, `jobs logs`, `jobs wait`."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.commands.options import JsonFlag, one_line
from jobs.console import answer, say, table
from jobs.errors import JobFailedError
from jobs.settings import load_settings

if TYPE_CHECKING:
    from jobs.cluster.client import Kubernetes

app = typer.Typer(help="Jobs on Kubernetes, of the model that --model names.", no_args_is_help=True)

NamespaceFlag = Annotated[
    str | None,
    typer.Option("--namespace", "-n", help="Of the release. [CNN_IMAGE_NAMESPACE, the kubeconfig's]"),
]
NameArgument = Annotated[
    str, typer.Argument(help="The Job's name, as `jobs run` prints it.", show_default=False)
]
TimeoutFlag = Annotated[float, typer.Option("--timeout", min=1, help="Seconds to wait at most.")]


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def run(
    context: typer.Context,
    namespace: NamespaceFlag = None,
    epochs: Annotated[int | None, typer.Option("--epochs", min=1, help="In place of the release's.")] = None,
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", min=1, help="In place of the release's.")
    ] = None,
) -> None:
    """Start a Job like the scheduled one; further words are the command it runs: `jobs run rollback`."""
    from jobs.cluster import launch

    # In the pod nobody has a name; the ledger is to say who wanted it.
    env = {"EPOCHS": epochs, "BATCH_SIZE": batch_size, "CNN_IMAGE_USER": load_settings().who}
    given = {name: str(value) for name, value in env.items() if value is not None}
    answer(launch.start(_kubernetes(namespace), args=context.args, env=given))


@app.command("list")
def list_jobs(namespace: NamespaceFlag = None, as_json: JsonFlag = False) -> None:
    """List the Jobs, the newest first."""
    from jobs.cluster import launch

    states = launch.list_jobs(_kubernetes(namespace), launch.COMPONENTS)
    if as_json:
        answer(json.dumps([asdict(state) for state in states], indent=1, default=str))
        return
    if not states:
        say("There is no Job; start one with `cnn-image jobs run`.")
        return
    rows = [
        (
            state.name,
            state.state,
            f"{state.started.astimezone():%Y-%m-%d %H:%M}",
            str(state.outcome.version) if state.outcome else "",
            one_line(state.outcome.metrics) if state.outcome else state.reason,
        )
        for state in states
    ]
    table(("job", "state", "started", "version", "metrics or reason"), rows)


@app.command()
def logs(
    name: NameArgument,
    namespace: NamespaceFlag = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the Job ends.")] = False,
) -> None:
    """Print a Job's log; of pods side by side each line behind the pod's index."""
    from jobs.cluster.logs import logs as logs_of

    for part in logs_of(_kubernetes(namespace), name, follow=follow):
        sys.stdout.buffer.write(part)
        sys.stdout.buffer.flush()


@app.command()
def wait(name: NameArgument, namespace: NamespaceFlag = None, timeout: TimeoutFlag = 21_600) -> None:
    """Wait until a Job has ended; print the version it made, or end with the exit code of its pod."""
    from jobs.cluster import launch
    from jobs.cluster.logs import last_line

    kubernetes = _kubernetes(namespace)
    with _progress(launch.words_of(kubernetes, name), name) as shown:
        told = {""}

        def meanwhile(state: launch.JobState) -> None:
            if state.reason not in told:  # some come and go: an image that cannot be had has two
                told.add(state.reason)
                say(f"The Job {name} is {state.state}: {state.reason}")
            shown()

        state = launch.wait(kubernetes, name, timeout, meanwhile)
    if state.state == "failed":
        reason = state.reason or "see its log with `cnn-image jobs logs`."
        raise JobFailedError(f"The Job {name} failed: {reason}", state.exit_code)
    if state.outcome is None:
        said = last_line(kubernetes, name)
        say(f"The Job {name} ended well{f': {said}' if said else '.'}")
        return
    say(f"{one_line(state.outcome.metrics)}; {state.outcome.model_path}")
    answer(str(state.outcome.version))


@contextmanager
def _progress(words: Sequence[str], name: str) -> Iterator[Callable[[], None]]:
    """What shows how far a Job is: a scoring's shards, where this machine may read them."""
    from jobs.scoring.destination import Destination, place_of_run
    from jobs.scoring.progress import shards_shown

    flags = dict(pairwise(words))
    place = flags.get("--out") if words[:1] == ["score"] else None
    if place is None:
        yield lambda: None
        return
    run = flags.get("--run")
    place = place_of_run(place, run.replace("$(JOB_NAME)", name)) if run else place
    with shards_shown(lambda: Destination(load_settings().open_place(place))) as look:
        yield look


def _kubernetes(namespace: str | None) -> "Kubernetes":
    from jobs.cluster.client import Kubernetes, current_namespace

    return Kubernetes(namespace or current_namespace(), model=load_settings().model)
