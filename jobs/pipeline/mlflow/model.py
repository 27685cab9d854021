"""A graph as MLflow's users know models: a folder that `mlflow.onnx` and `mlflow.pyfunc` load."""

from pathlib import Path
from typing import Any

from model.training.tracking.server import log_artifacts
from model.training.tracking.trouble import ArtifactsError


def log_model(client: Any, run: Any, graph: Path, name: str, folder: Path) -> tuple[str, str | None]:
    """Give a run its model.

    Servers of MLflow 3 know models beside their runs, in a list of their own; for all others the model is
    among the run's files, as MLflow 2 did it.

    Args:
        client: Of the server.
        run: The run, whose status stays as it is.
        graph: The ONNX file.
        name: Of the model.
        folder: Scratch that does not exist yet.

    Returns:
        Where the model lies, and MLflow's id of it where the server gave one.

    Raises:
        ArtifactsError: The run's files cannot be stored.
        Exception: Whatever MLflow raises, when it does not answer.
    """
    logged = _logged_model(client, run, name)
    about: dict[str, Any] = {"artifact_path": name, "run_id": run.info.run_id}
    if logged is not None:
        about |= {"artifact_path": logged.artifact_location, "model_id": logged.model_id}
    _save(graph, folder, about)
    if logged is None:
        log_artifacts(client, run.info.run_id, folder, name)
        return f"{run.info.artifact_uri}/{name}", None
    from mlflow.entities import LoggedModelOutput

    try:
        client.log_model_artifacts(logged.model_id, str(folder))
    except Exception as error:  # each storage's own
        client.delete_logged_model(logged.model_id)  # it would wait for its files for ever
        raise ArtifactsError(logged.artifact_location) from error
    client.finalize_logged_model(logged.model_id, "READY")
    client.log_outputs(run.info.run_id, [LoggedModelOutput(logged.model_id, 0)])
    return str(logged.artifact_location), str(logged.model_id)


def _logged_model(client: Any, run: Any, name: str) -> Any:
    """A model of the server's own list; None where it keeps none."""
    from mlflow import MlflowException

    try:
        return client.create_logged_model(run.info.experiment_id, name, run.info.run_id)
    except MlflowException:
        # Servers without it say so in many ways; one that is away, or refuses, does so at the next call too.
        return None


def _save(graph: Path, folder: Path, about: dict[str, Any]) -> None:
    import mlflow.onnx
    import onnx
    from mlflow.models import Model, ModelSignature

    loaded = onnx.load(graph)
    mlflow.onnx.save_model(
        loaded,
        str(folder),
        mlflow_model=Model(**about),
        signature=ModelSignature(_schema(loaded.graph.input), _schema(loaded.graph.output)),
        save_as_external_data=False,
        pip_requirements=["onnxruntime"],  # else MLflow starts a process to find out
    )


def _schema(tensors: Any) -> Any:
    from mlflow.types import Schema, TensorSpec
    from onnx.helper import tensor_dtype_to_np_dtype

    return Schema(
        [
            TensorSpec(
                tensor_dtype_to_np_dtype(tensor.type.tensor_type.elem_type),
                tuple(dimension.dim_value or -1 for dimension in tensor.type.tensor_type.shape.dim),
                tensor.name,
            )
            for tensor in tensors
        ]
    )
