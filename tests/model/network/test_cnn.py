import numpy as np
import pytest

from model.network.cnn import build_network, classifier, probabilities
from model.report.evaluate import softmax

pytestmark = pytest.mark.slow

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
