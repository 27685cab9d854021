"""Gradient maps of networks whose answers can be told by hand."""

from typing import Any

import numpy as np
import pytest

from model.contract import Contract
from model.report.reasons.gradients import class_maps

pytestmark = pytest.mark.slow  # brings TensorFlow


def corners() -> Any:
    """Class 0 is red in the upper left, class 1 red in the lower right; each also what the other is not."""
    import keras

    image = keras.Input((32, 32, 3), dtype="uint8")
    x = keras.layers.Rescaling(1 / 255, name="scaling")(image)
    x = keras.layers.Conv2D(1, 1, use_bias=False, name="red")(x)
    x = keras.layers.Flatten()(x)
    network = keras.Model(image, keras.layers.Dense(2, use_bias=False, name="logits")(x))
    network.get_layer("red").set_weights([np.array([1.0, 0, 0]).reshape(1, 1, 3, 1)])
    weights = np.zeros((32, 32, 2))
    weights[:8, :8] = 1, -1
    weights[-8:, -8:] = -1, 1
    network.get_layer("logits").set_weights([weights.reshape(-1, 2)])
    return network


def test_a_map_is_where_the_class_comes_from() -> None:
    images = np.zeros((3, 32, 32, 3), np.uint8)
    images[:, :8, :8, 0] = 255
    images[:, -8:, -8:, 0] = 51
    images[:, :, :, 1] = 200  # green, which says nothing
    maps = class_maps(corners(), images, np.array([0, 1, 0]))
    mean = (64 * 255 + 64 * 51) / 255 / 1024  # of red
    expected = np.zeros((32, 32))
    expected[:8, :8], expected[-8:, -8:] = 1 - mean, -(0.2 - mean)
    inside = np.ones((32, 32), bool)  # where all neighbours are as the place itself
    inside[7:9, :9] = inside[:9, 7:9] = inside[-9:-7, -9:] = inside[-9:, -9:-7] = False
    np.testing.assert_allclose(maps[0][inside], expected[inside], atol=1e-6)
    np.testing.assert_allclose(maps[1], -maps[0], atol=1e-6)
    np.testing.assert_allclose(maps[2], maps[0], atol=1e-6)
    assert maps[0, 7, 4] == pytest.approx((1 - mean) * 6 / 9, abs=1e-6)  # of nine places three are outside


def test_a_map_adds_up_to_what_the_logit_gains_from_one_colour_on() -> None:
    from model.network.cnn import build_network

    contract = Contract(tuple("abcde"))
    network = build_network(0, contract)
    image = np.zeros((1, 32, 32, 3), np.uint8)
    image[:, 8:24, 8:24] = 250, 120, 60  # so that nothing is lost at the edge
    image[:, 10:20, 10:20] = 30, 90, 200
    flat = image.mean(axis=(1, 2), keepdims=True) / 255
    rest = _behind_scaling(network)
    gained = rest(image / 255).numpy() - rest(np.broadcast_to(flat, image.shape)).numpy()
    for class_id in range(5):
        total = class_maps(network, image, np.array([class_id])).sum()
        assert total == pytest.approx(float(gained[0, class_id]), abs=0.05 * float(np.abs(gained).max()))


def _behind_scaling(network: Any) -> Any:
    import keras

    return keras.Model(network.get_layer("scaling").output, network.output)


@pytest.mark.parametrize(
    ("network", "size", "classes"), [("cnn", 32, 5), ("cnn", 96, 7), ("efficientnet-lite0", 96, 3)]
)
def test_every_network_and_size_has_maps(network: Any, size: int, classes: int) -> None:
    from model.network import cnn, efficientnet_lite

    names = tuple(map(str, range(classes)))
    filters = ("smoothing", "edge_detection", "sharpness") if network == "cnn" else ()
    contract = Contract(names, size, network=network, filters=filters)
    build = cnn.build_network if network == "cnn" else efficientnet_lite.build_network
    images = np.random.default_rng(0).integers(0, 256, (2, size, size, 3), np.uint8)
    built = build(0, contract)
    maps = class_maps(built, images, np.array([0, classes - 1]))
    assert maps.shape == (2, size, size)
    assert np.isfinite(maps).all()
    assert maps.std(axis=(1, 2)).min() > 0
    other = class_maps(built, images, np.array([1, classes - 1]))
    # An untrained EfficientNet-Lite's numbers are tiny.
    assert not np.allclose(maps[0], other[0], atol=0)
    np.testing.assert_allclose(maps[1], other[1], rtol=1e-3, atol=0.001 * np.abs(maps[1]).max())
