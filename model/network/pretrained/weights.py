"""Brings the weights of EfficientNet-Lite into the Keras network, by the names of its torch version."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from model.contract import Contract
from model.network.efficientnet_lite import blocks, build_network
from model.network.pretrained.errors import WeightsError
from model.network.pretrained.source import PretrainedSource, find_weights
from model.network.pretrained.torch_file import read_torch_file

if TYPE_CHECKING:
    import keras

Tensors = Mapping[str, NDArray[Any]]

_CLASSES: Final = "_fc"
_COUNTER: Final = "num_batches_tracked"
# Of a normalization, in the order of Keras' layer: gamma, beta, moving mean, moving variance.
_NORM: Final = ("weight", "bias", "running_mean", "running_var")


def pretrained_network(
    seed: int, contract: Contract, own: Path | None = None
) -> tuple["keras.Model", PretrainedSource]:
    """Return the network of a contract with weights that others have trained, and new classes.

    Args:
        seed: Of the last layer's weights and of dropout.
        contract: Its network is one of `model.network.efficientnet_lite.SCALINGS`.
        own: A file of one's own in place of the package's.

    Returns:
        The network as `model.network.efficientnet_lite.build_network` makes it, and where the weights are
        from.

    Raises:
        WeightsError: There are none, they cannot be read, or they are another network's.
    """
    path, source = find_weights(contract.network, own)
    tensors = read_torch_file(path)
    network = build_network(seed, contract)
    load_weights(network, tensors, path.name)
    return network, source


def load_weights(network: "keras.Model", tensors: Tensors, file: str, *, with_classes: bool = False) -> None:
    """Set a network's weights.

    Args:
        network: Of `model.network.efficientnet_lite.build_network`.
        tensors: By the names of `efficientnet-lite-pytorch`.
        file: What to call them in an error.
        with_classes: Take the last layer's too; it needs as many classes as they have.

    Raises:
        WeightsError: A tensor is missing, left over, of another shape, or has values that are no numbers.
    """
    known = {name for name in tensors if not name.endswith(_COUNTER)}
    if not with_classes:
        known -= {f"{_CLASSES}.weight", f"{_CLASSES}.bias"}
    for layer, wanted in _sources(network, with_classes=with_classes):
        weights = []
        for name, variable in zip(wanted, layer.weights, strict=True):
            if name not in known:
                raise WeightsError(
                    f"{file} holds no weights of {network.name} ({name} is missing); name a file of it, with "
                    "the names of efficientnet-lite-pytorch."
                )
            known.remove(name)
            value = _as_keras(tensors[name], layer)
            if value.shape != tuple(variable.shape):
                raise WeightsError(
                    f"{file} holds the weights of another network than {network.name} ({name} has the shape "
                    f"{tensors[name].shape}); name a file of {network.name}."
                )
            if not np.isfinite(value).all():
                raise WeightsError(f"{file} has values that are no numbers ({name}); fetch it again.")
            weights.append(value)
        layer.set_weights(weights)
    if known:
        raise WeightsError(
            f"{file} holds the weights of a larger network than {network.name} ({min(known)} is left over); "
            f"name a file of {network.name}."
        )


def _sources(network: "keras.Model", *, with_classes: bool) -> Iterator[tuple[Any, tuple[str, ...]]]:
    """Each layer that has weights, with the names of its tensors."""

    def convolution(layer: str, tensor: str, norm: str) -> Iterator[tuple[Any, tuple[str, ...]]]:
        yield network.get_layer(layer), (f"{tensor}.weight",)
        yield network.get_layer(f"{layer}_norm"), tuple(f"{norm}.{part}" for part in _NORM)

    yield from convolution("stem", "_conv_stem", "_bn0")
    for number, block in enumerate(blocks(network.name)):
        ours, theirs = f"block{number + 1}", f"_blocks.{number}"
        if block.widening > 1:
            yield from convolution(f"{ours}_widen", f"{theirs}._expand_conv", f"{theirs}._bn0")
        yield from convolution(f"{ours}_depthwise", f"{theirs}._depthwise_conv", f"{theirs}._bn1")
        yield from convolution(f"{ours}_narrow", f"{theirs}._project_conv", f"{theirs}._bn2")
    yield from convolution("head", "_conv_head", "_bn1")
    if with_classes:
        yield network.get_layer("logits"), (f"{_CLASSES}.weight", f"{_CLASSES}.bias")


def _as_keras(value: NDArray[Any], layer: Any) -> NDArray[np.float32]:
    """Torch has kernels as `[out, in, height, width]`, Keras as `[height, width, in, out]`."""
    if value.ndim == 4:
        # Of a depthwise convolution torch's "out" are Keras' channels, and each has one kernel.
        value = (
            value.transpose(2, 3, 0, 1)
            if "Depthwise" in type(layer).__name__
            else value.transpose(2, 3, 1, 0)
        )
    elif value.ndim == 2:
        value = value.T
    return np.ascontiguousarray(value, np.float32)
