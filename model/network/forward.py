"""The network's pass in training: the same values, everything around the convolutions done in few sweeps.

On two CPU cores half of a training step went into the filter bank, normalization, ReLU and pooling, which
compute little and read much. Here three sums stand for the four filters, and normalization, ReLU and pooling
are one compiled function with a gradient of its own. `python -m benchmarks.training --profile-only` shows
what a step is made of; `tests/model/network/test_forward.py` holds the two passes equal: values,
gradients and moving statistics.
"""

import functools
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from model.contract import FILTER_BANK
from model.network.cnn import block_channels
from model.network.filters import KERNELS

if TYPE_CHECKING:
    import keras

# Image, image minus the mean of nine, image minus the mean of the five in a cross. Differences, because a sum
# and what is taken off it again would lose digits in bfloat16.
_IDENTITY = np.pad(np.ones((1, 1)), 1)
_BASIS: Final = np.stack(
    [
        _IDENTITY,
        _IDENTITY - np.ones((3, 3)) / 9,
        _IDENTITY - np.asarray([[0, 1, 0], [1, 1, 1], [0, 1, 0]]) / 5,
    ]
)


def training_logits(
    network: "keras.Model", images: Any, *, dropout_block: float, dropout_hidden: float, seed: Any
) -> Any:
    """Compute logits as `network(images, training=True)` does, moving statistics included.

    Args:
        network: From `build_network`.
        images: uint8 or float32 tensor `[N, S, S, 3]` of pixels 0 to 255; N and S are known while tracing.
        dropout_block: Share of a block's outputs that is dropped.
        dropout_hidden: Share of the hidden layer's.
        seed: int32 tensor `[2]`; the same seed drops the same outputs.

    Returns:
        float32 tensor `[N, C]`.
    """
    import tensorflow as tf

    layer = network.get_layer
    x = first_convolution(images, layer("conv1"))
    for block in range(1, len(block_channels(images.shape[1])) + 1):
        if block > 1:
            x = layer(f"conv{block}")(x)
        x = norm_relu_pool(x, layer(f"norm{block}"))
        x = dropout(x, dropout_block, seed + tf.constant([block, 0]))
    x = layer("relu_hidden")(layer("hidden")(layer("flatten")(x)))
    return layer("logits")(dropout(x, dropout_hidden, seed))


def first_convolution(images: Any, conv: "keras.layers.Conv2D") -> Any:
    """Scaling, filters and the first convolution: `[N, S, S, channels]`.

    The filters are sums of three (`_BASIS`), and a convolution is linear: its kernel moves over to those
    three, so that it sees 9 channels instead of 12 and nobody computes the filters.
    """
    import tensorflow as tf

    kernel = conv.kernel.value
    by_filter = tf.reshape(kernel, [3, 3, 3, len(FILTER_BANK), -1])
    by_basis = tf.reshape(tf.einsum("bf,yxcfo->yxbco", _filters_by_basis(), by_filter), [3, 3, 9, -1])
    dtype = conv.compute_dtype
    return tf.nn.conv2d(_compiled(_basis)(images, dtype), tf.cast(by_basis, dtype), 1, "SAME")


def _filters_by_basis() -> Any:
    """Return float32 `[3, filters]`: how much of each basis kernel a filter is."""
    filters = np.stack([KERNELS[name].ravel() for name in FILTER_BANK], axis=1)
    shares, residuals, _, _ = np.linalg.lstsq(_BASIS.reshape(3, 9).T, filters)
    if residuals.max(initial=0.0) > 1e-9:
        raise AssertionError("A filter is no sum of the basis; give it one that it is.")
    return shares.astype(np.float32)


def _basis(images: Any, dtype: str) -> Any:
    """Filter by each of `_BASIS`, zeros outside the image: `[N, S, S, 9]` of `dtype`."""
    import tensorflow as tf

    image = tf.cast(images, tf.float32) / 255
    bordered = tf.pad(image, [[0, 0], [1, 1], [1, 1], [0, 0]])
    columns = bordered[:, :-2] + bordered[:, 1:-1] + bordered[:, 2:]
    square = columns[:, :, :-2] + columns[:, :, 1:-1] + columns[:, :, 2:]
    cross = columns[:, :, 1:-1] + bordered[:, 1:-1, :-2] + bordered[:, 1:-1, 2:]
    return tf.cast(tf.concat([image, image - square / 9, image - cross / 5], axis=-1), dtype)


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


def norm_relu_pool(x: Any, norm: "keras.layers.BatchNormalization") -> Any:
    """BatchNormalization, ReLU, 2×2 max-pooling; moves the layer's statistics."""
    return _normalized(_norm_relu_pool_math, x, norm)


def norm_relu(x: Any, norm: "keras.layers.BatchNormalization") -> Any:
    """BatchNormalization and ReLU; moves the layer's statistics."""
    return _normalized(_norm_relu_math, x, norm)


def _normalized(function: Any, x: Any, norm: "keras.layers.BatchNormalization") -> Any:
    """Run a function that returns its output and the batch's statistics, and move the layer's by those."""
    y, mean, variance = _compiled(function)(x, norm.gamma.value, norm.beta.value, norm.epsilon)
    for moving, batch in ((norm.moving_mean, mean), (norm.moving_variance, variance)):
        moving.assign(moving.value * norm.momentum + batch * (1 - norm.momentum))
    return y


def compile_sweep(function: Any) -> Any:
    """Compile a function that reads much and computes little, so that it reads everything once."""
    import tensorflow as tf

    # On a GPU these sweeps cost little, and XLA needs files that pip's CUDA packages do not always show it.
    on_cpu = not tf.config.list_physical_devices("GPU")
    return tf.function(function, jit_compile=on_cpu, autograph=False)


# Functions of this module are compiled late, because TensorFlow takes seconds to import, and once.
_compiled: Final = functools.cache(compile_sweep)


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
        pooled_shape = [batch, height // 2, width // 2, channels]
        # Four slices are added and compared value by value; a reduction over their axis takes thrice as long.
        quads = tf.reshape(x, [batch * height // 2, 2, width // 2, 2, channels])
        one, two, three, four = (quads[:, row, :, column] for row in (0, 1) for column in (0, 1))
        mean = tf.reduce_sum(one + two + three + four, [0, 1]) / count
        squares = one * one + two * two + three * three + four * four
        variance = tf.reduce_sum(squares, [0, 1]) / count - tf.square(mean)
        inverse = tf.math.rsqrt(variance + epsilon)
        smallest = tf.minimum(tf.minimum(one, two), tf.minimum(three, four))
        largest = tf.maximum(tf.maximum(one, two), tf.maximum(three, four))
        best = tf.where(gamma < 0, smallest, largest)
        y = tf.nn.relu((best - mean) * inverse * gamma + beta)

        def gradient(dy: Any, *_: Any) -> tuple[Any, Any, Any]:
            normal = (best - mean) * inverse
            d = tf.where(normal * gamma + beta > 0, tf.reshape(dy, best.shape), 0.0)
            d_beta = tf.reduce_sum(d, [0, 1])
            d_gamma = tf.reduce_sum(d * normal, [0, 1])
            scale = gamma * inverse
            slope = scale * inverse * d_gamma / count
            constant = scale * d_beta / count - mean * slope
            arrives = tf.where(quads == best[:, None, :, None], (d * scale)[:, None, :, None], 0.0)
            return tf.reshape(arrives - constant - quads * slope, x.shape), d_gamma, d_beta

        return (tf.reshape(y, pooled_shape), mean, variance), gradient

    pooled, mean, variance = run(tf.cast(x, tf.float32), gamma, beta)
    return tf.cast(pooled, x.dtype), mean, variance


def _norm_relu_math(x: Any, gamma: Any, beta: Any, epsilon: float) -> tuple[Any, Any, Any]:
    """As `_norm_relu_pool_math`, without pooling."""
    import tensorflow as tf

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def run(x: Any, gamma: Any, beta: Any) -> tuple[Any, Any]:
        batch, height, width, channels = x.shape
        count = float(batch * height * width)
        lines = tf.reshape(x, [batch * height, width, channels])
        mean = tf.reduce_sum(lines, [0, 1]) / count
        variance = tf.reduce_sum(lines * lines, [0, 1]) / count - tf.square(mean)
        inverse = tf.math.rsqrt(variance + epsilon)
        y = tf.nn.relu((lines - mean) * inverse * gamma + beta)

        def gradient(dy: Any, *_: Any) -> tuple[Any, Any, Any]:
            normal = (lines - mean) * inverse
            d = tf.where(normal * gamma + beta > 0, tf.reshape(dy, lines.shape), 0.0)
            d_beta = tf.reduce_sum(d, [0, 1])
            d_gamma = tf.reduce_sum(d * normal, [0, 1])
            arrives = (d - d_beta / count - normal * d_gamma / count) * (gamma * inverse)
            return tf.reshape(arrives, x.shape), d_gamma, d_beta

        return (tf.reshape(y, x.shape), mean, variance), gradient

    normalized, mean, variance = run(tf.cast(x, tf.float32), gamma, beta)
    return tf.cast(normalized, x.dtype), mean, variance
