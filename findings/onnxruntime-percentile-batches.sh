#!/usr/bin/env bash
# onnxruntime 1.31.1: static quantization whose calibration reader gives batches of 4, 4 and 2 images, since 10 are there.
#
# Expected: the method by which ranges are taken says how, not of how many images a batch may be; the last one is short as in
#           every data loader.
# Seen: MinMax quantizes. Percentile and Entropy end in numpy's "setting an array element with a sequence … inhomogeneous
#       shape", after all batches have run; with 8 images, or one image at a time, they quantize.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3.11 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check onnxruntime==1.31.1 onnx==1.23.0 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'PY'
import logging

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, quantize_static

logging.disable()
rng = np.random.default_rng(0)
kernel = numpy_helper.from_array(rng.normal(size=(4, 3, 3, 3)).astype(np.float32), "kernel")
graph = helper.make_graph(
    [helper.make_node("Conv", ["image", "kernel"], ["features"], pads=[1, 1, 1, 1])],
    "one convolution",
    [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, 8, 8])],
    [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["N", 4, 8, 8])],
    [kernel],
)
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), "float.onnx")
images = rng.normal(size=(10, 3, 8, 8)).astype(np.float32)


class Batches(CalibrationDataReader):
    def __init__(self, count: int, batch: int) -> None:
        self.left = iter([images[row : min(row + batch, count)] for row in range(0, count, batch)])

    def get_next(self):
        images = next(self.left, None)
        return None if images is None else {"image": images}


def quantized(method: CalibrationMethod, count: int, batch: int) -> str:
    try:
        quantize_static(
            "float.onnx", "int8.onnx", Batches(count, batch), quant_format=QuantFormat.QDQ, calibrate_method=method
        )
    except ValueError as error:
        return "ValueError: " + ("inhomogeneous shape" if "inhomogeneous shape" in str(error) else str(error))
    return "quantized"


seen = {}
for method in (CalibrationMethod.MinMax, CalibrationMethod.Percentile, CalibrationMethod.Entropy):
    for count, batch in ((10, 4), (8, 4), (10, 1)):
        seen[method.name, count, batch] = said = quantized(method, count, batch)
        print(f"{method.name:10} {count} images by {batch}: {said}")
short = [seen["Percentile", 10, 4], seen["Entropy", 10, 4]]
others = [said for key, said in seen.items() if key[0] == "MinMax" or key[1:] != (10, 4)]
raise SystemExit(set(short) != {"ValueError: inhomogeneous shape"} or set(others) != {"quantized"})
PY
echo "As seen before."
