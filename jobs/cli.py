"""`cnn-image`: the command line, and how it ends."""

import logging
import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from jobs.commands import (
    checking,
    cluster_jobs,
    keeping,
    models,
    promoting,
    scoring,
    serving,
    training,
)
from jobs.commands.asking import explaining, predicting
from jobs.commands.looking import data, inspecting
from jobs.console import say
from jobs.errors import Exit, exit_code
from jobs.signals import came, ended_by_signals
from model.data.remote.proxies import leave_this_machine_out


class _Group(TyperGroup):
    """Turns errors whose text is for users into that text and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # `cnn-image versions | head`: the reader has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(Exit.OK) from None
        except Exception as error:  # only known kinds have an exit code; all others go on
            code = exit_code(error)
            if code is None or came():
                raise
            say(str(error))
            raise typer.Exit(code) from error


app = typer.Typer(
    cls=_Group,
    name="cnn-image",
    help="Train an image classifier, prove it, publish it, promote it, serve it.",
    epilog="Exit codes: 0 done, 2 a mistake, 3 refused, 4 someone else was first, 5 returned to the version "
    "before, 69 a fault worth another try, 130 Ctrl-C, 143 SIGTERM.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def which(
    model: Annotated[
        str | None,
        typer.Option("--model", help="Which model it is about. [CNN_IMAGE_MODEL, cnn-image]"),
    ] = None,
) -> None:
    """Train an image classifier, prove it, publish it, promote it, serve it."""
    if model is not None:
        os.environ["CNN_IMAGE_MODEL"] = model  # commands that this one starts are about it too


for group in (
    *(data, training, promoting, inspecting, models, keeping, checking, serving),
    *(predicting, explaining, scoring),
):
    for command in group.COMMANDS:
        app.command()(command)
app.add_typer(cluster_jobs.app, name="jobs")


def main() -> None:
    """Run the command line."""
    with ended_by_signals():
        _run()


def _run() -> None:
    logging.basicConfig(format="%(message)s", level=logging.WARNING, stream=sys.stderr)
    logging.getLogger("model").setLevel(logging.INFO)
    # It tells of each try; the sentence comes after the last one.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    # TensorFlow's own notes on processors and sessions help nobody here; its warnings still show.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    # Both tell their makers by themselves what is run here; so it is for whoever runs it to switch that on.
    for name, value in (("MLFLOW_DISABLE_TELEMETRY", "true"), ("ORT_DISABLE_TELEMETRY", "1")):
        os.environ.setdefault(name, value)
    leave_this_machine_out()
    app()


if __name__ == "__main__":
    main()
