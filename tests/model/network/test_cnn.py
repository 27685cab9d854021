import numpy as np
import pytest

from model.contract import SIZES, Contract
from model.network.cnn import (
    LAST_SIDE,
    block_channels,
    build_network,
    classifier,
    images_at_a_time,
    probabilities,
)
from model.report.evaluate import softmax

pytestmark = pytest.mark.slow

# Name, shape, first value and mean absolute value of each weight that seed 0 begins with. No digest: another
# CPU may draw normal values that differ in the last bit.
WEIGHTS = (
    ("filters/kernel", (3, 3, 3, 4), 0.0, 0.75),
    ("conv1/kernel", (3, 3, 12, 32), 0.219643, 0.112343),
    ("norm1/gamma", (32,), 1.0, 1.0),
    ("norm1/beta", (32,), 0.0, 0.0),
    ("norm1/moving_mean", (32,), 0.0, 0.0),
    ("norm1/moving_variance", (32,), 1.0, 1.0),
    ("conv2/kernel", (3, 3, 32, 64), 0.042545, 0.068221),
    ("norm2/gamma", (64,), 1.0, 1.0),
    ("norm2/beta", (64,), 0.0, 0.0),
    ("norm2/moving_mean", (64,), 0.0, 0.0),
    ("norm2/moving_variance", (64,), 1.0, 1.0),
    ("conv3/kernel", (3, 3, 64, 128), -0.097286, 0.048488),
    ("norm3/gamma", (128,), 1.0, 1.0),
    ("norm3/beta", (128,), 0.0, 0.0),
    ("norm3/moving_mean", (128,), 0.0, 0.0),
    ("norm3/moving_variance", (128,), 1.0, 1.0),
    ("hidden/kernel", (2048, 512), 0.041573, 0.025712),
    ("hidden/bias", (512,), 0.0, 0.0),
    ("logits/kernel", (512, 5), -0.040894, 0.054369),
    ("logits/bias", (5,), 0.0, 0.0),
)
IMAGES = np.random.default_rng(0).integers(0, 256, (7, 32, 32, 3), np.uint8)


def test_the_layers_are_the_missions_in_their_order() -> None:
    kinds = [type(layer).__name__ for layer in build_network(0).layers]
    block = ["Conv2D", "BatchNormalization", "ReLU", "MaxPooling2D", "Dropout"]
    head = ["Flatten", "Dense", "ReLU", "Dropout", "Dense"]
    assert kinds == ["InputLayer", "Rescaling", "DepthwiseConv2D", *block * 3, *head]
    network = build_network(0)
    assert [network.get_layer(f"conv{n}").filters for n in (1, 2, 3)] == [32, 64, 128]
    assert [network.get_layer(f"dropout{n}").rate for n in (1, 2, 3)] == [0.3] * 3
    assert (network.get_layer("hidden").units, network.get_layer("dropout_hidden").rate) == (512, 0.5)


def test_the_default_network_begins_with_the_weights_that_it_always_had() -> None:
    network = build_network(0)
    assert network.name == "cnn"
    found = [(variable.path, np.asarray(variable)) for variable in network.weights]
    assert [(name, value.shape) for name, value in found] == [(name, shape) for name, shape, *_ in WEIGHTS]
    for (name, value), (*_, first, mean) in zip(found, WEIGHTS, strict=True):
        assert value.flat[0] == pytest.approx(first, abs=2e-6), name
        assert np.abs(value).mean() == pytest.approx(mean, abs=2e-6), name


@pytest.mark.parametrize("size", SIZES)
def test_further_blocks_keep_the_hidden_layer_small_at_any_size(size: int) -> None:
    contract = Contract(classes=tuple(f"class {number}" for number in range(7)), size=size)
    network = build_network(0, contract)
    assert network.input.shape == (None, size, size, 3)
    assert network.output.shape == (None, 7)
    blocks = block_channels(size)
    sides = [int(network.get_layer(f"relu{block}").output.shape[1]) for block in range(1, len(blocks) + 1)]
    assert all(side % 2 == 0 for side in sides), "pooling halves an even side alone"
    assert 4 <= sides[-1] // 2 <= LAST_SIDE
    assert network.count_params() < 3.7e6
    assert images_at_a_time(size) * size**2 <= 500 * 32**2


def test_a_thousand_classes_have_a_probability_each() -> None:
    contract = Contract(classes=tuple(f"class {number}" for number in range(1000)), size=48)
    images = np.random.default_rng(1).integers(0, 256, (3, 48, 48, 3), np.uint8)
    probs = classifier(build_network(1, contract), 1.0, contract)(images)
    assert probs.shape == (3, 1000)
    assert probs.sum(axis=1) == pytest.approx(1, abs=1e-5)


def test_a_class_that_was_not_learned_has_probability_0_exactly() -> None:
    contract = Contract(classes=("a", "b", "c", "d"), unlearned=(0, 2))
    network = build_network(4, contract)
    logits = network(IMAGES).numpy()
    assert set(logits.argmax(axis=1)) & {0, 2}, "the mask would have nothing to do"
    for temperature in (0.05, 1.3, 20.0):
        probs = classifier(network, temperature, contract)(IMAGES)
        assert (probs[:, [0, 2]] == 0).all()
        np.testing.assert_allclose(probs[:, [1, 3]], softmax(logits[:, [1, 3]], temperature), atol=1e-6)


def test_pixels_go_in_and_logits_come_out() -> None:
    network = build_network(0)
    assert (network.input.dtype, network.input.shape) == ("uint8", (None, 32, 32, 3))
    logits = network(IMAGES).numpy()
    assert (logits.dtype, logits.shape) == (np.float32, (7, 5))


def test_the_seed_decides_the_weights() -> None:
    first, again, other = (build_network(seed).get_weights() for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert any(not np.array_equal(a, b) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_served_model_divides_by_the_temperature(temperature: float) -> None:
    network = build_network(4)
    expected = softmax(network(IMAGES).numpy(), temperature)
    served = probabilities(network, temperature)
    assert served.output_names == ["probs"]
    np.testing.assert_allclose(served(IMAGES), expected, atol=1e-6)
    classify = classifier(network, temperature)
    many = np.tile(IMAGES, (80, 1, 1, 1))  # more than one batch, and not a multiple of it
    np.testing.assert_allclose(classify(many), np.tile(expected, (80, 1)), atol=1e-6)
