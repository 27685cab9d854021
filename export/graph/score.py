"""Adds the score of what is unlike anything learned to an exported classifier, in as few nodes as it takes.

The exporter makes forty nodes of `model.network.unlike.scored`; each costs about a microsecond, whatever it
computes, and the int8 network takes 130 for an image. These twelve give the same, which parity proves.
"""

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from model.contract import OUTPUT_NAME, SCORE_NAME, Contract
from model.network.unlike import DISTANCE_WEIGHT, LEAST_ENERGY, USUAL, Score

BATCH = "batch"


def add_score(model: onnx.ModelProto, contract: Contract, score: Score) -> None:
    """Give a classifier's graph, in place, the second output `ood_score`, FP32 `[batch, 1]`.

    Args:
        model: As `export.graph.export.export_graph` makes it, of one output.
        contract: Of the classifier.
        score: As `model.network.unlike.fit_score` learned it.
    """
    graph = model.graph
    (softmax,) = (node for node in graph.node if OUTPUT_NAME in node.output)
    made = _Nodes(graph)
    logits = softmax.input[0]
    share = np.zeros((len(contract.classes), 1), np.float32)
    share[list(contract.learned)] = 1 / len(contract.learned)
    axes = made.constant("axes", np.asarray([1], np.int64))
    mean = made.node("MatMul", "mean", logits, made.constant("share", share))
    powers = made.node("ReduceLogSumExp", "powers", logits, axes)
    middle, deviation = score.energy
    parts = [mean, powers]
    scales = [[1 / deviation], [-1 / deviation]]
    shifts, weights = [-middle / deviation - LEAST_ENERGY], [1.0]
    if len(score.middle):
        pool = next(node for node in graph.node if node.op_type == "MaxPool")
        channels = made.node("Flatten", "channels", made.node("GlobalAveragePool", "pooled", pool.output[0]))
        shift = made.constant("shift", -(score.middle @ score.whitening))
        whitening = made.constant("whitening", score.whitening)
        apart = made.node("Gemm", "apart", made.node("Sqrt", "roots", channels), whitening, shift)
        distance = made.node("Log", "distance", made.node("ReduceSumSquare", "squares", apart, axes))
        middle, deviation = score.distance
        parts.append(distance)
        scales = [[scales[0][0], 0.0], [scales[1][0], 0.0], [0.0, 1 / deviation]]
        shifts.append(-middle / deviation - USUAL)
        weights.append(DISTANCE_WEIGHT)
    together = made.node("Concat", "parts", *parts, axis=1)
    scale = made.constant("scales", np.asarray(scales, np.float32))
    above = made.node(
        "Gemm", "above", together, scale, made.constant("shifts", np.asarray(shifts, np.float32))
    )
    weight = made.constant("weights", np.asarray(weights, np.float32)[:, None])
    offset = made.constant("offset", np.asarray([LEAST_ENERGY], np.float32))
    made.node("Gemm", "total", made.node("Relu", "beyond", above), weight, offset)
    graph.node[-1].output[0] = SCORE_NAME
    graph.output.append(helper.make_tensor_value_info(SCORE_NAME, onnx.TensorProto.FLOAT, [BATCH, 1]))


class _Nodes:
    """Appends to a graph, under names that nothing else in it has."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._graph = graph

    def constant(self, name: str, values: NDArray[np.generic]) -> str:
        name = f"{SCORE_NAME}/{name}"
        self._graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def node(self, kind: str, name: str, *inputs: str, **attributes: Any) -> str:
        name = f"{SCORE_NAME}/{name}"
        self._graph.node.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name
