"""The image filters: three 3×3 kernels beside the untouched image, as one frozen depthwise convolution.

They are inside the served graph, so that a client sends pixels and training and serving cannot disagree.
"""

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from model.contract import FILTER_BANK, FILTERED_NAME, IMAGE_SIZE, INPUT_NAME

if TYPE_CHECKING:
    import keras

KERNELS: Final[dict[str, NDArray[np.float32]]] = {
    "image": np.asarray([[0, 0, 0], [0, 1, 0], [0, 0, 0]], np.float32),
    "smoothing": np.full((3, 3), 1 / 9, np.float32),
    "edge_detection": np.asarray([[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]], np.float32),
    "sharpness": np.asarray([[0, -1, 0], [-1, 5, -1], [0, -1, 0]], np.float32),
}


def filter_layers(image: Any) -> Any:
    """Scale pixels to 0..1 and filter them, zeros outside the image.

    Args:
        image: A Keras tensor, uint8 `[N, S, S, 3]`.

    Returns:
        A Keras tensor, float `[N, S, S, 12]`, in the order that a depthwise convolution has: red through
        each of `FILTER_BANK`, then green, then blue.
    """
    import keras

    scaled = keras.layers.Rescaling(1 / 255, name="scaling")(image)
    bank = keras.layers.DepthwiseConv2D(
        kernel_size=3,
        depth_multiplier=len(KERNELS),
        padding="same",
        use_bias=False,
        trainable=False,
        name="filters",
    )
    filtered = bank(scaled)
    kernels = np.stack([KERNELS[name] for name in FILTER_BANK], axis=-1)  # [3, 3, 4]
    bank.set_weights([np.repeat(kernels[:, :, None, :], 3, axis=2)])
    return filtered


def filter_bank(size: int = IMAGE_SIZE) -> "keras.Model":
    """Return the model that shows what the network sees.

    Input `image`, uint8 `[N, S, S, 3]` with `S` = `size`; output `filtered`, float32 `[N, S, S, 12]`: red,
    green and blue of each of `FILTER_BANK` in turn. Pixels count from 0 to 1; edges and sharpness reach
    beyond.
    """
    import keras

    colours = 3
    image = keras.Input((size, size, colours), dtype="uint8", name=INPUT_NAME)
    by_colour = keras.layers.Reshape((size, size, colours, len(FILTER_BANK)), name="by_colour")(
        filter_layers(image)
    )
    by_filter = keras.layers.Permute((1, 2, 4, 3), name="by_filter")(by_colour)
    channels = colours * len(FILTER_BANK)
    return keras.Model(
        image,
        keras.layers.Reshape((size, size, channels), name=FILTERED_NAME)(by_filter),
        name="filter_bank",
    )
