import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from image_transformer.codecs.outputs import Asked, check_output, check_top, once, tensor
from image_transformer.codecs.tensors import Probabilities
from model.contract import DEFAULT_CONTRACT

PROBS = np.array([[0.1, 0.2, 0.3, 0.15, 0.25], [1, 0, 0, 0, 0]], np.float32)
RESULT = Probabilities(PROBS, "7")


def test_the_probabilities_are_handed_on_as_they_are() -> None:
    made = tensor(Asked(), RESULT)
    assert made[:3] == ("probs", "FP32", (2, 5))
    assert made.values is PROBS
    assert made.raw() == PROBS.tobytes()


def test_classification_is_tritons() -> None:
    made = tensor(Asked(top=3), RESULT)
    assert made[:3] == ("probs", "BYTES", (2, 3))
    assert made.values == [
        *("0.300000:2:bird", "0.250000:4:dog", "0.200000:1:automobile"),
        *("1.000000:0:airplane", "0.000000:1:automobile", "0.000000:2:bird"),
    ]
    assert made.raw()[:19] == b"\x0f\x00\x00\x000.300000:2:bird"


def test_no_more_classes_than_there_are() -> None:
    assert tensor(Asked(top=9), RESULT).shape == (2, 5)


def test_the_versions_own_names() -> None:
    names = dataclasses.replace(DEFAULT_CONTRACT, classes=("a", "b", "Löwe, a:b", "d", "e"))
    result = Probabilities(PROBS, "7", names)
    assert tensor(Asked(top=1), result).values == ["0.300000:2:Löwe, a:b", "1.000000:0:a"]
    made = tensor(Asked("class_name"), result)
    assert made == ("class_name", "BYTES", (2,), ["Löwe, a:b", "a"])
    assert made.raw() == b"\x0a\x00\x00\x00" + "Löwe, a:b".encode() + b"\x01\x00\x00\x00a"


def test_the_best_class_and_how_sure_it_is() -> None:
    ids, confidence = tensor(Asked("class_id"), RESULT), tensor(Asked("confidence"), RESULT)
    assert ids[:3] == ("class_id", "INT64", (2,))
    assert ids.raw() == np.array([2, 0], "<i8").tobytes()
    assert confidence[:3] == ("confidence", "FP32", (2,))
    assert confidence.raw() == np.array([0.3, 1], "<f4").tobytes()


@pytest.mark.parametrize("name", ["logits", "", None, 5, ["probs"]])
def test_another_output(name: Any, failure: Callable[[str], Any]) -> None:
    with failure("invalid_request"):
        check_output(name)


def test_an_output_twice(failure: Callable[[str], Any]) -> None:
    assert once([Asked(), Asked("class_id")]) == (Asked(), Asked("class_id"))
    with failure("invalid_request"):
        once([Asked(), Asked("class_id"), Asked(top=1)])


def test_how_many_classes(failure: Callable[[str], Any]) -> None:
    assert (check_top("probs", 0), check_top("probs", 3)) == (0, 3)
    with failure("invalid_request"):
        check_top("probs", None)
