"""The network that is served: filters, convolution blocks that halve the image, one hidden layer, classes.

At 32 pixels there are three blocks, the original's; larger images get further ones of 128 channels, until
the side is `LAST_SIDE` or less. So the hidden layer, which holds most weights, stays as large as it is.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from model.contract import DEFAULT_CONTRACT, IMAGE_SIZE, INPUT_NAME, OUTPUT_NAME, Contract
from model.data.images import Images
from model.network.filters import filter_layers

if TYPE_CHECKING:
    import keras

CHANNELS: Final = (32, 64, 128)
"""Of the first blocks; further ones have as many as the last."""

LAST_SIDE: Final = 7
"""No block follows where the side is this or less: 4 to 7, of `model.contract.SIZES`."""

HIDDEN_UNITS: Final = 512
DROPOUT_BLOCK: Final = 0.3
DROPOUT_HIDDEN: Final = 0.5

MASKED: Final = -1e9
"""Added to the logit of a class that was not learned: its probability becomes 0, exactly, in float32. Finite,
so that a target of 0 times it is 0 and not NaN."""

Classify = Callable[[Images], NDArray[np.float32]]
_PIXELS_AT_A_TIME: Final = 500 * IMAGE_SIZE**2  # enough to keep the cores busy, little memory


def block_channels(size: int) -> tuple[int, ...]:
    """Return the channels of each block for images of `size` pixels a side, one of `model.contract.SIZES`.

    Each block halves the side, which is even wherever one is.
    """
    blocks = 0
    while size > LAST_SIDE:
        blocks, size = blocks + 1, size // 2
    return (*CHANNELS, *CHANNELS[-1:] * (blocks - len(CHANNELS)))


def images_at_a_time(size: int) -> int:
    """How many images of `size` pixels a side are answered in one go."""
    return max(1, _PIXELS_AT_A_TIME // size**2)


def build_network(seed: int, contract: Contract = DEFAULT_CONTRACT) -> "keras.Model":
    """Return the untrained network, the same weights for the same seed.

    Input `image`, uint8 `[N, S, S, 3]` with `S` the contract's size; output `logits`, float32 `[N, C]`, one
    for each of its classes, learned or not. Scaling and filters are inside. The layers compute in the global
    dtype policy, so that a GPU may train them in mixed precision.
    """
    import keras

    keras.utils.set_random_seed(seed)
    image = keras.Input(contract.image_shape, dtype="uint8", name=INPUT_NAME)
    x = filter_layers(image)
    for block, channels in enumerate(block_channels(contract.size), start=1):
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
    logits = keras.layers.Dense(len(contract.classes), dtype="float32", name="logits")(x)
    return keras.Model(image, logits, name="cnn")


def unlearned_mask(contract: Contract) -> NDArray[np.float32]:
    """Return what is added to logits, float32 `[C]`: `MASKED` for classes that are not learned, else 0."""
    mask = np.zeros(len(contract.classes), np.float32)
    mask[list(contract.unlearned)] = MASKED
    return mask


def probabilities(
    network: "keras.Model", temperature: float, contract: Contract = DEFAULT_CONTRACT
) -> "keras.Model":
    """Return the model that is served: `network`, its logits divided by `temperature`, softmax.

    Classes that were not learned are masked after the network's last layer, which int8 leaves in float: their
    probability is exactly 0.

    Input `image`, uint8 `[N, S, S, 3]`; output `probs`, float32 `[N, C]`.
    """
    import keras

    image = keras.Input(contract.image_shape, dtype="uint8", name=INPUT_NAME)
    offset = unlearned_mask(contract).tolist() if contract.unlearned else 0.0
    calibrated = keras.layers.Rescaling(1 / temperature, offset, name="calibration")(network(image))
    return keras.Model(image, keras.layers.Softmax(name=OUTPUT_NAME)(calibrated), name="classifier")


def classifier(network: "keras.Model", temperature: float, contract: Contract = DEFAULT_CONTRACT) -> Classify:
    """Return the served model as a function of arrays, compiled once.

    It takes any number of images, uint8 `[N, S, S, 3]`, those in a file too, and returns probabilities,
    float32 `[N, C]`.
    """
    import tensorflow as tf

    model = probabilities(network, temperature, contract)
    graph = tf.function(
        lambda batch: model(batch, training=False),
        input_signature=[tf.TensorSpec((None, *contract.image_shape), tf.uint8)],
    )
    batch = images_at_a_time(contract.size)

    def classify(images: Images) -> NDArray[np.float32]:
        parts = [graph(images[row : row + batch]).numpy() for row in range(0, len(images), batch)]
        return np.concatenate(parts)

    return classify
