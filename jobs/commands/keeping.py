"""Keeping a store in order: `verify`, `prune`, `drill`, `hold`."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from jobs.commands.options import StoreFlag
from jobs.console import answer, say
from jobs.errors import MistakeError
from jobs.settings import load_settings


def verify(
    version: Annotated[
        int | None, typer.Argument(min=1, help="Check this version's files. [ask the live service]")
    ] = None,
    store: StoreFlag = None,
) -> None:
    """Check a version's files in the store; without a number, ask the live service for known images."""
    settings = load_settings(store=store)
    opened = settings.open_store()
    if version is not None:
        manifest = opened.verify(version)
        size = sum(file.size for file in manifest.files.values())
        answer(f"Version {version} is whole: {len(manifest.files)} files, {size / 1e6:.1f} MB, as published.")
        return
    from jobs.places import open_deployer

    served = opened.ledger.served()
    if served is None:
        raise MistakeError(f"No version is promoted in {opened.url} yet; `cnn-image retrain` makes one.")
    deployer = open_deployer(settings, opened)
    if deployer.served() is None:
        raise MistakeError(
            f"No service runs that could serve version {served}; `cnn-image serve` starts one."
        )
    deployer.verify(served)
    answer(f"The live service answers as version {served} should.")


def prune(
    keep: Annotated[int, typer.Option("--keep", min=1, help="So many of the newest stay.")],
    store: StoreFlag = None,
) -> None:
    """Remove old versions and runs, but none that is served, was served last, was the best, or is in work."""
    from jobs.pipeline.retrain import retrain_lease
    from jobs.pipeline.upkeep import prune as carry_out

    settings = load_settings(store=store)
    opened = settings.open_store()
    with retrain_lease(settings, opened):
        removed = carry_out(opened, settings.runs, keep)
    answer(f"Removed {', '.join(map(str, removed)) or 'nothing'}.")


def drill(store: StoreFlag = None) -> None:
    """Prove that a rollback would work: the version it goes to is whole, loads and answers."""
    from jobs.pipeline.upkeep import drill as carry_out
    from jobs.places import open_deployer

    settings = load_settings(store=store)
    opened = settings.open_store()
    version = carry_out(opened, open_deployer(settings, opened))
    if version is None:
        say("Only one version has served yet, so there is nothing to roll back to.")
    else:
        answer(f"A rollback to version {version} would work: it is whole, loads and answers.")


def hold(
    ready: Annotated[
        Path | None, typer.Option("--ready", help="Make this file once the lease is held, for a probe.")
    ] = None,
    store: StoreFlag = None,
) -> None:
    """Hold the lease that keeps two retrains apart, until ended: for a retrain whose steps are pods."""
    from jobs.pipeline.retrain import retrain_lease

    settings = load_settings(store=store)
    opened = settings.open_store()
    with retrain_lease(settings, opened) as lease:
        say(f"Holding the lease of {opened.url}; SIGTERM gives it back.")
        if ready is not None:
            ready.touch()
        lease.lost.wait()
        lease.check()


COMMANDS: tuple[Callable[..., None], ...] = (verify, prune, drill, hold)
