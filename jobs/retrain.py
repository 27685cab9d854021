"""The pipeline that makes a new version and lets it serve if it is good enough, each step once."""

import os
import socket

from export.lease import Lease
from export.manifest import Manifest
from export.store import Store
from jobs import champion
from jobs.candidate import export_run, load_data, publish_run, train_run
from jobs.console import err, say
from jobs.deploy import Deployer
from jobs.judge import judge
from jobs.promotion import promote
from jobs.runs import Request, new_run, unfinished_run
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
    with retrain_lease(settings, store) as lease:
        manifest = _make(settings, store, request, sample_allowed=sample_allowed, gpu=gpu)
        verdict = last_verdict(store, manifest.version)
        if verdict is None or verdict.judged_against != store.ledger.served():
            test = load_data(request, sample_allowed=sample_allowed).test
            verdict = judge(store, manifest.version, test, settings)
            verdict.show(err)
            champion.record_verdict(settings, store, verdict)
        require_passed(verdict, weak_accepted=weak_accepted)
        lease.check()
        promote(
            store,
            deployer,
            manifest.version,
            judged_against=verdict.judged_against,
            decoder=verdict.decoder_version,
            by=settings.who,
            reason=f"retrain: {verdict.sentence}",
        )
    champion.follow(settings, manifest.version)
    return verdict


def make_candidate(
    settings: Settings, store: Store, request: Request, *, sample_allowed: bool, gpu: bool
) -> Manifest:
    """The first half of `retrain`: a published version that nobody is served by yet.

    Raises:
        LeaseHeldError: A retrain runs.
        JobError: See the steps.
    """
    with retrain_lease(settings, store):
        return _make(settings, store, request, sample_allowed=sample_allowed, gpu=gpu)


def _make(settings: Settings, store: Store, request: Request, *, sample_allowed: bool, gpu: bool) -> Manifest:
    """What an interrupted run of the same request has done already is not done again."""
    run = unfinished_run(settings.runs, request, store) or new_run(settings.runs, request)
    if run.trained:
        say(f"Run {run.name} is trained already; going on with it.")
    else:
        train_run(run, load_data(request, sample_allowed=sample_allowed), settings, gpu=gpu)
    if not run.exported:
        export_run(run, settings)
    manifest = publish_run(run, store)
    champion.register(settings, store, manifest.version)
    return manifest
