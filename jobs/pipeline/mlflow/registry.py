"""MLflow's view of versions: each is a registered model version, and the alias `champion` follows the ledger.

MLflow is for people; nothing here may stop a promotion. When MLflow is away, one sentence says so, and the
next promotion or `cnn-image deploy` registers what is missing. Versions are registered by calls that every
server since MLflow 2.3 has, and a training run that has ended stays as it ended.
"""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from export.errors import ExportError
from export.store.manifest import Manifest
from export.store.versions import Store
from jobs.console import say
from jobs.gate.verdict import Verdict
from jobs.pipeline.mlflow.model import log_model
from jobs.settings import Settings
from model.training.tracking.server import connect, experiment_id, log_artifacts
from model.training.tracking.trouble import explain

ALIAS: Final = "champion"
VERSION_TAG: Final = "version"
"""The tag of a registered model version, and of a run, that names ours."""
STORE_TAG: Final = "store"
"""The tag that names the store: several may be registered in one MLflow."""
_READY_SECONDS: Final = 60
"""How long a server that registers later than it answers is waited for."""


def in_use(settings: Settings) -> bool:
    """Whether there is an MLflow: one that is named, or the local file that a training makes."""
    return settings.mlflow_tracking_uri is not None or settings.local_tracking_db.exists()


def register(settings: Settings, store: Store, *versions: int) -> None:
    """Make published versions known in MLflow, as the ONNX models they are; those that are known stay.

    Args:
        settings: MLflow's address.
        store: Where the versions are.
        versions: Their numbers.
    """
    names = (
        f"Version {versions[0]} is"
        if len(versions) == 1
        else f"Versions {' and '.join(map(str, versions))} are"
    )
    otherwise = f"{names} not registered there yet; promoting does that, too"
    with _mlflow(settings, otherwise) as client:
        for version in versions if client is not None else ():
            if registered(client, settings.model, store, version) is None:
                _register(client, settings, store, version)


def record_verdict(settings: Settings, store: Store, verdict: Verdict) -> None:
    """Put a verdict and its pictures into the MLflow run that trained the version."""
    run = store.manifest(verdict.version).mlflow_run
    if run is None:
        return
    with _mlflow(settings, "The verdict is not recorded there") as client:
        if client is None:
            return
        client.set_tag(run, "verdict", verdict.word)
        client.set_tag(run, "verdict.sentence", verdict.sentence)
        client.log_metric(run, "test_accuracy", verdict.candidate.accuracy)
        client.log_metric(run, "test_calibration_error", verdict.candidate.ece)
        with tempfile.TemporaryDirectory(prefix="cnn-image-mlflow-") as scratch:
            folder = Path(scratch)
            (folder / "verdict.json").write_text(verdict.model_dump_json(indent=1))
            for name in store.attachments(verdict.version):
                if name.startswith("flips"):
                    (folder / name).write_bytes(store.attachment(verdict.version, name))
            log_artifacts(client, run, folder, "verdict")


def follow(settings: Settings, store: Store) -> None:
    """Point the alias `champion` at what the ledger says is served, registering that first if it is missing.

    Where nothing is served, after a first promotion that was taken back, the alias goes.
    """
    with _mlflow(settings, f"Its alias {ALIAS!r} stays where it is until `cnn-image deploy`") as client:
        if client is None:
            return
        version = store.ledger.served()
        if version is None:
            if champion(client, settings.model) is not None:
                client.delete_registered_model_alias(settings.model, ALIAS)
            return
        known = registered(client, settings.model, store, version)
        number = str(known.version) if known else _register(client, settings, store, version)
        client.set_registered_model_alias(settings.model, ALIAS, number)


def registered(client: Any, model: str, store: Store, version: int) -> Any:
    """MLflow's version of a model that is this version of this store; None where there is none.

    One without a store's name is taken for this store's: earlier releases wrote none.
    """
    found = client.search_model_versions(f"name = '{model}' and tag.{VERSION_TAG} = '{version}'")
    return next((each for each in found if each.tags.get(STORE_TAG, store.url) == store.url), None)


def champion(client: Any, model: str) -> Any:
    """The model version that the alias names; None where it names none."""
    from mlflow import MlflowException

    try:
        return client.get_model_version_by_alias(model, ALIAS)
    except MlflowException as error:
        # A server says either of the alias; of a model that it does not know, version 3 says the latter.
        if error.error_code in {"INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST"}:
            return None
        raise


def _register(client: Any, settings: Settings, store: Store, version: int) -> str:
    from mlflow import MlflowException

    manifest = store.manifest(version)
    name = settings.model
    tags = {VERSION_TAG: str(version), STORE_TAG: store.url}
    run = _run_of(client, settings, manifest, tags)
    with tempfile.TemporaryDirectory(prefix="cnn-image-mlflow-") as scratch:
        fetched = store.fetch(version, Path(scratch) / "version")
        graph = fetched / manifest.classifier_file
        source, model_id = log_model(client, run, graph, f"{name}-{version}", Path(scratch) / "model")
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    made = client.create_model_version(
        name,
        source,
        run.info.run_id,
        tags=tags,
        await_creation_for=_READY_SECONDS,
        model_id=model_id,
    )
    client.set_tag(run.info.run_id, VERSION_TAG, str(version))
    return str(made.version)


def _run_of(client: Any, settings: Settings, manifest: Manifest, tags: dict[str, str]) -> Any:
    """The run that made a version; one that tells as much where this server has none: it was away then."""
    from mlflow import MlflowException
    from mlflow.entities import Metric, Param

    if manifest.mlflow_run is not None:
        try:
            run = client.get_run(manifest.mlflow_run)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
        else:
            if run.info.lifecycle_stage == "active":
                if run.info.status == "RUNNING":  # MLflow was away at its end
                    client.set_terminated(run.info.run_id)
                return run
    experiment = experiment_id(client, settings.tracking_uri, settings.state, settings.model)
    for run in client.search_runs([experiment], f"tags.{VERSION_TAG} = '{manifest.version}'"):
        if run.data.tags.get(STORE_TAG) == tags[STORE_TAG]:
            return run  # of a try that got no further
    run = client.create_run(experiment, run_name=f"{settings.model}-{manifest.version}", tags=tags)
    facts = {**manifest.recipe, "seed": manifest.seed, "data_digest": manifest.data.digest}
    if manifest.pretrained:
        facts["pretrained_origin"] = manifest.pretrained.origin
    facts |= {"data_source": manifest.data.source, "data_kind": manifest.data.kind}
    milliseconds = int(manifest.created.timestamp() * 1000)
    client.log_batch(
        run.info.run_id,
        metrics=[Metric(f"final_{name}", value, milliseconds, 0) for name, value in manifest.metrics.items()],
        params=[Param(name, str(value)) for name, value in facts.items()],
    )
    client.set_terminated(run.info.run_id)
    return run


@contextlib.contextmanager
def _mlflow(settings: Settings, otherwise: str) -> Iterator[Any]:
    """A client, or None where there is no MLflow; what fails inside ends in a sentence, not in an error."""
    if not in_use(settings):
        yield None  # a pod without either: nothing that could be registered or named
        return
    try:
        yield connect(settings.tracking_uri)
    except ExportError as error:
        say(f"{error} {otherwise}.")
    except Exception as error:  # MLflow raises its own, requests', SQLAlchemy's and each storage's errors
        say(f"{explain(error).sentence(settings.tracking_uri)}. {otherwise}.")
