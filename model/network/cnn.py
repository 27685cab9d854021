"""The network that is served: filters, three convolution blocks, one hidden layer, five classes."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from model.contract import CLASSES, IMAGE_SHAPE, INPUT_NAME, OUTPUT_NAME
from model.network.filters import filter_layers

if TYPE_CHECKING:
    import keras

CHANNELS = (32, 64, 128)
HIDDEN_UNITS = 512
DROPOUT_BLOCK, DROPOUT_HIDDEN = 0.3, 0.5

Classify = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
_BATCH = 500  # images at a time: enough to keep the cores busy, little memory


def build_network(seed: int) -> "keras.Model":
    """Return the untrained network, the same weights for the same seed.

    Input `image`, uint8 `[N, 32, 32, 3]`; output `logits`, float32 `[N, 5]`. Scaling and filters are
    inside. The layers compute in the global dtype policy, so that a GPU may train them in mixed precision.
    """
    import keras

    keras.utils.set_random_seed(seed)
    image = keras.Input(IMAGE_SHAPE, dtype="uint8", name=INPUT_NAME)
    x = filter_layers(image)
    for block, channels in enumerate(CHANNELS, start=1):
        # No bias before a BatchNormalization, which has its own. In this order an exporter folds it into
        # the Conv.
        x = keras.layers.Conv2D(
            channels, 3, padding="same", use_bias=False, kernel_initializer="he_normal", name=f"conv{block}"
        )(x)
        x = keras.layers.BatchNormalization(momentum=0.9, name=f"norm{block}")(x)
        x = keras.layers.ReLU(name=f"relu{block}")(x)
        x = keras.layers.MaxPooling2D(name=f"pool{block}")(x)
        x = keras.layers.Dropout(DROPOUT_BLOCK, seed=seed + block, name=f"dropout{block}")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    x = keras.layers.Dense(HIDDEN_UNITS, kernel_initializer="he_normal", name="hidden")(x)
    x = keras.layers.ReLU(name="relu_hidden")(x)
    x = keras.layers.Dropout(DROPOUT_HIDDEN, seed=seed, name="dropout_hidden")(x)
    logits = keras.layers.Dense(len(CLASSES), dtype="float32", name="logits")(x)
    return keras.Model(image, logits, name="cnn")


def probabilities(network: "keras.Model", temperature: float) -> "keras.Model":
    """Return the model that is served: `network`, its logits divided by `temperature`, softmax.

    Input `image`, uint8 `[N, 32, 32, 3]`; output `probs`, float32 `[N, 5]`.
    """
    import keras

    image = keras.Input(IMAGE_SHAPE, dtype="uint8", name=INPUT_NAME)
    calibrated = keras.layers.Rescaling(1 / temperature, name="calibration")(network(image))
    return keras.Model(image, keras.layers.Softmax(name=OUTPUT_NAME)(calibrated), name="classifier")


def classifier(network: "keras.Model", temperature: float) -> Classify:
    """Return the served model as a function of arrays, compiled once.

    It takes any number of images, uint8 `[N, 32, 32, 3]`, and returns probabilities, float32 `[N, 5]`.
    """
    import tensorflow as tf

    model = probabilities(network, temperature)
    graph = tf.function(
        lambda batch: model(batch, training=False),
        input_signature=[tf.TensorSpec((None, *IMAGE_SHAPE), tf.uint8)],
    )

    def classify(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        parts = [graph(images[row : row + _BATCH]).numpy() for row in range(0, len(images), _BATCH)]
        return np.concatenate(parts)

    return classify
