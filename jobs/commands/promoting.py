"""Changing what is served: `promote`, `rollback`, `deploy`."""

from collections.abc import Callable
from typing import Annotated

import typer

from export.store import open_store
from jobs.commands.options import StoreFlag, VersionArgument
from jobs.console import answer, say
from jobs.settings import load_settings

ReasonFlag = Annotated[str, typer.Option("--reason", help="Why, for the ledger.")]


def promote(version: VersionArgument, reason: ReasonFlag = "by hand", store: StoreFlag = None) -> None:
    """Serve a version from now on."""
    from jobs.deploy import open_deployer
    from jobs.promotion import promote as carry_out

    settings = load_settings(store=store)
    opened = open_store(settings.store_url)
    entry = carry_out(
        opened,
        open_deployer(settings, opened),
        version,
        judged_against=opened.ledger.served(),
        by=settings.who,
        reason=reason,
    )
    answer(f"Version {entry.version} is promoted, in place of {entry.previous or 'none'}.")


def rollback(
    version: Annotated[
        int | None, typer.Argument(min=1, help="Where to; what last served unless given.")
    ] = None,
    reason: ReasonFlag = "by hand",
    store: StoreFlag = None,
) -> None:
    """Serve again what last served, or a version that did."""
    from jobs.deploy import open_deployer
    from jobs.promotion import previous_version
    from jobs.promotion import promote as carry_out

    settings = load_settings(store=store)
    opened = open_store(settings.store_url)
    target = version or previous_version(opened)
    entry = carry_out(
        opened,
        open_deployer(settings, opened),
        target,
        judged_against=opened.ledger.served(),
        by=settings.who,
        reason=reason,
        action="rollback",
    )
    answer(f"Rolled back to version {entry.version}, from {entry.previous}.")


def deploy(
    store: StoreFlag = None,
    force: Annotated[
        bool, typer.Option("--force", help="On Kubernetes, take back what someone changed by hand.")
    ] = False,
) -> None:
    """Bring the service to the promoted version; does nothing where it is there already."""
    from jobs.deploy import open_deployer

    settings = load_settings(store=store)
    opened = open_store(settings.store_url)
    version = opened.ledger.served()
    if version is None:
        say(f"No version is promoted in {opened.url} yet; there is nothing to deploy.")
        return
    deployer = open_deployer(settings, opened, force=force)
    deployer.deploy(version)
    deployer.verify(version)
    answer(f"Version {version} is served.")


COMMANDS: tuple[Callable[..., None], ...] = (promote, rollback, deploy)
