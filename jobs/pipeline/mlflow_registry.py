"""MLflow's view of versions: each is a registered model version, and the alias `champion` follows the ledger.

MLflow is for people; nothing here may stop a promotion. When MLflow is away, one sentence says so.
"""

import contextlib
import io
import logging
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from export.store.versions import Store
from jobs.console import say
from jobs.gate.verdict import Verdict
from jobs.settings import Settings
from model.contract import MODEL_NAME

ALIAS: Final = "champion"
VERSION_TAG: Final = "version"
"""The tag of a registered model version that names ours."""


def register(settings: Settings, store: Store, version: int) -> None:
    """Make a published version known in MLflow, as the ONNX model it is.

    Args:
        settings: MLflow's address.
        store: Where the version is.
        version: Its number.
    """
    manifest = store.manifest(version)
    with _mlflow(settings, f"version {version} is not registered there") as client:
        if client is None or _registered(client, version) is not None:
            return
        import mlflow
        import onnx

        with tempfile.TemporaryDirectory(prefix="cnn-image-mlflow-") as folder:
            fetched = store.fetch(version, Path(folder))
            graph = onnx.load(fetched / MODEL_NAME / str(version) / "model.onnx")
        # MLflow prints what it did on stderr, beside our own sentences.
        with (
            contextlib.redirect_stderr(io.StringIO()),
            mlflow.start_run(run_id=manifest.mlflow_run, log_system_metrics=False),
        ):
            logged = mlflow.onnx.log_model(
                graph,
                name=f"{MODEL_NAME}-{version}",
                registered_model_name=MODEL_NAME,
                save_as_external_data=False,
                pip_requirements=["onnxruntime"],  # else MLflow starts a process to find out
            )
        client.set_model_version_tag(
            MODEL_NAME, str(logged.registered_model_version), VERSION_TAG, str(version)
        )
        client.set_tag(manifest.mlflow_run or logged.run_id, VERSION_TAG, str(version))


def record_verdict(settings: Settings, store: Store, verdict: Verdict) -> None:
    """Put a verdict and its pictures into the MLflow run that trained the version."""
    run = store.manifest(verdict.version).mlflow_run
    if run is None:
        return
    with _mlflow(settings, "the verdict is not recorded there") as client:
        if client is None:
            return
        client.set_tag(run, "verdict", verdict.word)
        client.set_tag(run, "verdict.sentence", verdict.sentence)
        client.log_metric(run, "test_accuracy", verdict.candidate.accuracy)
        client.log_metric(run, "test_calibration_error", verdict.candidate.ece)
        client.log_text(run, verdict.model_dump_json(indent=1), "verdict/verdict.json")
        for name in store.attachments(verdict.version):
            if name.startswith("flips"):
                _log_bytes(client, run, name, store.attachment(verdict.version, name))


def follow(settings: Settings, version: int | None) -> None:
    """Point the alias `champion` at a version; at none after a first promotion that was taken back."""
    if settings.mlflow_tracking_uri is None and not settings.local_tracking_db.exists():
        return  # no MLflow and no file of its own, so nothing that an alias could name: a pod without either
    with _mlflow(settings, f"the alias {ALIAS!r} is not moved") as client:
        if client is None:
            return
        registered = _registered(client, version) if version is not None else None
        if registered is not None:
            client.set_registered_model_alias(MODEL_NAME, ALIAS, registered)
        elif version is None:
            client.delete_registered_model_alias(MODEL_NAME, ALIAS)


def _registered(client: Any, version: int) -> str | None:
    found = client.search_model_versions(f"name = '{MODEL_NAME}' and tag.{VERSION_TAG} = '{version}'")
    return str(found[0].version) if found else None


def _log_bytes(client: Any, run: str, name: str, data: bytes) -> None:
    with tempfile.TemporaryDirectory(prefix="cnn-image-mlflow-") as folder:
        path = Path(folder) / name
        path.write_bytes(data)
        client.log_artifact(run, str(path), "verdict")


@contextlib.contextmanager
def _mlflow(settings: Settings, otherwise: str) -> Iterator[Any]:
    """A client, or None where MLflow cannot be had; what fails inside ends in a sentence, not in an error."""
    for name, value in (("MLFLOW_HTTP_REQUEST_TIMEOUT", "10"), ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")):
        os.environ.setdefault(name, value)
    try:
        import mlflow

        logging.getLogger("mlflow").setLevel(logging.ERROR)
        logging.getLogger("alembic").setLevel(logging.ERROR)
        mlflow.set_tracking_uri(settings.tracking_uri)
        yield mlflow.MlflowClient()
    except Exception as error:  # MLflow raises its own, requests' and SQLAlchemy's errors
        reason = str(error).strip().splitlines()
        say(f"MLflow at {settings.tracking_uri} failed ({reason[0] if reason else error!r}): {otherwise}.")
