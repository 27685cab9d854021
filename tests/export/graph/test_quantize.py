"""The int8 classifier: the contract's signature, answers close to the float one's, a fraction of its size."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from export.graph.export import Graphs, export_graphs
from export.graph.parity import onnx_outputs
from export.graph.quantize import quantize_graphs

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Graphs:
    from model.network.cnn import build_network

    return export_graphs(build_network(seed=3), 1.0, tmp_path_factory.mktemp("float"))


def test_the_int8_classifier_keeps_the_contract_and_the_answers(graphs: Graphs, tmp_path: Path) -> None:
    from model.data.sources import load_sample

    sample = load_sample()
    quantized, parity = quantize_graphs(graphs, sample.train.images[:256], tmp_path)
    model = onnx.load(quantized.classifier)
    assert [value.name for value in (*model.graph.input, *model.graph.output)] == ["image", "probs"]
    assert model.ir_version <= 10
    assert [(one.domain, one.version) for one in model.opset_import] == [("", 18)]
    grouped = {
        node.name
        for node in model.graph.node
        if node.op_type == "Conv" and any(one.name == "group" and one.i == 3 for one in node.attribute)
    }
    assert len(grouped) == 1
    # in 256 steps, the last layer's values would often leave two classes equally likely
    made_by = {name: node.op_type for node in model.graph.node for name in node.output}
    last = [node for node in model.graph.node if node.op_type in {"Gemm", "MatMul"}][-1]
    assert made_by[last.input[0]] == "DequantizeLinear"
    assert "DequantizeLinear" not in {made_by.get(name) for name in last.input[1:]}
    assert "QuantizeLinear" not in {node.op_type for node in model.graph.node if last.output[0] in node.input}
    # most of a network is the hidden layer's weights: four bytes each become one
    assert quantized.classifier.stat().st_size < 0.4 * graphs.classifier.stat().st_size
    held_out = sample.test.images[:500]
    float_answers, answers = (
        onnx_outputs(graphs.classifier, held_out),
        onnx_outputs(quantized.classifier, held_out),
    )
    assert parity.images == 256
    assert parity.max_difference > 0
    assert np.abs(float_answers - answers).mean() < 0.01
    assert onnx_outputs(quantized.classifier, held_out[:1]).shape == (1, 5)
    assert quantized.filters.read_bytes() == graphs.filters.read_bytes()


def test_calibration_needs_images(graphs: Graphs, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs images to calibrate on"):
        quantize_graphs(graphs, np.zeros((0, 32, 32, 3), np.uint8), tmp_path)
