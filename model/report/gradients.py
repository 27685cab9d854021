"""Which parts of a picture speak for a class, by the network's own gradients: a look at a training's answers.

HiResCAM (Draelos, Carin: Use HiResCAM instead of Grad-CAM for faithful explanations of convolutional neural
networks, 2020, arXiv:2011.08891): the last maps that still have places, each value times the gradient of the
class' logit by it, summed over the channels. Grad-CAM (Selvaraju et al., ICCV 2017, arXiv:1610.02391) takes
the mean gradient of a channel for all its places; the two agree where the maps are averaged next, as in
EfficientNet-Lite, and differ where a hidden layer sees each place, as in the network `cnn`.
"""

from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

if TYPE_CHECKING:
    import keras

_AT_ONCE: Final = 8  # pictures of 224 pixels take some 40 MB each on the way back


def class_maps(
    network: "keras.Model", images: NDArray[np.uint8], class_ids: NDArray[np.integer]
) -> NDArray[np.float32]:
    """What speaks for a class in each of some pictures, where it is above 0, and against it, where below.

    Args:
        network: `model.network.cnn.build_network`'s, or EfficientNet-Lite's; uint8 image to logits.
        images: uint8 `[N, S, S, 3]`.
        class_ids: `[N]`, of each picture the class.

    Returns:
        float32 `[N, S, S]`, in parts of a logit.
    """
    parts = [
        weighted(
            *last_maps(network, images[at : at + _AT_ONCE], class_ids[at : at + _AT_ONCE]), images.shape[1]
        )
        for at in range(0, len(images), _AT_ONCE)
    ]
    return np.concatenate(parts)


def last_maps(
    network: "keras.Model", images: NDArray[np.uint8], class_ids: NDArray[np.integer]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The last maps that have places, `[N, s, s, K]`, and the gradient of each picture's class by them."""
    import keras
    import tensorflow as tf

    place = next(layer for layer in reversed(network.layers) if _has_places(layer))
    maps = keras.Model(network.input, place.output)(images, training=False)
    rest = keras.Model(place.output, network.output)
    with tf.GradientTape() as tape:
        tape.watch(maps)
        logits = tf.gather(rest(maps, training=False), class_ids, axis=1, batch_dims=1)
    gradients = tape.gradient(logits, maps)
    return tf.cast(maps, tf.float32).numpy(), tf.cast(gradients, tf.float32).numpy()


def _has_places(layer: "keras.layers.Layer") -> bool:
    import keras

    return isinstance(layer, keras.layers.ReLU) and len(layer.output.shape) == 4


def weighted(
    maps: NDArray[np.float32], gradients: NDArray[np.float32], size: int, *, each: bool = True
) -> NDArray[np.float32]:
    """Maps `[N, s, s, K]` weighed with their gradients, as large as the pictures: `[N, size, size]`."""
    weights = gradients if each else gradients.mean(axis=(1, 2), keepdims=True)
    summed = (maps * weights).sum(axis=-1)
    enlarged = [Image.fromarray(one).resize((size, size), Image.Resampling.BILINEAR) for one in summed]
    return np.stack([np.asarray(one) for one in enlarged])
