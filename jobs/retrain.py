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

LEASE = "retrain"
"""Keeps two retrains apart, however each was started."""


def retrain_lease(settings: Settings, store: Store) -> Lease:
    """The lease that a retrain holds while it runs; it runs out when its holder dies."""
    return Lease(
        store.blobs, LEASE, holder=f"{settings.who} on {socket.gethostname()}, process {os.getpid()}"
    )


def retrain(
    settings: Settings,
    store: Store,
    deployer: Deployer,
    request: Request,
    *,
    sample_allowed: bool,
    gpu: bool,
    weak_accepted: bool,
) -> Verdict:
    """Data → train → export and parity → publish → gate → pre-flight → promote → verify.

    Args:
        settings: Folders, user, MLflow.
        store: Gets the version.
        deployer: The place that serves.
        request: What to train.
        sample_allowed: Whether the small sample may stand in for CIFAR-10.
        gpu: End at once where there is none.
        weak_accepted: Promote also on the evidence of few test images.

    Returns:
        The verdict on the version that is served now.

    Raises:
        LeaseHeldError: Another retrain runs.
        RefusedError: The version is not good enough; it stays in the store, unserved.
        JobError: See the steps.
    """
    with retrain_lease(settings, store) as lease, _run(settings, store, request) as run:
        manifest = _make(run, settings, store, sample_allowed=sample_allowed, gpu=gpu)
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


def make_candidate(
    settings: Settings, store: Store, request: Request, *, sample_allowed: bool, gpu: bool
) -> Manifest:
    """The first half of `retrain`: a published version that nobody is served by yet.

    Raises:
        LeaseHeldError: A retrain runs.
        JobError: See the steps.
    """
    with retrain_lease(settings, store), _run(settings, store, request) as run:
        return _make(run, settings, store, sample_allowed=sample_allowed, gpu=gpu)


@contextlib.contextmanager
def _run(settings: Settings, store: Store, request: Request) -> Iterator[Run]:
    """The run to work on: one that was cut off, or a new one. A kill or a fault leaves it unfinished."""
    run = unfinished_run(settings.runs, request, store) or new_run(settings.runs, request)
    run.begin()
    try:
        yield run
    except (ParityError, RefusedError, ReturnedError):  # another try would end the same
        run.finish()
        raise
    run.finish()


def _make(run: Run, settings: Settings, store: Store, *, sample_allowed: bool, gpu: bool) -> Manifest:
    """What was done already, before the run was cut off, is not done again."""
    if run.trained:
        say(f"Run {run.name} is trained already; going on with it.")
    else:
        train_run(run, load_data(run.request(), sample_allowed=sample_allowed), settings, gpu=gpu)
    if not run.exported:
        export_run(run, settings)
    manifest = publish_run(run, store)
    champion.register(settings, store, manifest.version)
    return manifest
