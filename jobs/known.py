"""Known images: the examples that ship with the repository, and what a version must answer to them."""

from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
from numpy.typing import NDArray
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from export.graph.parity import onnx_outputs
from jobs.errors import FaultError, RefusedError
from model.contract import CLASSES, MODEL_NAME
from model.data.http_client import http_client
from model.data.sources import example_images, load_sample
from model.images.decode import decode_image

TOLERANCE = 1e-3
"""Of a probability, service against ONNX Runtime on the CPU: a GPU's TensorFloat-32 stays within it, while
another model, another scaling or another decoder does not."""

RETRY_SECONDS = 15.0


@dataclass(frozen=True)
class KnownImages:
    """Images and the answers that are due.

    Attributes:
        version: The version that must answer.
        files: The encoded images, as a client sends them.
        pixels: uint8 `[N, 32, 32, 3]`, the same images decoded, first of all.
        probabilities: float32 `[N, 5]`, ONNX Runtime's answers.
    """

    version: int
    files: tuple[Path, ...]
    pixels: NDArray[np.uint8]
    probabilities: NDArray[np.float32]


def known_images(folder: Path, version: int, *, more: int = 0) -> KnownImages:
    """Compute what a fetched version must answer to the examples.

    Args:
        folder: The version, a whole Triton repository.
        version: Its number.
        more: So many of the sample's test images are added, as pixels alone.

    Raises:
        RefusedError: It cannot be run.
    """
    files = tuple(example_images().values())
    pixels = np.stack([decode_image(file.read_bytes()) for file in files])
    if more:
        pixels = np.concatenate([pixels, load_sample().test.images[:more]])
    return KnownImages(version, files, pixels, graph_answers(folder, version, pixels))


def graph_answers(
    folder: Path, version: int, pixels: NDArray[np.uint8], *, threads: int = 1
) -> NDArray[np.float32]:
    """What a fetched version's classifier answers to pixels `[N, 32, 32, 3]`, by ONNX Runtime on the CPU.

    Raises:
        RefusedError: ONNX Runtime cannot load or run it.
    """
    graph = folder / MODEL_NAME / str(version) / "model.onnx"
    try:
        return onnx_outputs(graph, pixels, threads=threads)
    except Exception as error:  # ONNX Runtime has a dozen kinds, all its own
        raise RefusedError(f"ONNX Runtime cannot run version {version}: {error}") from error


def verify_service(url: str, known: KnownImages, *, timeout: float = 30) -> None:
    """Send known images through the live service's /predict, as a user would.

    Args:
        url: Of the transformer.
        known: Images and answers.
        timeout: Seconds for each image.

    Raises:
        RefusedError: An answer is wrong, or from another version.
        FaultError: The service does not answer, or something else does in its place.
    """
    with http_client(url, timeout) as client:
        for file, due in zip(known.files, known.probabilities, strict=False):
            # One dropped connection must not undo a promotion; a service that stays away must.
            for attempt in Retrying(
                retry=retry_if_exception_type(FaultError),
                stop=stop_after_delay(RETRY_SECONDS),
                wait=wait_fixed(0.5),
                reraise=True,
            ):
                with attempt:
                    _ask(client, file, due, known.version)


def _ask(client: httpx.Client, file: Path, due: NDArray[np.float32], version: int) -> None:
    try:
        answer = client.post("/predict", files={"file": (file.name, file.read_bytes())})
    except httpx.TransportError as error:
        reason = str(error) or type(error).__name__
        raise FaultError(f"The service at {client.base_url} does not answer ({reason}).") from error
    _check(answer, due, f"The service at {client.base_url}, asked for {file.name},", version)


def _check(answer: httpx.Response, due: NDArray[np.float32], where: str, version: int) -> None:
    if answer.status_code >= 500:
        raise FaultError(f"{where} answered {answer.status_code}: {answer.text[:200]}")
    if answer.status_code != httpx.codes.OK and not _from_the_service(answer):
        raise FaultError(
            f"{where} was answered by something else, with {answer.status_code} {answer.text[:200]!r}; "
            "see whether the way to it is there (Service, route, proxy)."
        )
    if answer.status_code != httpx.codes.OK:
        raise RefusedError(f"{where} answered {answer.status_code}: {answer.text[:200]}")
    served = answer.headers.get("X-Model-Version")
    if served != str(version):
        raise RefusedError(f"{where} answered from version {served}, not {version}.")
    got = np.asarray(answer.json()["probabilities"])
    difference = float(np.abs(got - due).max()) if got.shape == due.shape else float("inf")
    if not difference <= TOLERANCE:  # so that not-a-number is refused too
        raise RefusedError(
            f"{where} answered {CLASSES[int(got.argmax())] if got.size else 'nothing'} in place of "
            f"{CLASSES[int(due.argmax())]}, {difference:.2g} apart: it is not the model that was published."
        )


def _from_the_service(answer: httpx.Response) -> bool:
    """Whether an error is the service's own, which has a code; what answers in its place lacks it."""
    try:
        body = answer.json()
    except ValueError:
        return False
    return isinstance(body, dict) and "code" in body
