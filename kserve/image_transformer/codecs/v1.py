"""v1, KServe's and TensorFlow Serving's REST: instances to encoded images, probabilities to predictions."""

from typing import Any, Final, NamedTuple

import numpy as np
import orjson

from image_transformer.codecs.tensors import Probabilities
from image_transformer.codecs.v2 import from_base64, invalid
from image_transformer.errors import ServiceError

_FORM: Final = '{"instances": [{"image": {"b64": "…"}}]}'
_KEYS: Final = ("image", "image_bytes", "b64")
_SIGNATURE: Final = "serving_default"


class V1Request(NamedTuple):
    """A v1 request.

    Attributes:
        images: Encoded ones.
        key: What the answer's list is called: `predictions`, or `outputs` where `inputs` were sent.
    """

    images: list[bytes]
    key: str


def v1_request(content: dict[str, Any], max_images: int) -> V1Request:
    """Takes the images out of a v1 request.

    An instance is `{"image": {"b64": …}}`, the same with `image_bytes`, `{"b64": …}`, or base64 alone, each
    perhaps as a `data:` URL. TensorFlow Serving's columns, `{"inputs": …}`, are a list of such, one, or
    `{"image": [ … ]}` (https://www.tensorflow.org/tfx/serving/api_rest).

    Raises:
        ServiceError: it is not of that form.
    """
    if content.get("signature_name", _SIGNATURE) not in (_SIGNATURE, ""):
        raise invalid(f"The model has one signature, {_SIGNATURE!r}; send that as `signature_name`, or none.")
    if "inputs" in content and "instances" in content:
        raise invalid("The request has both `instances` and `inputs`; send one of them.")
    columns = "inputs" in content
    instances = _column(content["inputs"]) if columns else content.get("instances")
    if not isinstance(instances, list) or not instances:
        raise invalid(f"There is no list of images in the request; send {_FORM}.")
    if len(instances) > max_images:
        raise ServiceError(
            "too_many_images", f"The request has {len(instances)} images; send at most {max_images}."
        )
    images = [_image(instance, index) for index, instance in enumerate(instances)]
    return V1Request(images, "outputs" if columns else "predictions")


def _column(inputs: object) -> object:
    if isinstance(inputs, dict) and "b64" not in inputs:
        named = next((inputs[key] for key in _KEYS if key in inputs), None)
        return named if isinstance(named, list) else [named]
    return inputs if isinstance(inputs, list) else [inputs]


def _image(instance: object, index: int) -> bytes:
    inner = instance
    for _ in range(2):  # {"image": {"b64": …}} is the deepest
        if isinstance(inner, dict):
            inner = next((inner[key] for key in _KEYS if key in inner), None)
    if not isinstance(inner, str):
        raise ServiceError(
            "invalid_request", 'The instance is not {"image": {"b64": "…"}}; send it so.', index
        )
    if inner[:5].lower() == "data:":
        kind, comma, inner = inner.partition(",")
        if not comma or not kind.lower().endswith(";base64"):
            raise ServiceError("invalid_request", "The data: URL is not in base64; send it so.", index)
    return from_base64(inner, index)


def v1_answer(key: str, result: Probabilities) -> bytes:
    """Writes v1's answer, by the key that the request asks for."""
    return orjson.dumps({key: np.ascontiguousarray(result.probs)}, option=orjson.OPT_SERIALIZE_NUMPY)
