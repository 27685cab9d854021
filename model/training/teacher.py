"""A larger network that is never served: its answers are what the served one learns from.

Knowledge distillation is by Hinton, Vinyals & Dean (2015). The answers to the training images are kept, so
one teacher serves any number of students on the same data.
"""

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from model.contract import CLASSES, IMAGE_SHAPE, INPUT_NAME
from model.network.filters import filter_layers
from model.network.forward import first_convolution, norm_relu, norm_relu_pool

if TYPE_CHECKING:
    import keras

# Channels of each convolution, and whether pooling follows: ten times the served network's multiplications.
_LAYERS: Final = (
    (64, True),
    (128, False),
    (128, True),
    (256, False),
    (256, True),
    (256, False),
    (256, False),
)
_BATCH: Final = 500
# Row and column at which a view is cut out of an image with a border of two pixels.
_CUTS: Final = ((1, 1), (3, 3))


def build_teacher(seed: int) -> "keras.Model":
    """Return the untrained teacher: uint8 `[N, 32, 32, 3]` → logits, float32 `[N, 5]`."""
    import keras

    keras.utils.set_random_seed(seed)
    image = keras.Input(IMAGE_SHAPE, dtype="uint8", name=INPUT_NAME)
    x = filter_layers(image)
    for number, (channels, pooled) in enumerate(_LAYERS, start=1):
        x = keras.layers.Conv2D(
            channels, 3, padding="same", use_bias=False, kernel_initializer="he_normal", name=f"conv{number}"
        )(x)
        x = keras.layers.BatchNormalization(momentum=0.9, name=f"norm{number}")(x)
        x = keras.layers.ReLU(name=f"relu{number}")(x)
        if pooled:
            x = keras.layers.MaxPooling2D(name=f"pool{number}")(x)
    x = keras.layers.GlobalMaxPooling2D(name="pool")(x)
    logits = keras.layers.Dense(len(CLASSES), dtype="float32", name="logits")(x)
    return keras.Model(image, logits, name="teacher")


def teacher_logits(network: "keras.Model", images: Any) -> Any:
    """Compute what `network(images, training=True)` does, in fewer sweeps; see `model.network.forward`."""
    layer = network.get_layer
    x = first_convolution(images, layer("conv1"))
    for number, (_, pooled) in enumerate(_LAYERS, start=1):
        if number > 1:
            x = layer(f"conv{number}")(x)
        x = (norm_relu_pool if pooled else norm_relu)(x, layer(f"norm{number}"))
    return layer("logits")(layer("pool")(x))


def answers(network: "keras.Model", images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The teacher's logits `[N, 5]`, the mean over views of each image: shifted a little, and mirrored.

    Args:
        network: A trained teacher.
        images: uint8 `[N, 32, 32, 3]`.
    """
    import tensorflow as tf

    logits = tf.function(
        lambda batch: network(batch, training=False),
        input_signature=[tf.TensorSpec((None, *IMAGE_SHAPE), tf.uint8)],
    )
    height, width, _ = IMAGE_SHAPE
    parts = []
    for first in range(0, len(images), _BATCH):
        bordered = np.pad(images[first : first + _BATCH], ((0, 0), (2, 2), (2, 2), (0, 0)))
        cut = [bordered[:, row : row + height, column : column + width] for row, column in _CUTS]
        views = [view for each in cut for view in (each, each[:, :, ::-1])]
        parts.append(np.mean([logits(view).numpy() for view in views], axis=0))
    return np.concatenate(parts)
