"""Change what is served: by the ledger first, then in the place that serves, and back again if that fails.

The ledger's entry is written before the service changes. Whoever dies in between leaves a ledger that says
what should be served, and `cnn-image deploy` brings the service there.
"""

from collections.abc import Callable

from export.errors import ExportError
from export.ledger import Action, Entry
from export.store import Store
from jobs.console import say
from jobs.deploy import Deployer
from jobs.errors import JobError, LostError, MistakeError, RefusedError, ReturnedError


def promote(
    store: Store,
    deployer: Deployer,
    version: int,
    *,
    judged_against: int | None,
    by: str,
    reason: str,
    action: Action = "promote",
) -> Entry:
    """Make a version the served one.

    Args:
        store: Where versions and ledger are.
        deployer: The place that serves.
        version: To be served.
        judged_against: What was served when the decision was made; None for nothing.
        by: Who decides.
        reason: In words, for the ledger.
        action: `promote`, or `rollback`.

    Returns:
        The ledger's entry.

    Raises:
        LostError: Something else is served by now, by the ledger or by hand.
        LostRaceError: Someone else promoted at the same moment.
        MistakeError: There is nothing to change, or another decoder serves than the version was judged with.
        RefusedError: The pre-flight failed; nothing has changed.
        ReturnedError: The service failed with it, and serves again what it served before.
    """
    manifest = store.verify(version)
    entries = store.ledger.entries()
    served = entries[-1].version if entries else None
    if served == version:
        raise MistakeError(f"Version {version} is served already.")
    if served != judged_against:
        raise LostError(
            f"Version {served or 'none'} is served by now, and version {version} was judged against "
            f"{judged_against or 'none'}: judge it again with `cnn-image judge {version}`."
        )
    check_in_step(deployer, served)
    decoder = deployer.decoder()
    if decoder is not None and decoder != manifest.decoder_version:
        raise MistakeError(
            f"Version {version} was judged with decoder {manifest.decoder_version} and the live transformer "
            f"has decoder {decoder}: upgrade the service first, or retrain with this release."
        )
    say(f"Pre-flight: a real Triton loads version {version} …")
    deployer.preflight(version)
    entry = store.ledger.record(action, version, by=by, reason=reason, after=len(entries))
    bring_or_return(store, deployer, entry)
    return entry


def check_in_step(deployer: Deployer, served: int | None) -> None:
    """Require that the place serves what the ledger says.

    Raises:
        LostError: Someone changed it by hand.
    """
    live = deployer.served()
    if live is not None and live != served:
        raise LostError(
            f"The service runs version {live} and the ledger says {served or 'none'}, so someone changed it "
            "by hand: bring it back with `cnn-image deploy` first."
        )


def bring_or_return(store: Store, deployer: Deployer, entry: Entry) -> None:
    """Bring the service to the version of the ledger's last entry, or undo that entry.

    Raises:
        ReturnedError: It failed; the ledger says so, and the service is back at what it served before.
    """
    version = entry.version
    if version is None:
        return
    try:
        _bring(deployer, version)
    except (JobError, ExportError) as error:
        before = entry.previous
        store.ledger.record("return", before, by=entry.by, reason=str(error), after=entry.number)
        if before is None:
            raise ReturnedError(
                f"Version {version} failed in service, with none before it: {error}"
            ) from error
        say(f"Version {version} failed in service: {error} Going back to version {before}.")
        _attempt(lambda: _bring(deployer, before), error, before)
        raise ReturnedError(f"Version {version} failed; version {before} serves again: {error}") from error


def previous_version(store: Store) -> int:
    """What last served before the present version: where a rollback without a number goes.

    Raises:
        MistakeError: Nothing did.
    """
    version = store.ledger.previous()
    if version is None:
        raise MistakeError("Nothing was served before the present version; name a version to go to.")
    return version


def _bring(deployer: Deployer, version: int) -> None:
    deployer.deploy(version)
    deployer.verify(version)


def _attempt(back: Callable[[], None], first: Exception, version: int) -> None:
    try:
        back()
    except (JobError, ExportError) as second:
        raise RefusedError(
            f"The new version failed ({first}) and going back to version {version} failed too ({second}): "
            "look at the service, then run `cnn-image deploy`."
        ) from second
