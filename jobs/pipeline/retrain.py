"""The pipeline that makes a new version and lets it serve if it is good enough, each step once."""

import contextlib
import functools
import os
import socket
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from export.errors import ParityError
from export.store.lease import Lease
from export.store.manifest import Manifest
from export.store.versions import Store
from jobs.console import err, say
from jobs.errors import RefusedError, ReturnedError
from jobs.gate.attached import last_verdict
from jobs.gate.judge import judge
from jobs.gate.verdict import require_passed
from jobs.pipeline.candidate import (
    export_run,
    made_before,
    publish_candidate,
    recipe_of,
    require_gpu,
    train_run,
)
from jobs.pipeline.data import load_data, tests_of
from jobs.pipeline.mlflow import registry
from jobs.pipeline.networks import check_network
from jobs.pipeline.reporting import finish_report
from jobs.pipeline.upkeep import prune
from jobs.promotion.deployer import Deployer
from jobs.promotion.promote import promote
from jobs.settings import Settings
from jobs.training_runs import Request, Run, new_run, unfinished_run
from model.training.recipe import StaleCheckpointError

if TYPE_CHECKING:
    from model.data.dataset import Dataset

LEASE = "retrain"
"""Keeps two retrains apart, however each was started."""


def retrain_lease(settings: Settings, store: Store) -> Lease:
    """The lease that a retrain holds while it runs; it runs out when its holder dies."""
    holder = f"{settings.who} on {socket.gethostname()}, process {os.getpid()}"
    return Lease(store.blobs, LEASE, holder=holder, patient=True)


def retrain(
    settings: Settings,
    store: Store,
    deployer: Deployer | None,
    request: Request,
    *,
    sample_allowed: bool,
    weak_accepted: bool,
    unless_unchanged: bool = False,
    keep: int | None = None,
) -> Manifest | None:
    """Data → dry run → train → export and parity → publish → gate → pre-flight → promote → verify.

    Args:
        settings: Folders, user, MLflow; whether an int8 twin takes the version's place.
        store: Gets the version.
        deployer: The place that serves; None ends with the published version.
        request: What to train.
        sample_allowed: Whether the small sample may stand in for CIFAR-10.
        weak_accepted: Promote also on the evidence of few test images.
        unless_unchanged: Do nothing where the same data, recipe, seed and code made a version already; it
            would be made again, and after a rollback served again.
        keep: Remove old versions and runs first, all but so many of the newest; see `upkeep.prune`.

    Returns:
        The version; None where nothing has changed since it was made.

    Raises:
        LeaseHeldError: Another retrain runs.
        WeightsError: There are no weights for the network, or they cannot be read.
        RefusedError: The version is not good enough; it stays in the store, unserved.
        JobError: See the steps.
    """
    with contextlib.ExitStack() as stack:
        lease = stack.enter_context(retrain_lease(settings, store))
        if keep is not None:
            prune(store, settings.runs, keep)
        check_network(request, store)
        data = functools.cache(lambda: load_data(request, settings, store, sample_allowed=sample_allowed))
        begun = unfinished_run(settings.runs, request, store)
        if begun is None and unless_unchanged:
            same = made_before(request, data(), store)
            if same is not None:
                say(f"Version {same} was made of the same data by the same recipe, seed and code: stopping.")
                return None
        if deployer is not None:
            deployer.dry_run()
        run = _trained(begun or new_run(settings.runs, request), settings, store, data)
        stack.enter_context(_brought_to_its_end(run))
        if not run.exported:
            export_run(run, settings)
        manifest = publish_candidate(run, settings, store, data)
        if deployer is None:
            return manifest
        version, served = manifest.version, store.ledger.served()
        verdict = last_verdict(store, version)
        # One that is served already was judged and promoted by a try that was cut off after that.
        if verdict is None or served not in {verdict.judged_against, version}:
            verdict = judge(store, version, tests_of(data, request, settings, store, manifest), settings)
            verdict.show(err)
            registry.record_verdict(settings, store, verdict)
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
            new_classes=request.new_classes,
        )
        registry.follow(settings, store)
    return manifest


def _trained(run: Run, settings: Settings, store: Store, data: Callable[[], "Dataset"]) -> Run:
    """The run trained, from wherever it is; a new one where its checkpoint cannot be continued."""
    run.begin()
    if run.trained:
        say(f"Run {run.name} is trained already; going on with it.")
        finish_report(run, settings, data, partial(recipe_of, run.request()))
        return run
    require_gpu(settings)
    try:
        train_run(run, data(), settings, store)
    except StaleCheckpointError as error:  # other data by now, another release's recipe, another device
        say(f"{error} It stays as it is; beginning a new run.")
        run.finish()
        run = new_run(settings.runs, run.request())
        run.begin()
        train_run(run, data(), settings, store)
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
