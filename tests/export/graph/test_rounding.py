"""The weights of int8 convolutions: no sum that saturates, and no shift that rounding leaves."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from export.graph.rounding import round_again, weight_scales
from model.contract import INPUT_NAME

_SIXTEEN_BITS = 2**15 - 1


def largest_sum(codes: NDArray[np.int8]) -> int:
    """Of two products of neighbouring channels' weights and unsigned activations of 8 bits."""
    pairs = np.pad(codes.astype(int), ((0, 0), (0, codes.shape[1] % 2))).reshape(len(codes), -1, 2)
    return int(255 * max(np.maximum(sign * pairs, 0).sum(axis=2).max() for sign in (1, -1)))


@pytest.mark.parametrize("channels", [7, 16, 240])
@pytest.mark.parametrize("alike", [True, False])
def test_no_pair_of_products_saturates_and_the_steps_are_as_small_as_can_be(
    channels: int, alike: bool
) -> None:
    rng = np.random.default_rng(channels)
    weights = rng.standard_t(4, (500, channels)).astype(np.float32)
    if alike:  # the worst: neighbours that are the largest, both of them
        weights = weights.max(axis=1, keepdims=True) * np.ones_like(weights)
    scales = weight_scales(weights[:, :, None, None], depthwise=False)
    codes = np.rint(weights / scales[:, None])
    assert np.abs(codes).max() <= 127
    assert largest_sum(codes.astype(np.int8)) <= _SIXTEEN_BITS
    of_seven_bits = np.abs(weights).max(axis=1) / 64
    assert (scales <= of_seven_bits * 1.01).all()
    assert alike or (scales / of_seven_bits).mean() < 0.75


def test_a_depthwise_convolution_has_all_8_bits_and_a_channel_of_zeros_a_scale() -> None:
    weights = np.random.default_rng(0).normal(size=(30, 1, 5, 5)).astype(np.float32)
    weights[3] = 0
    scales = weight_scales(weights, depthwise=True)
    codes = np.rint(weights / scales[:, None, None, None])
    assert (np.abs(codes).reshape(30, -1).max(axis=1) == np.where(np.arange(30) == 3, 0, 127)).all()
    # neighbours of a kernel over many channels are not known: 7 bits
    codes = np.rint(weights / weight_scales(weights, depthwise=False)[:, None, None, None])
    assert np.abs(codes).max() == 64


class Feed(CalibrationDataReader):  # type: ignore[misc] # onnxruntime has no types
    """The images, in one go."""

    def __init__(self, images: NDArray[np.uint8]) -> None:
        self.left = [{INPUT_NAME: images}]

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        return self.left.pop() if self.left else None


def two_convolutions(rng: np.random.Generator) -> onnx.ModelProto:
    """Pixels, a depthwise convolution of stride 2 that sees zeros outside, and a pointwise one."""
    kernel = rng.normal(size=(3, 1, 3, 3)) + 1
    kernel[1] *= 1e-9  # next to nothing, with a bias that counts
    wide = rng.normal(size=(40, 3, 1, 1)) * np.geomspace(0.02, 1, 3)[:, None, None]
    constants = {
        "kernel": kernel,
        "shift": np.asarray([1, 3, 0]),
        "wide": wide,
        "more": rng.normal(size=40),
        "reach": np.asarray(255.0),
    }
    nodes = [
        helper.make_node("Cast", [INPUT_NAME], ["numbers"], "cast", to=TensorProto.FLOAT),
        helper.make_node("Div", ["numbers", "reach"], ["shares"], "scale"),
        helper.make_node("Transpose", ["shares"], ["first"], "turn", perm=[0, 3, 1, 2]),
        helper.make_node(
            "Conv",
            ["first", "kernel", "shift"],
            ["second"],
            "each",
            group=3,
            strides=[2, 2],
            pads=[0, 0, 1, 1],
        ),
        helper.make_node(
            "Conv", ["second", "wide", "more"], ["last"], "all", group=1, strides=[1, 1], pads=[0, 0, 0, 0]
        ),
    ]
    graph = helper.make_graph(
        nodes,
        "two",
        [helper.make_tensor_value_info(INPUT_NAME, TensorProto.UINT8, ["batch", 12, 12, 3])],
        [helper.make_tensor_value_info("last", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def outputs(model: onnx.ModelProto, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    answers: NDArray[np.float32] = session.run(None, {INPUT_NAME: images})[0]
    return answers


def test_what_rounding_shifts_is_taken_off_the_bias(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    model = two_convolutions(rng)
    images = rng.integers(100, 256, (60, 12, 12, 3), np.uint8)
    quantize_static(
        model,
        tmp_path / "int8.onnx",
        Feed(images),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=["Conv"],
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        reduce_range=True,
    )
    before, after = onnx.load(tmp_path / "int8.onnx"), onnx.load(tmp_path / "int8.onnx")
    round_again(after, model, images)
    onnx.checker.check_model(after)
    others = rng.integers(100, 256, (60, 12, 12, 3), np.uint8)
    due = outputs(model, others)
    shifts = [np.abs((outputs(one, others) - due).mean(axis=(0, 2, 3))) for one in (before, after)]
    assert shifts[1].mean() < 0.25 * shifts[0].mean()
    assert np.abs(outputs(after, others) - due).mean() < np.abs(outputs(before, others) - due).mean()
