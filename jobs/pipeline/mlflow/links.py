"""What `cnn-image doctor` looks at in MLflow: does it take what is asked, and where does its alias point."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from export.store.versions import Store
from jobs.errors import FaultError, JobError, MistakeError
from jobs.pipeline.mlflow.registry import ALIAS, STORE_TAG, VERSION_TAG, champion, registered
from jobs.settings import Settings
from model.training.tracking.server import connect
from model.training.tracking.trouble import explain, shown

_SECONDS = 5
"""How long doctor waits for each answer."""


def server(settings: Settings) -> str:
    """Ask for a piece of all that trainings and promotions use; leaves no trace.

    Returns:
        What was found.

    Raises:
        MistakeError: It cannot be used; the sentence says what to ask its owner for.
        FaultError: It does not answer, or has a fault of its own.
    """
    uri = settings.tracking_uri
    with _explained(uri):
        client = connect(uri, seconds=_SECONDS, retries=0)
        experiment = client.get_experiment_by_name(settings.model)
        runs = client.search_runs([experiment.experiment_id], max_results=1) if experiment else []
        for run in runs:
            client.list_artifacts(run.info.run_id)
        versions = len(client.search_model_versions(f"name = '{settings.model}'", max_results=1000))
        champion(client, settings.model)
    kept = "runs, files" if runs else "no runs yet"
    return f"{shown(uri)}: {kept}, {versions} registered versions and aliases can be read"


def alias(settings: Settings, store: Store) -> str | None:
    """Compare MLflow's alias with the ledger, and try whether the version that it names may be written.

    Written are the two tags that tell the version and its run apart, as they are; so nothing changes.

    Returns:
        What was found; None where neither names a version.

    Raises:
        FaultError: They differ; the sentence says what mends it. Or MLflow does not answer.
        MistakeError: It may not be written.
    """
    served = store.ledger.served()
    uri = settings.tracking_uri
    with _explained(uri):
        client = connect(uri, seconds=_SECONDS, retries=0)
        named = champion(client, settings.model)
        known = None if served is None else registered(client, settings.model, store, served)
        if named is None and served is None:
            return None
        if named is None or known is None or named.version != known.version:
            raise FaultError(
                f"MLflow's alias {ALIAS!r} names {_name(named, store)} and the ledger "
                f"{_version(served)}: run `cnn-image deploy`"
            )
        client.set_model_version_tag(settings.model, known.version, VERSION_TAG, str(served))
        run = client.get_run(known.run_id)
        if run.info.lifecycle_stage == "active" and VERSION_TAG in run.data.tags:
            client.set_tag(known.run_id, VERSION_TAG, run.data.tags[VERSION_TAG])
    return f"names version {served}, as the ledger does; it may be written"


def _name(named: Any, store: Store) -> str:
    if named is None:
        return "none"
    place = named.tags.get(STORE_TAG, store.url)
    elsewhere = "" if place == store.url else f" of {place}"
    return f"version {named.tags.get(VERSION_TAG, 'of another program')}{elsewhere}"


def _version(number: int | None) -> str:
    return "none" if number is None else f"version {number}"


@contextmanager
def _explained(uri: str) -> Iterator[None]:
    try:
        yield
    except JobError:
        raise
    except Exception as error:  # MLflow raises its own, requests' and SQLAlchemy's errors
        trouble = explain(error)
        kind = MistakeError if trouble.lasting else FaultError
        raise kind(f"{trouble.sentence(uri)}; trainings go on without it") from error
