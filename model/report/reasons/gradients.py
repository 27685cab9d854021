"""Which parts of a picture speak for a class, by the network's own gradients: a look at a training's answers.

Integrated gradients (Sundararajan, Taly, Yan: Axiomatic attribution for deep networks, ICML 2017,
arXiv:1703.01365), on the way from one colour, the picture's mean, to the picture. A map's sum is about what
the class' logit gains on that way.
"""

from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

if TYPE_CHECKING:
    import keras

_PIXELS_AT_ONCE: Final = 400_000  # seven pictures of 224 pixels, which take some 40 MB each on the way back
_MOST_STEPS: Final = 32
_STEP_PIXELS: Final = 3072
"""Steps times pixels a side: above 96 pixels fewer steps, 13 at 224, for each costs more."""

_FINEST: Final = 32
"""Places a side that a map still tells apart: single pixels' gradients jump."""


def class_maps(
    network: "keras.Model", images: NDArray[np.uint8], class_ids: NDArray[np.integer]
) -> NDArray[np.float32]:
    """What speaks for a class in each of some pictures, where it is above 0, and against it, where below.

    Args:
        network: `model.network.cnn.build_network`'s, or EfficientNet-Lite's; uint8 image to logits.
        images: uint8 `[N, S, S, 3]`.
        class_ids: `[N]`, of each picture the class.

    Returns:
        float32 `[N, S, S]`, in parts of a logit, each place the mean of itself and its neighbours.
    """
    import keras

    scaling = network.get_layer("scaling")
    rest = keras.Model(scaling.output, network.output)
    steps = min(_MOST_STEPS, _STEP_PIXELS // images.shape[1])
    way = ((np.arange(steps, dtype=np.float32) + 0.5) / steps)[:, None, None, None]
    maps = []
    for image, class_id in zip(images, class_ids.tolist(), strict=True):
        end = np.asarray(scaling(image[None]), np.float32)
        difference = end - end.mean(axis=(1, 2), keepdims=True)
        gradient = _mean_gradient(rest, end - (1 - way) * difference, class_id)
        maps.append(smoothed((difference[0] * gradient).sum(axis=-1)))
    return np.stack(maps)


def smoothed(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each place's mean with its neighbours, of a map `[S, S]`."""
    blurred: NDArray[np.float32] = uniform_filter(
        values, 2 * max(1, len(values) // _FINEST) + 1, mode="nearest"
    )
    return blurred


def _mean_gradient(rest: "keras.Model", scaled: NDArray[np.float32], class_id: int) -> NDArray[np.float32]:
    """Of a class' logit by scaled pictures `[N, S, S, 3]`, their mean: `[S, S, 3]`."""
    import tensorflow as tf

    summed = np.zeros(scaled.shape[1:], np.float32)
    at_once = max(1, _PIXELS_AT_ONCE // scaled.shape[1] ** 2)
    for at in range(0, len(scaled), at_once):
        inputs = tf.constant(scaled[at : at + at_once])
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            logits = rest(inputs, training=False)[:, class_id]
        summed += tape.gradient(logits, inputs).numpy().sum(axis=0)
    mean: NDArray[np.float32] = summed / np.float32(len(scaled))
    return mean
