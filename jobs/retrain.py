"""The pipeline that makes a new version and lets it serve if it is good enough, each step once."""

import contextlib
import os
import socket
from collections.abc import Iterator

from export.errors import ParityError
from export.lease import Lease
from export.manifest import Manifest
from export.store import Store
from jobs import champion
from jobs.candidate import export_run, load_data, publish_run, train_run
from jobs.console import err, say
from jobs.deploy import Deployer
from jobs.errors import RefusedError, ReturnedError
from jobs.judge import judge
from jobs.promotion import promote
from jobs.runs import Request, Run, new_run, unfinished_run
from jobs.settings import Settings
from jobs.verdict import Verdict, last_verdict, require_passed
from model.recipe import StaleCheckpointError

LEASE = "retrain"
"""Keeps two retrains apart, however each was started."""


def retrain_lease(settings: Settings, store: Store) -> Lease:
    """The lease that a retrain holds while it runs; it runs out when its holder dies."""
    holder = f"{settings.who} on {socket.gethostname()}, process {os.getpid()}"
    return Lease(store.blobs, LEASE, holder=holder, patient=True)


def retrain(
    settings: Settings,
    store: Store,
    deployer: Deployer,
    request: Request,
    *,
    sample_allowed: bool,
    weak_accepted: bool,
) -> Verdict:
    """Data → train → export and parity → publish → gate → pre-flight → promote → verify.

    Args:
        settings: Folders, user, MLflow.
        store: Gets the version.
        deployer: The place that serves.
        request: What to train.
        sample_allowed: Whether the small sample may stand in for CIFAR-10.
        weak_accepted: Promote also on the evidence of few test images.

    Returns:
        The verdict on the version that is served now.

    Raises:
        LeaseHeldError: Another retrain runs.
        RefusedError: The version is not good enough; it stays in the store, unserved.
        JobError: See the steps.
    """
    with contextlib.ExitStack() as stack:
        lease = stack.enter_context(retrain_lease(settings, store))
        run = _trained(settings, store, request, sample_allowed=sample_allowed)
        stack.enter_context(_brought_to_its_end(run))
        manifest = _publish(run, settings, store)
        version, served = manifest.version, store.ledger.served()
        verdict = last_verdict(store, version)
        # One that is served already was judged and promoted by a try that was cut off after that.
        if verdict is None or served not in {verdict.judged_against, version}:
            test = load_data(request, sample_allowed=sample_allowed).test
            verdict = judge(store, version, test, settings)
            verdict.show(err)
            champion.record_verdict(settings, store, verdict)
        require_passed(verdict, weak_accepted=weak_accepted)
        lease.check()
        promote(
            store,
            deployer,
            version,
            judged_against=verdict.judged_against,
            decoder=verdict.decoder_version,
            by=settings.who,
            reason=f"retrain: {verdict.sentence}",
        )
        champion.follow(settings, version)
    return verdict


def make_candidate(settings: Settings, store: Store, request: Request, *, sample_allowed: bool) -> Manifest:
    """The first half of `retrain`: a published version that nobody is served by yet.

    Raises:
        LeaseHeldError: A retrain runs.
        JobError: See the steps.
    """
    with retrain_lease(settings, store):
        run = _trained(settings, store, request, sample_allowed=sample_allowed)
        with _brought_to_its_end(run):
            return _publish(run, settings, store)


def _trained(settings: Settings, store: Store, request: Request, *, sample_allowed: bool) -> Run:
    """A trained run: one that was cut off, brought on, or a new one."""
    run = unfinished_run(settings.runs, request, store) or new_run(settings.runs, request)
    run.begin()
    if run.trained:
        say(f"Run {run.name} is trained already; going on with it.")
        return run
    data = load_data(request, sample_allowed=sample_allowed)
    try:
        train_run(run, data, settings)
    except StaleCheckpointError as error:  # other data by now, another release's recipe, another device
        say(f"{error} It stays as it is; beginning a new run.")
        run.finish()
        run = new_run(settings.runs, request)
        run.begin()
        train_run(run, data, settings)
    return run


@contextlib.contextmanager
def _brought_to_its_end(run: Run) -> Iterator[None]:
    """Finish the run when all is done or would end the same again; a kill or a fault leaves it as it is."""
    try:
        yield
    except (ParityError, RefusedError, ReturnedError):
        run.finish()
        raise
    run.finish()


def _publish(run: Run, settings: Settings, store: Store) -> Manifest:
    """Export and publish; what was done before the run was cut off is not done again."""
    if not run.exported:
        export_run(run, settings)
    manifest = publish_run(run, store)
    champion.register(settings, store, manifest.version)
    return manifest
