"""EfficientNet-Lite 0, 1 and 2: the networks that know photographs already and are made for int8 on a CPU.

The layers are those of Tan & Le 2019 (arXiv:1905.11946), table 1, as Google's EfficientNet-Lite has them
(tensorflow/tpu, `models/official/efficientnet/lite/efficientnet_lite_builder.py`): no squeeze-and-excitation,
ReLU6 in place of swish, stem and head as wide in all of them. The weights are in `model.network.pretrained`.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from model.contract import INPUT_NAME, Contract

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Scaling:
    """How a network differs from the first one.

    Attributes:
        width: Times the channels of each stage, to the next multiple of eight.
        depth: Times the blocks of each stage but the first and the last, rounded up.
        dropout: Share of the features that is dropped before the classes.
    """

    width: float
    depth: float
    dropout: float


@dataclass(frozen=True)
class Block:
    """An inverted bottleneck: widen, convolve each channel, narrow; the input is added where it fits."""

    kernel: int
    stride: int
    widening: int
    channels: int
    adds_input: bool


SCALINGS: Final = {
    "efficientnet-lite0": Scaling(1.0, 1.0, 0.2),
    "efficientnet-lite1": Scaling(1.0, 1.1, 0.2),
    "efficientnet-lite2": Scaling(1.1, 1.2, 0.3),
}

# Blocks, kernel, stride of the first block, widening, channels.
_STAGES: Final = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_STEM: Final = 32
FEATURES: Final = 1280
"""Numbers that the classes are told by; the output of the layer `features`."""

# Pixels become (pixel - 127) / 128, Google's scaling for EfficientNet-Lite.
_MIDDLE: Final = 127.0
_REACH: Final = 128.0
_DIVISOR: Final = 8
_EPSILON: Final = 1e-3
_MOMENTUM: Final = 0.99


def blocks(network: str) -> tuple[Block, ...]:
    """Return the blocks of one of `SCALINGS`, between stem and head."""
    scaling, made, before = SCALINGS[network], [], _STEM
    for number, (repeats, kernel, stride, widening, base) in enumerate(_STAGES):
        channels = _rounded(base * scaling.width)
        fixed = number in {0, len(_STAGES) - 1}
        for repeat in range(repeats if fixed else math.ceil(repeats * scaling.depth)):
            step = 1 if repeat else stride
            made.append(Block(kernel, step, widening, channels, step == 1 and before == channels))
            before = channels
    return tuple(made)


def _rounded(channels: float) -> int:
    """To the nearest multiple of eight, unless that takes more than a tenth away."""
    rounded = max(_DIVISOR, int(channels + _DIVISOR / 2) // _DIVISOR * _DIVISOR)
    return rounded if rounded >= 0.9 * channels else rounded + _DIVISOR


def build_network(seed: int, contract: Contract) -> "keras.Model":
    """Return the network of a contract, untrained; `model.network.pretrained.weights` fills it.

    Input `image`, uint8 `[N, S, S, 3]` with `S` the contract's size; output `logits`, float32 `[N, C]`, one
    for each of its classes, learned or not; the layer `features` gives float32 `[N, FEATURES]`. Scaling is
    inside. The other layers compute in the global dtype policy, so that a GPU may train them in mixed
    precision.

    Args:
        seed: Of the weights and of dropout.
        contract: Its network is one of `SCALINGS`.
    """
    import keras

    keras.utils.set_random_seed(seed)
    image = keras.Input(contract.image_shape, dtype="uint8", name=INPUT_NAME)
    x = keras.layers.Rescaling(1 / _REACH, -_MIDDLE / _REACH, name="scaling")(image)
    x = _relu6(_convolution(x, _STEM, 3, 2, "stem"), "stem")
    for number, block in enumerate(blocks(contract.network), start=1):
        x = _bottleneck(x, block, f"block{number}")
    x = _relu6(_convolution(x, FEATURES, 1, 1, "head"), "head")
    x = keras.layers.GlobalAveragePooling2D(dtype="float32", name="features")(x)
    x = keras.layers.Dropout(SCALINGS[contract.network].dropout, seed=seed, name="dropout")(x)
    logits = keras.layers.Dense(len(contract.classes), dtype="float32", name="logits")(x)
    return keras.Model(image, logits, name=contract.network)


def _bottleneck(x: Any, block: Block, name: str) -> Any:
    import keras

    inside = x
    if block.widening > 1:
        widened = x.shape[-1] * block.widening
        inside = _relu6(_convolution(inside, widened, 1, 1, f"{name}_widen"), f"{name}_widen")
    inside = keras.layers.DepthwiseConv2D(
        block.kernel, block.stride, padding="same", use_bias=False, name=f"{name}_depthwise"
    )(inside)
    inside = _relu6(_norm(inside, f"{name}_depthwise"), f"{name}_depthwise")
    inside = _convolution(inside, block.channels, 1, 1, f"{name}_narrow")
    return keras.layers.Add(name=f"{name}_add")([x, inside]) if block.adds_input else inside


def _convolution(x: Any, channels: int, kernel: int, stride: int, name: str) -> Any:
    import keras

    # "same" is TensorFlow's SAME: of an even side at stride 2 more zeros to the right and below, as in the
    # ImageNet training. Symmetric padding gives other features.
    layer = keras.layers.Conv2D(
        channels,
        kernel,
        stride,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=name,
    )
    return _norm(layer(x), name)


def _norm(x: Any, name: str) -> Any:
    import keras

    return keras.layers.BatchNormalization(momentum=_MOMENTUM, epsilon=_EPSILON, name=f"{name}_norm")(x)


def _relu6(x: Any, name: str) -> Any:
    import keras

    return keras.layers.ReLU(max_value=6, name=f"{name}_relu")(x)
