"""The pipeline that makes a new version and lets it serve if it is good enough, each step once."""

from export.manifest import Manifest
from export.store import Store
from jobs.candidate import export_run, publish_run, train_run
from jobs.console import say
from jobs.runs import Request, new_run, unfinished_run
from jobs.settings import Settings


def make_candidate(
    settings: Settings, store: Store, request: Request, *, sample_allowed: bool, gpu: bool = False
) -> Manifest:
    """Data → train → export and parity → publish; what an interrupted run did already is not done again.

    Args:
        settings: Folders, user, MLflow.
        store: Gets the version.
        request: What to train.
        sample_allowed: Whether the small sample may stand in for CIFAR-10.
        gpu: End at once where there is none.

    Returns:
        The new version's manifest.
    """
    run = unfinished_run(settings.runs, request) or new_run(settings.runs, request)
    if run.trained:
        say(f"Run {run.name} is trained already; going on with it.")
    else:
        train_run(run, request, settings, sample_allowed=sample_allowed, gpu=gpu)
    if not run.exported:
        export_run(run, settings)
    return publish_run(run, store)
