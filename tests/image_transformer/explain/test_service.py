"""Explanations of a real Triton, by each way to ask for one."""

import base64
import io
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from serving import RunningTransformer, SmallModel

from image_transformer.explain.masks import Grids, Slopes, hidden
from kserve import InferenceRESTClient, RESTConfig
from model.images.decode import decode_image

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[3] / "model" / "sample" / "examples"
DOG = EXAMPLES / "dog.jpg"
JPEG = {"Content-Type": "image/jpeg"}
PLAIN = ["class_id", "class_name", "confidence", "probabilities", "filters_applied"]
EXPLANATION = ["class_id", "class_name", "version", "method", "masks", "standard_error", "map", "overlay"]


def wanted(model: SmallModel, picture: bytes) -> tuple[int, np.ndarray]:  # type: ignore[type-arg]
    """The class, and the map that numpy makes of numpy's answers."""
    pixels = decode_image(picture)
    class_id = int(model.probs(pixels[None])[0].argmax())
    masks, slopes = Grids(32, 500).masks(0, 500), Slopes(32)
    slopes.add(masks, model.probs(hidden(pixels, masks))[:, class_id])
    return class_id, slopes.map()[0]


def test_predict_explains_what_it_answers(transformer: RunningTransformer, small_model: SmallModel) -> None:
    picture = DOG.read_bytes()
    plain = httpx.post(transformer.url + "/predict", content=picture, headers=JPEG)
    form = {"file": ("dog.jpg", picture)}
    reply = httpx.post(transformer.url + "/predict", files=form, params={"explain": "true"}, timeout=60)
    assert (reply.status_code, reply.headers["x-model-version"]) == (200, "7")
    assert list(reply.json()) == [*PLAIN, "explanation"]
    assert list(plain.json()) == PLAIN
    assert reply.content.startswith(plain.content[:-1] + b",")
    explanation = reply.json()["explanation"]
    assert list(explanation) == EXPLANATION
    class_id, values = wanted(small_model, picture)
    assert (explanation["class_id"], explanation["masks"], explanation["version"]) == (class_id, 500, "7")
    np.testing.assert_allclose(explanation["map"], values, atol=2e-4)
    with Image.open(io.BytesIO(base64.b64decode(explanation["overlay"].partition(",")[2]))) as drawn:
        assert (drawn.format, drawn.size) == ("PNG", (32, 32))
    shown = httpx.get(transformer.url + "/metrics").text
    assert 'cnn_image_requests_total{route="/predict?explain=true",status="200"}' in shown
    assert "cnn_image_explanation_masks_total" in shown


@pytest.mark.parametrize(
    ("query", "pictures", "status", "code"),
    [
        ("true", [DOG.read_bytes()[:300]], 400, "broken_image"),
        ("true", [DOG.read_bytes()] * 2, 413, "too_many_images"),
        ("perhaps", [DOG.read_bytes()], 422, "invalid_request"),
    ],
)
def test_mistakes_are_told(
    transformer: RunningTransformer, query: str, pictures: list[bytes], status: int, code: str
) -> None:
    files = [("file", ("one.jpg", picture)) for picture in pictures]
    reply = httpx.post(transformer.url + "/predict", files=files, params={"explain": query})
    assert (reply.status_code, reply.json()["code"]) == (status, code)


async def test_kserves_own_client_explains(transformer: RunningTransformer, small_model: SmallModel) -> None:
    client = InferenceRESTClient(RESTConfig(protocol="v1"))
    instance = {"image": {"b64": base64.b64encode(DOG.read_bytes()).decode()}}
    answer = await client.explain(transformer.url, "cnn-image", {"instances": [instance]})
    await client.close()
    assert list(answer) == ["predictions", "explanations"]
    (probs,), (explanation,) = answer["predictions"], answer["explanations"]
    np.testing.assert_allclose(probs, small_model.probs(decode_image(DOG.read_bytes())[None])[0], atol=1e-6)
    assert list(explanation) == EXPLANATION


def test_the_command_line_draws_it(
    transformer: RunningTransformer, small_model: SmallModel, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "jobs.cli", "explain", str(DOG), "--url", transformer.url]
    out = ["--out", str(tmp_path / "map.png")]
    done = subprocess.run([*command, *out], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    class_id, values = wanted(small_model, DOG.read_bytes())
    assert small_model.contract.classes[class_id] in done.stdout
    assert f"{values.max():+.3f}" in done.stdout
    with Image.open(tmp_path / "map.png") as opened:
        drawn = np.asarray(opened.convert("RGB")).astype(int)
    assert drawn.shape == (448, 448, 3)
    plain = np.kron(decode_image(DOG.read_bytes()), np.ones((14, 14, 1))).astype(int)
    touched = np.abs(drawn - plain).max(axis=2)
    lowest, highest = (np.add(np.divmod(at, 32), 0.5) * 14 for at in (values.argmin(), values.argmax()))
    assert touched[tuple(lowest.astype(int))] == 0
    assert touched[tuple(highest.astype(int))] > 20

    refused = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "--out map.png" in refused.stderr
