"""EfficientNet-Lite as a version: exported with its scaling inside, proven, and every convolution in int8."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from export.graph.export import Graphs, export_graphs
from export.graph.parity import onnx_outputs, prove
from export.graph.quantize import quantize_graphs
from model.contract import Contract
from model.data.sources import load_sample

if TYPE_CHECKING:
    import keras

pytestmark = pytest.mark.slow

CONTRACT = Contract(
    ("ant", "bee", "cat", "dog"), size=96, network="efficientnet-lite0", filters=(), unlearned=(2,)
)


@pytest.fixture(scope="module")
def pictures() -> NDArray[np.uint8]:
    """Real ones, of 32 pixels: each of them becomes a square."""
    small = load_sample().train.images[:40]
    return small.repeat(3, axis=1).repeat(3, axis=2)


@pytest.fixture(scope="module")
def network() -> "keras.Model":
    """With ImageNet's weights, and a last layer that is sure of what it says."""
    from model.network.pretrained.weights import pretrained_network

    network, _ = pretrained_network(1, CONTRACT)
    weights, bias = network.get_layer("logits").get_weights()
    bias[CONTRACT.unlearned[0]] = 50
    network.get_layer("logits").set_weights([weights * 10, bias])
    return network


@pytest.fixture(scope="module")
def graphs(network: "keras.Model", tmp_path_factory: pytest.TempPathFactory) -> Graphs:
    return export_graphs(network, 1.5, tmp_path_factory.mktemp("float"), CONTRACT)


def test_the_graph_takes_pixels_and_answers_as_the_network(
    network: "keras.Model", graphs: Graphs, pictures: NDArray[np.uint8]
) -> None:
    model = onnx.load(graphs.classifier)
    assert model.ir_version <= 10
    assert ("", 18) in [(one.domain, one.version) for one in model.opset_import]
    shapes = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert shapes == {"image": ["batch", 96, 96, 3], "probs": ["batch", 4]}
    classifier, filters = prove(network, 1.5, graphs, pictures[:8], CONTRACT)
    assert classifier.max_difference <= 1e-5
    assert filters.max_difference <= 1e-5
    answers = onnx_outputs(graphs.classifier, pictures[:8])
    assert (answers[:, 2] == 0).all()
    assert len(set(answers.argmax(axis=1))) > 1, "all the same: the comparison would say little"
    # the filters are for looking at: at its size, whatever the network
    assert onnx_outputs(graphs.filters, pictures[:1]).shape == (1, 96, 96, 12)


def test_every_convolution_is_int8_with_weights_that_no_cpu_adds_up_wrongly(
    graphs: Graphs, pictures: NDArray[np.uint8], tmp_path: Path
) -> None:
    quantized, parity = quantize_graphs(graphs, pictures, tmp_path, CONTRACT)
    model = onnx.load(quantized.classifier)
    assert [(one.domain, one.version) for one in model.opset_import] == [("", 18)]
    made_by = {name: node for node in model.graph.node for name in node.output}
    constants = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    kinds = Counter(node.op_type for node in model.graph.node)
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    assert len(convolutions) == 49
    assert kinds["Clip"] == 0
    for node in convolutions:
        assert [made_by[name].op_type for name in node.input[:2]] == ["DequantizeLinear"] * 2
        weights, scales, _ = (constants[name] for name in made_by[node.input[1]].input)
        assert weights.dtype == np.int8
        if weights.shape[1] > 1:  # not depthwise: two products are added in 16 bits
            flat = weights.reshape(len(weights), -1).astype(int)
            pairs = np.pad(flat, ((0, 0), (0, flat.shape[1] % 2))).reshape(len(flat), -1, 2)
            assert 255 * max(np.maximum(pairs * sign, 0).sum(axis=2).max() for sign in (1, -1)) < 2**15
        assert scales.shape == weights.shape[:1], "a scale a channel"
    # the shortcuts too: nothing between the pixels and the features is in float
    constant = {*constants}
    sums = [node for node in model.graph.node if node.op_type == "Add" and not constant & {*node.input}]
    assert len(sums) == 9
    for node in sums:
        assert {made_by[name].op_type for name in node.input} == {"DequantizeLinear"}
    last = [node for node in model.graph.node if node.op_type in {"Gemm", "MatMul"}][-1]
    assert "DequantizeLinear" not in {made_by[name].op_type for name in last.input if name in made_by}
    assert quantized.classifier.stat().st_size < 0.3 * graphs.classifier.stat().st_size
    assert parity.images == 40
    assert parity.max_difference > 0
    answers = onnx_outputs(quantized.classifier, pictures)
    assert (answers[:, 2] == 0).all()
    learned = list(CONTRACT.learned)
    due = onnx_outputs(graphs.classifier, pictures)
    alike = np.corrcoef(np.log(answers[:, learned]).ravel(), np.log(due[:, learned]).ravel())[0, 1]
    assert alike > 0.95, "0.98 where this was written; the last layer, of chance, makes much of little"
    assert quantized.filters.read_bytes() == graphs.filters.read_bytes()
