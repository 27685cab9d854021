"""The pass that trains equals the network that is served."""

import numpy as np
import pytest

from model.contract import DEFAULT_CONTRACT, Contract
from model.network.cnn import block_channels, build_network
from tests.model.gradients import assert_same_gradients

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("contract", [DEFAULT_CONTRACT, Contract(tuple("abcdefg"), 64)])
def test_values_gradients_and_statistics_are_the_networks_own(contract: Contract) -> None:
    import tensorflow as tf

    from model.network.forward import training_logits

    rng = np.random.default_rng(3)
    images = tf.constant(rng.integers(0, 256, (16, *contract.image_shape), np.uint8))
    ours, theirs = build_network(1, contract), build_network(1, contract)
    blocks = range(1, len(block_channels(contract.size)) + 1)
    for network in (ours, theirs):
        for name in (*(f"dropout{block}" for block in blocks), "dropout_hidden"):
            network.get_layer(name).rate = 0.0
        for block in blocks:  # some channels turned round, as training may
            gamma = network.get_layer(f"norm{block}").gamma
            gamma.assign(np.where(np.arange(gamma.shape[0]) % 3, gamma, -0.5 * gamma))
    weights = rng.normal(size=(16, len(contract.classes))).astype(np.float32)

    def grads(network, logits):
        with tf.GradientTape() as tape:
            value = logits(network)
            loss = tf.reduce_sum(value * weights)
        return value, tape.gradient(loss, network.trainable_variables)

    got, got_grads = grads(
        ours,
        lambda n: training_logits(n, images, dropout_block=0, dropout_hidden=0, seed=tf.constant([1, 2])),
    )
    want, want_grads = grads(theirs, lambda n: n(images, training=True))
    np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-4)
    assert_same_gradients(ours, got_grads, want_grads)
    for mine, keras_own in zip(ours.weights, theirs.weights, strict=True):
        np.testing.assert_allclose(mine, keras_own, rtol=1e-3, atol=1e-5, err_msg=mine.path)


@pytest.mark.parametrize("rate", [0.0, 0.3, 0.5])
def test_dropout_drops_its_share_keeps_the_mean_and_follows_the_seed(rate: float) -> None:
    import tensorflow as tf

    from model.network.forward import dropout

    x = tf.ones([50, 7, 7, 33])
    first, again, other = (dropout(x, rate, tf.constant([5, seed])).numpy() for seed in (1, 1, 2))
    assert (first == 0).mean() == pytest.approx(rate, abs=0.01)
    assert first.mean() == pytest.approx(1, abs=0.02)
    assert np.array_equal(first, again)
    assert rate == 0 or not np.array_equal(first, other)
