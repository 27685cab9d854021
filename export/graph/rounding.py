"""The weights of int8 convolutions: as fine as no CPU adds up wrongly, and without what rounding them shifts.

A CPU without VNNI adds two products of unsigned activations and signed weights in 16 bits, which saturate
there (`vpmaddubsw`, in ONNX Runtime's kernels for AVX2 and AVX-512: those of two neighbouring channels).
7 bits of weight are the usual way out. But what must not be too large is the sum of two neighbours,
255 times 128, and seldom are both of them large; so a scale is chosen by the pairs. A depthwise convolution
multiplies in 32 bits, or in 16 with both halves kept, and may have all 8.

Rounded weights shift the mean of what they give, the same way for all images, and what follows has not
learned it. So that shift, over the calibration images, is taken off the bias (Nagel et al. 2019,
arXiv:1906.04721, section 4.2; there it is called bias correction).
"""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from model.contract import INPUT_NAME

_LARGEST: Final = 127
_LARGEST_PAIR: Final = 127
"""Before rounding, which may add one."""

_SEVEN_BITS: Final = 64
_LARGEST_BIAS: Final = 2**30
_IMAGES_AT_A_TIME: Final = 8  # the inputs of all convolutions are in memory at once


class _Convolution(NamedTuple):
    """A float convolution: `weights` `[M, C / groups, kh, kw]`, `bias` `[M]`, the name of its input."""

    reads: str
    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    strides: tuple[int, ...]
    pads: tuple[int, ...]
    depthwise: bool


def round_again(quantized: onnx.ModelProto, original: onnx.ModelProto, images: NDArray[np.uint8]) -> None:
    """Write the weights and biases of a quantized model's convolutions anew.

    Args:
        quantized: In QDQ form, a scale a channel; it is changed.
        original: The float model that it was made from, with the same names.
        images: uint8 `[N, S, S, 3]`, to calibrate on.
    """
    convolutions = _convolutions(original)
    taps = _mean_taps(original, convolutions, images)
    made_by = {name: node for node in quantized.graph.node for name in node.output}
    constants = {one.name: one for one in quantized.graph.initializer}
    for node in quantized.graph.node:
        if node.op_type != "Conv":
            continue
        one = convolutions[node.name]
        reads, weights, bias = (made_by[name].input for name in node.input)
        step = float(numpy_helper.to_array(constants[reads[1]]))
        # In the scale of weights that are nearly 0 a bias could not be counted.
        scales = weight_scales(one.weights, depthwise=one.depthwise)
        scales = np.maximum(scales, np.abs(one.bias) / (step * _LARGEST_BIAS)).astype(np.float32)
        codes = np.rint(one.weights / scales[:, None, None, None]).astype(np.int8)
        lost = one.weights - codes * scales[:, None, None, None]
        right = one.bias + _mean_output(lost, taps[node.name], depthwise=one.depthwise)
        steps = (scales * step).astype(np.float32)
        for name, values in (
            (weights[0], codes),
            (weights[1], scales),
            (bias[0], np.rint(right / steps).astype(np.int32)),
            (bias[1], steps),
        ):
            constants[name].CopyFrom(numpy_helper.from_array(values, name))


def weight_scales(weights: NDArray[np.float32], *, depthwise: bool) -> NDArray[np.float32]:
    """Return by what the weights of each output channel are divided before they are rounded: float32 `[M]`.

    Args:
        weights: float32 `[M, C / groups, kh, kw]`.
        depthwise: Whether each channel is convolved by itself.
    """
    flat = weights.reshape(len(weights), -1)
    largest = np.abs(flat).max(axis=1)
    if depthwise:
        scales = largest / _LARGEST
    elif weights.shape[2:] == (1, 1):
        even = np.pad(flat, ((0, 0), (0, flat.shape[1] % 2))).reshape(len(flat), -1, 2)
        pairs = np.maximum(np.maximum(even, 0).sum(axis=2), np.maximum(-even, 0).sum(axis=2))
        scales = np.maximum(largest / _LARGEST, pairs.max(axis=1) / _LARGEST_PAIR)
    else:  # which of them are neighbours depends on the kernel that is chosen
        scales = largest / _SEVEN_BITS
    return np.where(scales > 0, scales, 1).astype(np.float32)


def _convolutions(model: onnx.ModelProto) -> dict[str, _Convolution]:
    """The convolutions of a float model by the names of their nodes."""
    constants = {one.name: one for one in model.graph.initializer}
    found = {}
    for node in model.graph.node:
        if node.op_type != "Conv":
            continue
        asked: dict[str, Any] = {one.name: helper.get_attribute_value(one) for one in node.attribute}
        weights, bias = (numpy_helper.to_array(constants[name]) for name in node.input[1:])
        found[node.name] = _Convolution(
            node.input[0], weights, bias, tuple(asked["strides"]), tuple(asked["pads"]), asked["group"] > 1
        )
    return found


def _mean_taps(
    model: onnx.ModelProto, convolutions: dict[str, _Convolution], images: NDArray[np.uint8]
) -> dict[str, NDArray[np.float64]]:
    """What each place of a kernel meets in the mean of all its positions and images: `[C, kh, kw]`."""
    sums: dict[str, NDArray[np.float64]] = {}
    for inputs in _inputs(model, {one.reads for one in convolutions.values()}, images):
        for name, values in inputs.items():
            sums[name] = sums.get(name, 0) + values.sum(axis=0, dtype=np.float64)
    found = {}
    for name, one in convolutions.items():
        top, left, bottom, right = one.pads
        means = np.pad(sums[one.reads] / len(images), ((0, 0), (top, bottom), (left, right)))
        windows = np.lib.stride_tricks.sliding_window_view(means, one.weights.shape[2:], axis=(1, 2))
        found[name] = windows[:, :: one.strides[0], :: one.strides[1]].mean(axis=(1, 2))
    return found


def _inputs(
    model: onnx.ModelProto, names: set[str], images: NDArray[np.uint8]
) -> Iterator[dict[str, NDArray[np.float32]]]:
    """What a model computes under these names, some images at a time."""
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    shown.graph.output.extend(
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in sorted(names)
    )
    session = ort.InferenceSession(shown.SerializeToString(), providers=["CPUExecutionProvider"])
    for start in range(0, len(images), _IMAGES_AT_A_TIME):
        batch = images[start : start + _IMAGES_AT_A_TIME]
        yield dict(zip(sorted(names), session.run(sorted(names), {INPUT_NAME: batch}), strict=True))


def _mean_output(
    weights: NDArray[np.float32], taps: NDArray[np.float64], *, depthwise: bool
) -> NDArray[np.float64]:
    """What weights give in the mean, by what they meet in the mean: `[M]`."""
    means: NDArray[np.float64]
    if depthwise:
        means = np.einsum("mij,mij->m", weights[:, 0], taps)
    else:
        means = np.einsum("mcij,cij->m", weights, taps)
    return means
