"""How MLflow's server is asked, by trainings and by all that looks at what they left there."""

import logging
import os
import re
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote

from model.training.tracking.trouble import ArtifactsError

EXPERIMENT: Final = "cnn-image"


def database_uri(file: Path) -> str:
    """The SQLAlchemy address of a SQLite file, whatever signs are in its path.

    No more is quoted than would be read as something else (`?`, `%41`): MLflow 3.17 makes an empty folder
    under the quoted name.
    """
    path = re.sub(r"%(?=[0-9A-Fa-f]{2})|\?", lambda sign: quote(sign[0]), str(file))
    return f"sqlite:///{path}"


def connect(uri: str, *, seconds: int = 10, retries: int = 1) -> Any:
    """A client of the server at an address; nothing is asked yet.

    Args:
        uri: MLflow's address, or the SQLAlchemy address of a database.
        seconds: How long an answer may take; MLFLOW_HTTP_REQUEST_TIMEOUT wins.
        retries: How often is asked again; MLFLOW_HTTP_REQUEST_MAX_RETRIES wins. MLflow's own
            patience is minutes.

    Returns:
        An `mlflow.MlflowClient`.
    """
    for name, value in (
        ("MLFLOW_HTTP_REQUEST_TIMEOUT", str(seconds)),
        ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", str(retries)),
        ("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true"),  # our results are on stdout
    ):
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    # Each migration of a new local database is logged, for one. After the import, which sets levels itself.
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    if uri.startswith("sqlite:///"):
        Path(unquote(uri.removeprefix("sqlite:///"))).parent.mkdir(parents=True, exist_ok=True)
    return MlflowClient(uri)


def experiment_id(client: Any, uri: str, var: Path, name: str = EXPERIMENT) -> str:
    """The experiment that all runs of a model are in; made if it is not there.

    Args:
        client: See `connect`.
        uri: Its address.
        var: Where a local database's artifacts go, in `mlruns`; a server knows itself where its own go.
        name: The experiment's, which is the model's.
    """
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    location = (var.absolute() / "mlruns").as_uri() if uri.startswith("sqlite:") else None
    return str(client.create_experiment(name, artifact_location=location))


def log_artifacts(client: Any, run: str, path: Path, name: str | None = None) -> None:
    """Store a file, or a folder's files, with a run.

    Args:
        client: See `connect`.
        run: The run's id.
        path: The file or the folder.
        name: The folder among the run's artifacts; None for their root.

    Raises:
        ArtifactsError: The server takes runs, and the place that it names for their files takes none.
        Exception: Whatever MLflow raises, when it does not answer at all.
    """
    place = client.get_run(run).info.artifact_uri
    try:
        (client.log_artifacts if path.is_dir() else client.log_artifact)(run, str(path), name)
    except Exception as error:  # any storage's own, or that its package is not installed
        raise ArtifactsError(place) from error
