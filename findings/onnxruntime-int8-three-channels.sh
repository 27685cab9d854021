#!/usr/bin/env bash
# ONNX Runtime 1.31.1: an int8 convolution of three input channels, as of a picture's red, green and blue.
#
# Expected: faster than the same in float, and one of four channels, the fourth all zeros, a third slower than it.
# Seen: QLinearConv (channels last, 3×3, 32×32 pixels, 16 output channels, zero points of the weights 0) takes about twice the
#       float convolution's time, and is nearly twice as slow with three channels as with four, which have a third more to
#       multiply. (Its direct kernel for symmetric weights takes multiples of four channels; others are copied out into a
#       matrix first.) So who quantizes a network's first layer may make it slower, and a channel of zeros is worth its
#       multiplications.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3.11 -m venv "$work/venv"
"$work/venv/bin/pip" install -q onnxruntime==1.31.1 onnx==1.19.0 numpy==2.2.6
cat >"$work/look.py" <<'PYTHON'
import time

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

IMAGES, SIDE, MADE = 16, 32, 16
rng = np.random.default_rng(0)


def session(node, constants, kind, shape, made):
    given = helper.make_tensor_value_info("x", kind, shape)
    gives = helper.make_tensor_value_info("y", kind, made)
    graph = helper.make_graph([node], "one", [given], [gives], constants)
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def int8(channels):
    scale, byte = np.float32(0.01), np.uint8(0)
    values = {
        "x_scale": scale,
        "x_zero": byte,
        "w": rng.integers(-64, 64, (MADE, channels, 3, 3)).astype(np.int8),
        "w_scale": np.full(MADE, 0.01, np.float32),
        "w_zero": np.zeros(MADE, np.int8),
        "y_scale": scale,
        "y_zero": byte,
    }
    constants = [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()]
    node = helper.make_node(
        "QLinearConv", ["x", *values], ["y"], domain="com.microsoft", channels_last=1, kernel_shape=[3, 3], pads=[1] * 4
    )
    shape = [IMAGES, SIDE, SIDE, channels]
    images = rng.integers(0, 256, shape).astype(np.uint8)
    return session(node, constants, TensorProto.UINT8, shape, [IMAGES, SIDE, SIDE, MADE]), images


def floating():
    weights = rng.normal(size=(MADE, 3, 3, 3)).astype(np.float32)
    node = helper.make_node("Conv", ["x", "w"], ["y"], kernel_shape=[3, 3], pads=[1] * 4)
    shape = [IMAGES, 3, SIDE, SIDE]
    images = rng.normal(size=shape).astype(np.float32)
    constants = [numpy_helper.from_array(weights, "w")]
    return session(node, constants, TensorProto.FLOAT, shape, [IMAGES, MADE, SIDE, SIDE]), images


def microseconds(made):
    """Processor time an image: the least of 60, so that other work on the machine does not count."""
    run, images = made
    times = []
    for _ in range(60):
        began = time.process_time_ns()
        for _ in range(10):
            run.run(None, {"x": images})
        times.append(time.process_time_ns() - began)
    return min(times) / 10 / IMAGES / 1000


three, four, plain = microseconds(int8(3)), microseconds(int8(4)), microseconds(floating())
print(f"µs an image: int8, three channels {three:.1f}; int8, four {four:.1f}; float, three {plain:.1f}")
assert onnxruntime.__version__ == "1.31.1"
assert three > 1.3 * four, "three channels are no longer slower than four"
assert three > 1.2 * plain, "int8 is no longer slower than float"
PYTHON
"$work/venv/bin/python" "$work/look.py"
