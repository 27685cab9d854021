"""Every golden image by every way in: the answer is the model's to the pinned pixels, always."""

from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from numpy.typing import NDArray
from senders import SENDERS

from model.images.decode import decode_image

GOLDEN = Path(__file__).parents[1] / "model" / "images" / "golden"
PINNED = dict(np.load(GOLDEN / "pixels.npz"))
FILES = [
    pytest.param(name, marks=pytest.mark.slow if name.startswith("12-megapixels") else ())
    for name in sorted(PINNED)
]
WAYS = ("form", "raw", "v2", "v2 binary", "v1", "gRPC")


def probabilities(way: str, answer: Any) -> NDArray[np.float32]:
    """What an answer says, `[N, 5]`."""
    if way == "gRPC":
        return np.frombuffer(answer.raw_output_contents[0], "<f4").reshape(-1, 5)
    assert answer.status == 200, answer.body
    content = answer.json()
    match way:
        case "form" | "raw":
            bodies = content if isinstance(content, list) else [content]
            return np.float32([body["probabilities"] for body in bodies])
        case "v1":
            return np.float32(content["predictions"])
    return np.float32(content["outputs"][0]["data"]).reshape(-1, 5)


@pytest.mark.parametrize("name", FILES)
async def test_one_image_by_every_way(service: Any, small_model: Any, name: str) -> None:
    image = (GOLDEN / name).read_bytes()
    due = small_model.probs(PINNED[name][None])
    for way in WAYS:
        answer = await SENDERS[way](service).send([image])
        assert probabilities(way, answer) == pytest.approx(due, abs=1e-6), way


async def test_images_of_all_formats_in_one_request_are_answered_in_order(
    service: Any, small_model: Any
) -> None:
    names = [name for name in sorted(PINNED) if not name.startswith("12-megapixels")]
    images = [(GOLDEN / name).read_bytes() for name in names]
    due = small_model.probs(np.stack([PINNED[name] for name in names]))
    for way in (way for way in WAYS if way != "raw"):
        answer = await SENDERS[way](service).send(images)
        assert probabilities(way, answer) == pytest.approx(due, abs=1e-6), way
    bodies = (await SENDERS["form"](service).send(images)).json()
    assert [body["class_id"] for body in bodies] == due.argmax(axis=1).tolist()


async def test_decoded_pixels_get_the_answer_of_the_image(service: Any) -> None:
    """Whoever decodes as the service does may send pixels in the image's place."""
    image = (GOLDEN / "rgba-6.png").read_bytes()
    pixels = decode_image(image)
    tensor = {"name": "image", "datatype": "UINT8", "shape": [1, 32, 32, 3]}
    head = orjson.dumps({"inputs": [{**tensor, "parameters": {"binary_data_size": pixels.nbytes}}]})
    path = "/v2/models/cnn-image/infer"
    in_json = orjson.dumps({"inputs": [{**tensor, "data": pixels.tolist()}]})
    answers = [
        await SENDERS["v2"](service).send([image]),
        await service.call("POST", path, in_json),
        await service.call(
            "POST", path, head + pixels.tobytes(), inference_header_content_length=str(len(head))
        ),
    ]
    assert len({answer.body for answer in answers}) == 1
