"""An int8 variant of the exported classifier: the same input and output, calibrated on training images.

Static quantization in QDQ form (ONNX Runtime, "Quantize ONNX Models"): weights per output channel,
activations by the range they take on the calibration images. EfficientNet-Lite's weights are rounded anew
(`export.graph.rounding`): in 7 bits they are nearly all of what it loses. It is another model than the float
one, so it is a version of its own and the gate judges it; parity says only how far it is from the float
graph.

ONNX Runtime joins each pair of conversions with the operator between them as it loads the graph (QLinearConv,
QGemm). Written in that form (QOperator), with signed activations, 8 bits of weight or the last layer in int8,
it is as fast within 2 % (docs/speed.md).
"""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from export.graph.export import Graphs, check_signature, graph_files
from export.graph.parity import measure, onnx_outputs
from export.graph.rounding import round_again
from export.store.lineage import Parity
from model.contract import DEFAULT_CONTRACT, INPUT_NAME, OUTPUT_NAME, Contract

_BATCH: Final = 64
_QUANTIZED: Final = ["Conv", "Relu", "MaxPool", "MatMul", "Gemm", "GlobalAveragePool"]
_QUANTIZED_LITE: Final = ["Conv", "Clip"]
"""Of EfficientNet-Lite. Its ReLU6 is a Clip, which goes: the convolution before it has codes for 0 to 6
alone. Its sums lie between convolutions, and become int8 with them."""


def quantize_graphs(
    graphs: Graphs, images: NDArray[np.uint8], folder: Path, contract: Contract = DEFAULT_CONTRACT
) -> tuple[Graphs, Parity]:
    """Quantize the classifier; the filter model, which is for looking at, is taken over as it is.

    Args:
        graphs: The exported float models.
        images: uint8 `[N, S, S, 3]` of the training split; some hundred are enough.
        folder: Gets both files; made if need be, another one than that of `graphs`.
        contract: Of the version.

    Returns:
        The files, and how far the int8 classifier is from the float one on `images`.

    Raises:
        ValueError: There are no images.
    """
    if not len(images):
        raise ValueError("quantizing needs images to calibrate on")
    folder.mkdir(parents=True, exist_ok=True)
    quantized = graph_files(folder, contract)
    with tempfile.TemporaryDirectory(prefix="cnn-image-") as scratch:
        prepared = Path(scratch) / "prepared.onnx"
        quant_pre_process(graphs.classifier, prepared, skip_symbolic_shape=True)
        cnn = contract.network == "cnn"
        loaded = onnx.load(prepared)
        outputs = tuple(value.name for value in loaded.graph.output)
        nodes, of_score = _apart(loaded.graph.node)
        quantize_static(
            prepared,
            quantized.classifier,
            _Images(images),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=_QUANTIZED if cnn else _QUANTIZED_LITE,
            # The filters reach from -8 to 8 where pixels are 0 to 1: in 8 bits they would lose what is faint,
            # and their convolution, three groups of one channel, is slower in int8 than in float. The last
            # layer's 256 values would leave two classes equally likely in up to one image of 25.
            nodes_to_exclude=[*_grouped_convolutions(nodes), _last_layer(nodes), *of_score]
            if contract.network == "cnn"
            else of_score,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            # 7 bits of weight: a CPU without VNNI adds pairs of products in 16 bits, which saturate with 8.
            reduce_range=True,
            calibrate_method=CalibrationMethod.MinMax,
        )
        model = onnx.load(quantized.classifier)
        if not cnn:
            round_again(model, onnx.load(prepared), images)
    _name_used_domains(model)
    check_signature(model, outputs)
    onnx.save_model(model, quantized.classifier)
    shutil.copyfile(graphs.filters, quantized.filters)
    parity = measure(onnx_outputs(graphs.classifier, images), onnx_outputs(quantized.classifier, images))
    return quantized, parity


class _Images(CalibrationDataReader):  # type: ignore[misc] # onnxruntime has no types
    """Feeds the calibration in batches."""

    def __init__(self, images: NDArray[np.uint8]) -> None:
        self._batches = (images[start : start + _BATCH] for start in range(0, len(images), _BATCH))

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        batch = next(self._batches, None)
        return None if batch is None else {INPUT_NAME: batch}


def _name_used_domains(model: onnx.ModelProto) -> None:
    """Takes ONNX Runtime's own operator sets off the list: no node is of them, and others know none."""
    used = {node.domain for node in model.graph.node}
    kept = [one for one in model.opset_import if one.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)


def _apart(nodes: Sequence[onnx.NodeProto]) -> tuple[list[onnx.NodeProto], list[str]]:
    """The nodes that the probabilities need, and the names of those that the score alone needs.

    The latter stay in float, since they are small, and work with logarithms of what differs little; but for
    the pooling that they begin with, which would have a whole block's output converted.
    """
    needed = {OUTPUT_NAME}
    of_probabilities = []
    for node in reversed(nodes):  # which stand behind what they read
        if needed.intersection(node.output):
            needed.update(node.input)
            of_probabilities.append(node)
    names = {node.name for node in of_probabilities}
    of_score = [node.name for node in nodes if node.name not in names and node.op_type != "GlobalAveragePool"]
    return of_probabilities[::-1], of_score


def _last_layer(nodes: Sequence[onnx.NodeProto]) -> str:
    """The name of the matrix multiplication nearest to the probabilities."""
    layers = [node.name for node in nodes if node.op_type in {"MatMul", "Gemm"}]
    return str(layers[-1])


def _grouped_convolutions(nodes: Sequence[onnx.NodeProto]) -> list[str]:
    return [
        node.name
        for node in nodes
        if node.op_type == "Conv" and any(one.name == "group" and one.i > 1 for one in node.attribute)
    ]
