"""The network's pass in training: the same layers, with normalization, ReLU and pooling done in one sweep.

On two CPU cores a third of a training step went into those three layers (max-pooling's gradient most of
all); as one compiled function with a gradient of its own they cost a fifth of that.
`tests/model/test_forward.py` holds the two passes equal: values, gradients and moving statistics.
"""

import functools
from typing import TYPE_CHECKING, Any

from model.network import CHANNELS

if TYPE_CHECKING:
    import keras


def training_logits(
    network: "keras.Model", images: Any, *, dropout_block: float, dropout_hidden: float, seed: Any
) -> Any:
    """Compute logits as `network(images, training=True)` does, moving statistics included.

    Args:
        network: From `build_network`.
        images: uint8 tensor `[N, 32, 32, 3]`.
        dropout_block: Share of a block's outputs that is dropped.
        dropout_hidden: Share of the hidden layer's.
        seed: int32 tensor `[2]`; the same seed drops the same outputs.

    Returns:
        float32 tensor `[N, 5]`.
    """
    import tensorflow as tf

    layer = network.get_layer
    x = layer("filters")(layer("scaling")(images))
    for block in range(1, len(CHANNELS) + 1):
        x = _norm_relu_pool(layer(f"conv{block}")(x), layer(f"norm{block}"))
        x = dropout(x, dropout_block, seed + tf.constant([block, 0]))
    x = layer("relu_hidden")(layer("hidden")(layer("flatten")(x)))
    return layer("logits")(dropout(x, dropout_hidden, seed))


def dropout(x: Any, rate: float, seed: Any) -> Any:
    """Set a share of `x` to zero and scale the rest, so that its mean stays.

    One random byte a value decides (four times cheaper than a float), so `rate` is rounded to 1/256.
    """
    import tensorflow as tf

    threshold = round(rate * 256)
    if not threshold:
        return x
    size = tf.size(x)
    words = tf.random.stateless_uniform([(size + 3) // 4], seed, None, None, tf.uint32)
    thrown = tf.reshape(tf.reshape(tf.bitcast(words, tf.uint8), [-1])[:size], tf.shape(x))
    return x * tf.cast(thrown >= threshold, x.dtype) * (256 / (256 - threshold))


def _norm_relu_pool(x: Any, norm: "keras.layers.BatchNormalization") -> Any:
    """BatchNormalization, ReLU, 2×2 max-pooling; moves the layer's statistics."""
    import tensorflow as tf

    y, mean, variance = _fused()(tf.cast(x, tf.float32), norm.gamma.value, norm.beta.value, norm.epsilon)
    for moving, batch in ((norm.moving_mean, mean), (norm.moving_variance, variance)):
        moving.assign(moving.value * norm.momentum + batch * (1 - norm.momentum))
    return tf.cast(y, x.dtype)


@functools.cache
def _fused() -> Any:
    """Compile the function below; late, because TensorFlow takes seconds to import."""
    import tensorflow as tf

    # On a GPU these sweeps cost little, and XLA needs files that pip's CUDA packages do not always show it.
    on_cpu = not tf.config.list_physical_devices("GPU")
    return tf.function(_norm_relu_pool_math, jit_compile=on_cpu, autograph=False)


def _norm_relu_pool_math(x: Any, gamma: Any, beta: Any, epsilon: float) -> tuple[Any, Any, Any]:
    """Return the pooled output and the batch's mean and variance.

    Normalization keeps the order of values where gamma is positive and reverses it where it is negative,
    and ReLU keeps it too, so the largest of four outputs comes from the largest (or smallest) of four
    inputs: pool first, then normalize a quarter of the values. The gradient is normalization's (Ioffe &
    Szegedy 2015), with what arrives at a pooled value going back to where it came from.
    """
    import tensorflow as tf

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def run(x: Any, gamma: Any, beta: Any) -> tuple[Any, Any]:
        batch, height, width, channels = x.shape
        count = float(batch * height * width)
        mean = tf.reduce_mean(x, [0, 1, 2])
        variance = tf.reduce_mean(tf.square(x), [0, 1, 2]) - tf.square(mean)
        inverse = tf.math.rsqrt(variance + epsilon)
        ordered = tf.reshape(x, [batch, height // 2, 2, width // 2, 2, channels]) * tf.where(
            gamma < 0, -1.0, 1.0
        )
        best = tf.reduce_max(ordered, [2, 4])
        normal = (best * tf.where(gamma < 0, -1.0, 1.0) - mean) * inverse
        y = tf.nn.relu(normal * gamma + beta)

        def gradient(dy: Any, *_: Any) -> tuple[Any, Any, Any]:
            d = tf.where(y > 0, dy, 0.0)
            d_beta = tf.reduce_sum(d, [0, 1, 2])
            d_gamma = tf.reduce_sum(d * normal, [0, 1, 2])
            here = ordered == best[:, :, None, :, None, :]
            arrives = tf.reshape(tf.where(here, d[:, :, None, :, None, :], 0.0), x.shape)
            constant = (d_beta - mean * inverse * d_gamma) / count
            slope = inverse * d_gamma / count
            return (arrives - constant - x * slope) * (gamma * inverse), d_gamma, d_beta

        return (y, mean, variance), gradient

    pooled: tuple[Any, Any, Any] = run(x, gamma, beta)
    return pooled
