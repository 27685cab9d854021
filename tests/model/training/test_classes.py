"""Which classes are learned, and how much an image of each counts."""

from dataclasses import replace

import numpy as np
import pytest

from model.contract import CLASSES, DEFAULT_CONTRACT, Contract, ContractError
from model.data.dataset import Dataset, Split
from model.training.classes import WEIGHT_LIMIT, class_weights, contract_of, smoothed


def dataset(labels: list[int], classes: tuple[str, ...], size: int = 48) -> Dataset:
    split = Split(np.zeros((len(labels), size, size, 3), np.uint8), np.asarray(labels, np.int64), classes)
    return Dataset(split, split, split, "somewhere", "images", fit="crop")


def test_the_default_data_has_the_default_contract(easy: Dataset) -> None:
    assert contract_of(easy) == DEFAULT_CONTRACT


def test_a_class_without_a_training_image_is_not_learned() -> None:
    classes = ("a", "b", "c", "d")
    assert contract_of(dataset([0, 2, 2, 0], classes), "birds") == Contract(
        classes=classes, size=48, fit="crop", unlearned=(1, 3), model="birds"
    )
    with pytest.raises(ContractError, match="nothing to tell apart"):
        contract_of(dataset([1, 1], classes))


def test_smoothing_leaves_out_what_is_not_learned() -> None:
    contract = Contract(classes=("a", "b", "c", "d"), unlearned=(1,))
    table = smoothed(np.eye(4, dtype=np.float32), 0.3, contract)
    np.testing.assert_allclose(table[0], [0.8, 0, 0.1, 0.1], atol=1e-6)
    assert table[[0, 2, 3]].sum(axis=1) == pytest.approx(1)
    plain = smoothed(np.eye(5, dtype=np.float32), 0.05, DEFAULT_CONTRACT)
    assert plain[0] == pytest.approx([0.96, 0.01, 0.01, 0.01, 0.01])


def test_weights_are_one_in_the_mean_and_bounded() -> None:
    counts = np.asarray([1000, 250, 1, 0], np.int64)
    assert class_weights(counts, 0.0).tolist() == [1, 1, 1, 1]
    weights = class_weights(counts, 0.5)
    assert (weights * counts).sum() / counts.sum() == pytest.approx(1)
    assert weights[1] / weights[0] == pytest.approx(2)
    assert weights[2] / weights[0] == pytest.approx(WEIGHT_LIMIT)


def test_classes_of_the_data_go_into_the_contract(easy: Dataset) -> None:
    named = replace(easy, train=replace(easy.train, classes=tuple(name.upper() for name in CLASSES)))
    assert contract_of(named).classes == tuple(name.upper() for name in CLASSES)
