"""Every held-out image by every way in: each answer is ONNX Runtime's own on the same pixels."""

import base64
import json
import subprocess
import sys
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnxruntime
import pytest
import tritonclient.http
from numpy.typing import NDArray

from model.contract import CLASSES, FILTER_NAMES, INPUT_NAME, MODEL_NAME, OUTPUT_NAME
from model.data.sources import SAMPLE
from model.images.decode import decode_image

pytestmark = pytest.mark.slow

TOLERANCE = 1e-5


@dataclass(frozen=True)
class Expected:
    """The held-out pictures, their pixels, and what the published graph makes of them."""

    encoded: list[bytes]
    pixels: NDArray[np.uint8]
    probs: NDArray[np.float32]


@pytest.fixture(scope="module")
def expected(served: Any) -> Expected:
    with zipfile.ZipFile(SAMPLE / "cifar10-sample.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.startswith("test/"))
        encoded = [archive.read(name) for name in names]
    pixels = np.stack([decode_image(data) for data in encoded])
    graph = (
        served.home
        / f"var/store/versions/{int(served.version):06}"
        / MODEL_NAME
        / served.version
        / "model.onnx"
    )
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    (probs,) = session.run([OUTPUT_NAME], {INPUT_NAME: pixels})
    assert probs.shape == (2500, len(CLASSES))
    return Expected(encoded, pixels, probs)


def check(answers: NDArray[np.float32], expected: NDArray[np.float32]) -> None:
    assert answers.shape == expected.shape
    np.testing.assert_allclose(answers, expected, rtol=0, atol=TOLERANCE)
    best = np.sort(expected, axis=1)
    clear = best[:, -1] - best[:, -2] > TOLERANCE
    assert clear.mean() > 0.99
    np.testing.assert_array_equal(answers.argmax(axis=1)[clear], expected.argmax(axis=1)[clear])


def post(client: httpx.Client, data: bytes) -> httpx.Response:
    """The answer to one picture; asked again, as clients do, while the service says that it is too busy."""
    for _ in range(20):
        answer = client.post("/predict", files={"file": ("a.jpg", data, "image/jpeg")})
        if answer.status_code not in {429, 503, 504}:
            break
        time.sleep(float(answer.headers["Retry-After"]))
    return answer


def test_predict(served: Any, expected: Expected) -> None:
    def ask(part: list[bytes]) -> list[dict[str, Any]]:
        with httpx.Client(base_url=served.url, timeout=60) as client:
            answers = [post(client, data) for data in part]
        seen = {(answer.status_code, answer.headers["X-Model-Version"]) for answer in answers}
        assert seen == {(200, served.version)}
        return [answer.json() for answer in answers]

    with ThreadPoolExecutor(8) as pool:
        parts = pool.map(ask, (expected.encoded[start : start + 320] for start in range(0, 2500, 320)))
        bodies = [body for part in parts for body in part]
    check(np.float32([body["probabilities"] for body in bodies]), expected.probs)
    for body in bodies:
        best = int(np.argmax(body["probabilities"]))
        assert body == {
            "class_id": best,
            "class_name": CLASSES[best],
            "confidence": body["probabilities"][best],
            "probabilities": body["probabilities"],
            "filters_applied": list(FILTER_NAMES),
        }


# tritonclient cannot put raw bytes into JSON; test_v2_json does, in base64.
@pytest.mark.parametrize(("kind", "binary"), [("encoded", True), ("pixels", True), ("pixels", False)])
def test_v2_rest(served: Any, expected: Expected, kind: str, binary: bool) -> None:
    answers = []
    with tritonclient.http.InferenceServerClient(served.url.removeprefix("http://")) as client:
        for start in range(0, len(expected.pixels), 32):
            part = slice(start, start + 32)
            if kind == "pixels":
                data: NDArray[Any] = expected.pixels[part]
                image = tritonclient.http.InferInput(INPUT_NAME, list(data.shape), "UINT8")
                image.set_data_from_numpy(data, binary_data=binary)
            else:
                data = np.array(expected.encoded[part], dtype=object)
                image = tritonclient.http.InferInput(INPUT_NAME, [len(data)], "BYTES")
                image.set_data_from_numpy(data)
            output = tritonclient.http.InferRequestedOutput(OUTPUT_NAME, binary_data=binary)
            result = client.infer(MODEL_NAME, [image], outputs=[output])
            assert result.get_response()["model_version"] == served.version
            answers.append(result.as_numpy(OUTPUT_NAME))
    check(np.concatenate(answers), expected.probs)


GRPC_CLIENT = """
import sys
import numpy as np
import tritonclient.grpc as grpc

address, model, kind, source, target, size, version = sys.argv[1:]
data = np.load(source, allow_pickle=False) if kind == "UINT8" else None
if data is None:
    lengths, joined = np.load(source + ".lengths.npy"), open(source, "rb").read()
    ends = np.cumsum(lengths)
    data = np.array([joined[end - length:end] for end, length in zip(ends, lengths)], dtype=object)
answers = []
client = grpc.InferenceServerClient(address)
for start in range(0, len(data), int(size)):
    part = data[start:start + int(size)]
    image = grpc.InferInput("image", list(part.shape), kind)
    image.set_data_from_numpy(part)
    result = client.infer(model, [image])
    assert result.get_response().model_version == version, result.get_response().model_version
    answers.append(result.as_numpy("probs"))
np.save(target, np.concatenate(answers))
"""


def start_grpc(served: Any, expected: Expected, kind: str, size: int, folder: Path) -> Any:
    """tritonclient's gRPC in a process of its own: it and kserve's cannot be imported into one."""
    source, target = folder / f"{kind}-{size}.in", folder / f"{kind}-{size}.npy"
    if kind == "UINT8":
        with source.open("wb") as sink:
            np.save(sink, expected.pixels)
    else:
        source.write_bytes(b"".join(expected.encoded))
        np.save(f"{source}.lengths.npy", [len(data) for data in expected.encoded])
    arguments = [f"127.0.0.1:{served.port + 1}", MODEL_NAME, kind, str(source), str(target)]
    arguments += [str(size), served.version]
    process = subprocess.Popen([sys.executable, "-c", GRPC_CLIENT, *arguments], stderr=subprocess.PIPE)
    return process, target


def test_two_v2_grpc_clients_with_different_batches(served: Any, expected: Expected, tmp_path: Path) -> None:
    clients = [
        start_grpc(served, expected, kind, size, tmp_path) for kind, size in (("BYTES", 7), ("UINT8", 32))
    ]
    for process, target in clients:
        _, said = process.communicate(timeout=300)
        assert process.returncode == 0, said.decode()[-2000:]
        check(np.load(target), expected.probs)


def test_v2_json(served: Any, expected: Expected) -> None:
    images = [base64.b64encode(data).decode() for data in expected.encoded[:32]]
    body = {"inputs": [{"name": INPUT_NAME, "datatype": "BYTES", "shape": [32], "data": images}]}
    answer = httpx.post(f"{served.url}/v2/models/{MODEL_NAME}/infer", json=body, timeout=30)
    assert answer.status_code == 200, answer.text
    (output,) = answer.json()["outputs"]
    assert (output["name"], output["datatype"], output["shape"]) == (OUTPUT_NAME, "FP32", [32, len(CLASSES)])
    check(np.float32(output["data"]).reshape(32, len(CLASSES)), expected.probs[:32])


def test_v1(served: Any, expected: Expected) -> None:
    instances = [{"image": {"b64": base64.b64encode(data).decode()}} for data in expected.encoded[:32]]
    answer = httpx.post(f"{served.url}/v1/models/{MODEL_NAME}:predict", json={"instances": instances})
    assert answer.status_code == 200, answer.text
    assert list(answer.json()) == ["predictions"]
    check(np.float32(answer.json()["predictions"]), expected.probs[:32])


def test_info_names_the_lineage(served: Any) -> None:
    info = httpx.get(f"{served.url}/info").json()
    folder = served.home / f"var/store/versions/{int(served.version):06}"
    manifest = json.loads((folder / "manifest.json").read_text())
    assert str(info["version"]) == str(manifest["version"]) == served.version
    assert info["classes"] == list(CLASSES)
