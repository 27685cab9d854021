"""Explanations as clients get them: `explanation` in /predict's body, `explanations` in v1's."""

from typing import Any, Final
from urllib.parse import parse_qs

import numpy as np
import orjson

from image_transformer.codecs.overlay import data_url, overlay
from image_transformer.codecs.predict import prediction
from image_transformer.codecs.tensors import Explanation
from image_transformer.codecs.v2 import invalid

METHOD: Final = "rise"
_DIGITS: Final = 4  # behind the point, of the map: its standard error is hardly ever below 0.001


def explain_of(query: str) -> str:
    """Returns what a query says as `explain`; `false` where it says nothing."""
    return parse_qs(query, keep_blank_values=True).get("explain", ["false"])[-1]


def check_explain(query: str) -> None:
    """Raises ServiceError when what a query says as `explain` is not `true`."""
    if (said := explain_of(query)) != "true":
        raise invalid(f"The query's `explain` is {said[:40]!r}; write explain=true, or leave it out.")


def explained_prediction(explanation: Explanation) -> bytes:
    """Writes /predict's body as it is without an explanation, and the key `explanation` behind it."""
    plain = prediction(explanation.answer, many=False)
    return plain[:-1] + b',"explanation":' + _dumps(_content(explanation)) + b"}"


def v1_explanation(key: str, explanation: Explanation) -> bytes:
    """Writes v1's answer to `:explain`, of one image, by the key that the request asks for."""
    probs = np.ascontiguousarray(explanation.answer.probs)
    return _dumps({key: probs, "explanations": [_content(explanation)]})


def _content(explanation: Explanation) -> dict[str, Any]:
    answer = explanation.answer
    return {
        "class_id": explanation.class_id,
        "class_name": answer.contract.classes[explanation.class_id],
        "version": answer.version,
        "method": METHOD,
        "masks": explanation.masks,
        "standard_error": round(explanation.error, _DIGITS),
        "map": np.round(explanation.map, _DIGITS),
        "overlay": data_url(overlay(explanation.map, explanation.error)),
    }


def _dumps(content: object) -> bytes:
    return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
