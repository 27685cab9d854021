"""Change what is served: by the ledger first, then in the place that serves, and back again if that fails.

The ledger's entry is written before the service changes. Whoever dies in between leaves a ledger that says
what should be served, and `cnn-image deploy` brings the service there.
"""

from collections.abc import Callable, Sequence

from export.errors import ExportError, SessionError, UnreachableError
from export.store.ledger import Entry, champions
from export.store.versions import Store
from jobs.console import say
from jobs.errors import FaultError, JobError, LostError, MistakeError, ReturnedError
from jobs.promotion.deployer import Deployer


def promote(
    store: Store,
    deployer: Deployer,
    version: int,
    *,
    judged_against: int | None,
    decoder: str,
    by: str,
    reason: str,
    new_classes: bool = False,
) -> Entry:
    """Make a version the served one; done again after a kill, it finishes what was begun.

    Args:
        store: Where versions and ledger are.
        deployer: The place that serves.
        version: To be served.
        judged_against: What was served when the decision was made; None for nothing.
        decoder: Version of the decoder it was judged with.
        by: Who decides.
        reason: In words, for the ledger.
        new_classes: Also where its class ids are of another list than those that are served.

    Returns:
        The ledger's entry.

    Raises:
        LostError: Something else is served by now, by the ledger or by hand.
        LostRaceError: Someone else promoted at the same moment.
        MistakeError: Another decoder serves than the version was judged with, or its class ids mean other
            classes.
        RefusedError: The pre-flight failed; nothing has changed.
        ReturnedError: The service failed with it, and serves again what it served before.
    """
    store.verify(version)
    entries = store.ledger.entries()
    served = entries[-1].version if entries else None
    if served == version:
        say(f"The ledger says that version {version} is served; making sure that it is.")
        bring_or_return(store, deployer, entries[-1])
        return entries[-1]
    if served != judged_against:
        raise LostError(
            f"Version {served or 'none'} is served by now, and version {version} was judged against "
            f"{judged_against or 'none'}: judge it again with `cnn-image judge {version}`."
        )
    if served is not None and not new_classes and not _same_ids(store, version, served):
        raise MistakeError(
            f"Version {version} begins a new list of classes: its class ids mean other classes than those of "
            f"version {served}, which is served. Tell its clients, then promote it with --new-classes."
        )
    _require_in_step(deployer, entries)
    live = _live_decoder(deployer)
    if live is not None and live != decoder:
        raise MistakeError(
            f"Version {version} was judged with decoder {decoder} and the live transformer has {live}: "
            f"upgrade the older of the two, then `cnn-image judge {version}` again."
        )
    deployer.rehearse(version)
    say(f"Pre-flight: a real Triton loads version {version} …")
    deployer.preflight(version)
    entry = store.ledger.record("promote", version, by=by, reason=reason, after=len(entries))
    bring_or_return(store, deployer, entry)
    return entry


def _same_ids(store: Store, version: int, served: int) -> bool:
    """Whether the class ids of two versions are of one list."""
    return store.manifest(version).class_list == store.manifest(served).class_list


def roll_back(store: Store, deployer: Deployer, version: int | None, *, by: str, reason: str) -> Entry:
    """Serve again a version that served before.

    There is no gate and no pre-flight: it has served, and someone is in a hurry. A decoder that has changed
    meanwhile is said, not refused, and a service that does not answer is no obstacle. Done again, it makes
    sure of the rollback that was begun: the second of two never goes forward to what the first one left.

    Args:
        store: Where versions and ledger are.
        deployer: The place that serves.
        version: Where to; None for what last served.
        by: Who decides.
        reason: In words, for the ledger.

    Raises:
        MistakeError: Nothing served before, or the version never did.
        LostError: Someone changed the service by hand; nothing has changed.
        LostRaceError: Someone else promoted at the same moment.
        ReturnedError: The service failed with it, and serves again what it served before.
    """
    entries = store.ledger.entries()
    served = entries[-1].version if entries else None
    begun = bool(entries) and entries[-1].action == "rollback" and version in {None, served}
    if begun or (version is not None and version == served):
        advice = "to go elsewhere, name the version, as in `cnn-image rollback 1`"
        say(f"The ledger says that version {served} is served; making sure that it is ({advice}).")
        bring_or_return(store, deployer, entries[-1])
        return entries[-1]
    target = version or store.ledger.previous()
    if target is None:
        raise MistakeError("Nothing was served before the present version, so there is no way back.")
    if target not in champions(entries):
        raise MistakeError(f"Version {target} never served; `cnn-image promote {target}` makes it serve.")
    manifest = store.verify(target)
    deployer.rehearse(target)
    live = _live_decoder(deployer)
    if live is not None and live != manifest.decoder_version:
        say(f"Version {target} was made with decoder {manifest.decoder_version}; the live one is {live}.")
    entry = store.ledger.record("rollback", target, by=by, reason=reason, after=len(entries))
    bring_or_return(store, deployer, entry)
    return entry


def resume(store: Store, deployer: Deployer) -> None:
    """Bring a place that serves nothing to what the ledger says: a first promotion was cut off before it did.

    Raises:
        ReturnedError: The version failed in service; the ledger says so.
    """
    entries = store.ledger.entries()
    if entries and deployer.served() is None:
        bring_or_return(store, deployer, entries[-1])


def _live_decoder(deployer: Deployer) -> str | None:
    """The live transformer's decoder; None where it does not say, which may be why someone is here."""
    try:
        return deployer.decoder()
    except FaultError as error:
        say(f"{error} Going on without knowing it.")
        return None


def _require_in_step(deployer: Deployer, entries: Sequence[Entry]) -> None:
    """Require that the place serves what the ledger says.

    Raises:
        LostError: Someone changed it by hand.
    """
    live, served = deployer.served(), entries[-1].version if entries else None
    if entries and served is None:
        return  # a first version failed in service: what it left there is nobody's edit
    if live is not None and live != served:
        raise LostError(
            f"The service runs version {live} and the ledger says {served or 'none'}, so someone changed it "
            "by hand: bring it back with `cnn-image deploy --force` first."
        )


def bring_or_return(store: Store, deployer: Deployer, entry: Entry) -> None:
    """Bring the service to the version of the ledger's last entry, or undo that entry.

    Raises:
        ReturnedError: It failed; the ledger says so, and the service is back at what it served before.
        FaultError: Going back failed too.
        LostError: Someone changed the service by hand since; the ledger stays, for `deploy --force`.
        UnreachableError, SessionError: The store is away; `promote` and `deploy` go on from there.
    """
    version = entry.version
    if version is None:
        return
    try:
        _bring(deployer, version)
    except (UnreachableError, SessionError, LostError):
        raise  # without the store, or against a hand, nothing can be undone; another try finishes it
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


def _bring(deployer: Deployer, version: int) -> None:
    deployer.deploy(version)
    deployer.verify(version)


def _attempt(back: Callable[[], None], first: Exception, version: int) -> None:
    try:
        back()
    except (JobError, ExportError) as second:
        raise FaultError(
            f"The new version failed ({first}) and going back to version {version} failed too ({second}): "
            "look at the service, then run `cnn-image deploy`."
        ) from second
