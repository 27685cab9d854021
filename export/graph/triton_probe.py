"""Asks a running Triton, over plain v2 HTTP with binary tensors, for its answers to images.

For proofs and pre-flights, where one request after the other does; the transformer has a client of its own.
"""

import json
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray

from export.errors import NoAnswerError, ParityError
from export.graph.parity import compare
from export.store.lineage import Parity
from model.contract import INPUT_NAME, MODEL_NAME, OUTPUT_NAME
from model.data.remote.http_client import http_client

_HEADER_LENGTH = "Inference-Header-Content-Length"
_BATCH = 64


@dataclass(frozen=True)
class TritonAnswer:
    """What a model answered, and which version of it."""

    outputs: NDArray[np.float32]
    version: int


def infer(
    url: str,
    images: NDArray[np.uint8],
    *,
    model: str = MODEL_NAME,
    output: str = OUTPUT_NAME,
    timeout: float = 10,
) -> TritonAnswer:
    """Send images to a Triton and collect its answers.

    Args:
        url: The server's HTTP address, for example `http://127.0.0.1:8000`.
        images: uint8 `[N, S, S, 3]` of the model's size, N at least 1.
        model: The model to ask.
        output: Its output's name.
        timeout: Seconds a call may take.

    Returns:
        The output of all images and the version that answered.

    Raises:
        NoAnswerError: Triton does not answer.
        ParityError: It refuses, answers with another shape or type, or with more than one version.
    """
    outputs: list[NDArray[np.float32]] = []
    versions: set[int] = set()
    with http_client(url, timeout) as client:
        for start in range(0, len(images), _BATCH):
            batch = np.ascontiguousarray(images[start : start + _BATCH])
            answer = _infer_batch(client, batch, model, output)
            outputs.append(answer.outputs)
            versions.add(answer.version)
    if len(versions) != 1:
        raise ParityError(f"Triton at {url} answered with versions {sorted(versions)}; ask again.")
    return TritonAnswer(np.concatenate(outputs), versions.pop())


def require_loaded(url: str) -> None:
    """Require that a running Triton could load every model of its repository.

    Args:
        url: The server's HTTP address.

    Raises:
        NoAnswerError: It does not answer.
        ParityError: It could not; the sentence ends with Triton's own reason.
    """
    try:
        with http_client(url, 10) as client:
            response = client.post("/v2/repository/index", json={}).raise_for_status()
    except httpx.HTTPError as error:
        raise NoAnswerError(
            f"Triton at {url} does not list its models ({error}); look at its log."
        ) from error
    for model in response.json():
        if model.get("state") != "READY":
            reason = model.get("reason") or f"its state is {model.get('state', 'unknown')}"
            raise ParityError(f"Triton cannot load {model['name']}: {reason}")


def compare_triton(
    url: str,
    reference: NDArray[np.float32],
    images: NDArray[np.uint8],
    version: int,
    *,
    model: str = MODEL_NAME,
) -> Parity:
    """Require that a running Triton serves a version and answers as the reference does.

    Args:
        url: The server's HTTP address.
        reference: The probabilities that are due, `[N, classes]`.
        images: uint8 `[N, S, S, 3]` of the version's size.
        version: The version that must answer.
        model: The classifier's name, of the version's contract.

    Raises:
        NoAnswerError: It does not answer.
        ParityError: It answers otherwise.
    """
    answer = infer(url, images, model=model)
    if answer.version != version:
        raise ParityError(f"Triton at {url} serves version {answer.version}, not {version}; deploy it again.")
    return compare(reference, answer.outputs)


def _infer_batch(client: httpx.Client, batch: NDArray[np.uint8], model: str, output: str) -> TritonAnswer:
    header = json.dumps(
        {
            "inputs": [
                {
                    "name": INPUT_NAME,
                    "shape": list(batch.shape),
                    "datatype": "UINT8",
                    "parameters": {"binary_data_size": batch.nbytes},
                }
            ],
            "outputs": [{"name": output, "parameters": {"binary_data": True}}],
        }
    ).encode()
    where = f"Triton at {client.base_url}"
    try:
        response = client.post(
            f"/v2/models/{model}/infer",
            content=header + batch.tobytes(),
            headers={_HEADER_LENGTH: str(len(header)), "Content-Type": "application/octet-stream"},
        )
    except httpx.HTTPError as error:
        reason = str(error) or type(error).__name__
        raise NoAnswerError(f"{where} does not answer ({reason}); look at its log.") from error
    if response.status_code != 200:
        raise ParityError(f"{where} refused known images ({response.status_code}: {response.text[:200]!r}).")
    return _parse(response, len(batch), where)


def _parse(response: httpx.Response, count: int, where: str) -> TritonAnswer:
    try:
        length = int(response.headers[_HEADER_LENGTH])
        header: dict[str, Any] = json.loads(response.content[:length])
        tensor = header["outputs"][0]
        if tensor["datatype"] != "FP32" or tensor["shape"][0] != count:
            raise ValueError(f"{tensor['datatype']} {tensor['shape']}")
        values = np.frombuffer(response.content[length:], dtype="<f4").reshape(tensor["shape"])
        return TritonAnswer(values, int(header["model_version"]))
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise ParityError(f"{where} answered in a form that is not v2's binary one ({error}).") from error
