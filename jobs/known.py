"""Known images: pictures that go with a version, and what it must answer to them.

Of the default's classes they are the examples that ship with the repository; of one's own images some of the
test split, kept with the version as evidence.
"""

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from export.store.manifest import Manifest, digest_of, read_manifest
from export.store.versions import KNOWN, Store
from jobs.errors import FaultError, RefusedError
from model.contract import DEFAULT_CONTRACT, IMAGE_SIZE, MODEL_NAME, Contract
from model.data.dataset import Split
from model.data.images import Images
from model.data.remote.http_client import http_client
from model.data.sources import example_images, load_sample
from model.images.decode import decode_image

TOLERANCE = 1e-3
"""Of a probability, service against ONNX Runtime on the CPU: a GPU's TensorFloat-32 stays within it, while
another model, another scaling or another decoder does not."""

RETRY_SECONDS = 15.0

_MOST_FILES = 16
_FILES_A_CLASS = 2
_MADE = (1980, 1, 1, 0, 0, 0)  # a zip's first date, so that the same pictures make the same bytes


@dataclass(frozen=True)
class KnownImages:
    """Images and the answers that are due.

    Attributes:
        version: The version that must answer.
        files: The encoded images, as a client sends them.
        pixels: uint8 `[N, S, S, 3]`, the same images decoded, first of all.
        probabilities: float32 `[N, classes]`, ONNX Runtime's answers.
        contract: The version's.
    """

    version: int
    files: tuple[Path | zipfile.Path, ...]
    pixels: NDArray[np.uint8]
    probabilities: NDArray[np.float32]
    contract: Contract = DEFAULT_CONTRACT


def make_known(test: Split) -> bytes:
    """Choose a version's known images: some of each class, of as many classes as sixteen files hold.

    Args:
        test: The test split. The same one gives the same bytes.

    Returns:
        A zip of PNG files, which decode to the split's own pixels whatever the fit.

    Raises:
        ValueError: The split is empty.
    """
    if not len(test):
        raise ValueError("known images need a test split with images")
    present = np.unique(test.labels)
    spread = np.linspace(0, len(present) - 1, min(len(present), _MOST_FILES // _FILES_A_CLASS))
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as files:
        for label in present[spread.round().astype(int)]:
            for count, row in enumerate(np.flatnonzero(test.labels == label)[:_FILES_A_CLASS], start=1):
                picture = io.BytesIO()
                Image.fromarray(np.asarray(test.images[row])).save(picture, "PNG")
                files.writestr(zipfile.ZipInfo(f"class-{label}-{count}.png", _MADE), picture.getvalue())
    return made.getvalue()


def known_evidence(store: Store, version: int) -> bytes | None:
    """The known images that were kept with a version; None where it has the examples of the repository.

    Raises:
        StoreError: They cannot be read, or are not what was published.
    """
    return store.evidence(version, KNOWN) if KNOWN in store.manifest(version).evidence else None


def known_images(folder: Path, version: int, *, known: bytes | None = None, more: int = 0) -> KnownImages:
    """Compute what a fetched version must answer to its known images.

    Args:
        folder: The version, a whole Triton repository with its manifest.
        version: Its number.
        known: What `known_evidence` gave.
        more: So many further images are added, as pixels alone: test images of the sample, or for one's own
            images the known ones turned and mirrored, as many as that gives.

    Raises:
        RefusedError: It cannot be run, or has no known images.
    """
    manifest = read_manifest(folder)
    contract = manifest.contract
    files = _files(manifest, known)
    pixels = np.stack(
        [decode_image(file.read_bytes(), size=contract.size, fit=contract.fit) for file in files]
    )
    if more:
        of_the_sample = manifest.data.kind != "images" and contract.size == IMAGE_SIZE
        further = load_sample().test.images if of_the_sample else _turned(pixels)
        pixels = np.concatenate([pixels, further[:more]])
    answers = graph_answers(folder, version, pixels, model=contract.model)
    return KnownImages(version, files, pixels, answers, contract)


def _files(manifest: Manifest, known: bytes | None) -> tuple[Path | zipfile.Path, ...]:
    if manifest.data.kind != "images":
        return tuple(example_images().values())
    if known is None or digest_of(known) != manifest.evidence.get(KNOWN):
        raise RefusedError(
            f"Version {manifest.version} has lost its known images, {KNOWN}; publish the model again."
        )
    root = zipfile.Path(zipfile.ZipFile(io.BytesIO(known)))
    return tuple(sorted(root.iterdir(), key=lambda file: file.name))


def _turned(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Square images turned by a quarter, a half and three quarters, and the mirrored ones of all four."""
    mirrored = pixels[:, :, ::-1]
    turns = [np.rot90(images, quarter, (1, 2)) for images in (pixels, mirrored) for quarter in range(4)]
    return np.concatenate(turns[1:])


def graph_answers(
    folder: Path, version: int, pixels: Images, *, threads: int = 1, model: str = MODEL_NAME
) -> NDArray[np.float32]:
    """What a fetched version's classifier answers to pixels, by ONNX Runtime on the CPU.

    Args:
        folder: The version, a whole Triton repository.
        version: Its number.
        pixels: uint8 `[N, S, S, 3]` of the version's size.
        threads: For each operator.
        model: The classifier's name, of the version's contract.

    Returns:
        float32 `[N, classes]`.

    Raises:
        RefusedError: ONNX Runtime cannot load or run it.
    """
    # Who only looks for known images, as `cnn-image run` does, need not wait for ONNX Runtime's import.
    from export.graph.parity import onnx_outputs

    graph = folder / model / str(version) / "model.onnx"
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
                    _ask(client, file, due, known)


def _ask(
    client: httpx.Client, file: Path | zipfile.Path, due: NDArray[np.float32], known: KnownImages
) -> None:
    picture = ("file", (file.name, file.read_bytes()))
    try:
        answer = client.post("/predict", files=[picture])
        # One usual picture in a thousand, where such are refused; of several in a request none is.
        if _code(answer) == "unlike_training":
            answer = client.post("/predict", files=[picture, picture])
    except httpx.TransportError as error:
        reason = str(error) or type(error).__name__
        raise FaultError(f"The service at {client.base_url} does not answer ({reason}).") from error
    _check(answer, due, f"The service at {client.base_url}, asked for {file.name},", known)


def _check(answer: httpx.Response, due: NDArray[np.float32], where: str, known: KnownImages) -> None:
    if answer.status_code >= 500:
        raise FaultError(f"{where} answered {answer.status_code}: {answer.text[:200]}")
    if answer.status_code != httpx.codes.OK and _code(answer) is None:
        raise FaultError(
            f"{where} was answered by something else, with {answer.status_code} {answer.text[:200]!r}; "
            "see whether the way to it is there (Service, route, proxy)."
        )
    if answer.status_code != httpx.codes.OK:
        raise RefusedError(f"{where} answered {answer.status_code}: {answer.text[:200]}")
    served = answer.headers.get("X-Model-Version")
    if served != str(known.version):
        raise RefusedError(f"{where} answered from version {served}, not {known.version}.")
    body = answer.json()
    got = np.asarray((body[0] if isinstance(body, list) else body)["probabilities"])
    difference = float(np.abs(got - due).max()) if got.shape == due.shape else float("inf")
    if not difference <= TOLERANCE:  # so that not-a-number is refused too
        classes = known.contract.classes
        instead = classes[int(got.argmax())] if got.shape == due.shape else f"{got.size} probabilities"
        raise RefusedError(
            f"{where} answered {instead} in place of {classes[int(due.argmax())]}, {difference:.2g} apart: "
            "it is not the model that was published."
        )


def _code(answer: httpx.Response) -> str | None:
    """The code of an error of the service's own; None of an answer, and of what answers in its place."""
    if answer.status_code == httpx.codes.OK:
        return None
    try:
        body = answer.json()
    except ValueError:
        return None
    return str(body["code"]) if isinstance(body, dict) and "code" in body else None
