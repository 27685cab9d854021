"""The exported graphs: the contract's names and types, and the model's own answers."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest

from export.errors import ParityError
from export.graph.export import Graphs, export_graph, export_graphs
from export.graph.parity import keras_outputs, onnx_outputs, prove

if TYPE_CHECKING:
    import keras

pytestmark = pytest.mark.slow  # tensorflow alone takes seconds to import


def random_images(count: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def network() -> "keras.Model":
    """The product's network; its batch statistics moved off their start, as training would."""
    from model.network.cnn import build_network

    network = build_network(seed=3)
    generator = np.random.default_rng(3)
    network.set_weights(
        [
            weight + generator.normal(0, 0.02, weight.shape).astype(weight.dtype) * (weight.std() > 0)
            for weight in network.get_weights()
        ]
    )
    return network


@pytest.fixture(scope="module")
def graphs(network: "keras.Model", tmp_path_factory: pytest.TempPathFactory) -> Graphs:
    return export_graphs(network, 1.7, tmp_path_factory.mktemp("graphs"))


def signature(path: Path) -> list[tuple[str, int, list[str | int]]]:
    graph = onnx.load(path).graph
    return [
        (
            value.name,
            value.type.tensor_type.elem_type,
            [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim],
        )
        for value in (*graph.input, *graph.output)
    ]


def test_the_graphs_have_the_contracts_signature(graphs: Graphs) -> None:
    image = ("image", onnx.TensorProto.UINT8, ["batch", 32, 32, 3])
    assert signature(graphs.classifier) == [image, ("probs", onnx.TensorProto.FLOAT, ["batch", 5])]
    assert signature(graphs.filters) == [image, ("filtered", onnx.TensorProto.FLOAT, ["batch", 32, 32, 12])]


def test_the_graphs_are_of_a_form_that_triton_reads(graphs: Graphs) -> None:
    for path in (graphs.classifier, graphs.filters):
        model = onnx.load(path)
        assert model.ir_version <= 10
        assert [(one.domain, one.version) for one in model.opset_import if not one.domain] == [("", 18)]
        assert {node.domain for node in model.graph.node} == {""}
        onnx.checker.check_model(path, full_check=True)


def test_the_graphs_answer_as_their_models(network: "keras.Model", graphs: Graphs) -> None:
    classifier, filters = prove(network, 1.7, graphs, random_images(130))
    assert classifier.images == filters.images == 130
    assert classifier.max_difference <= 1e-5
    assert filters.max_difference <= 1e-5
    assert classifier.disagreements == 0


def test_answers_are_probabilities_whatever_the_batch(graphs: Graphs) -> None:
    images = random_images(9)
    answers = onnx_outputs(graphs.classifier, images)
    assert answers.shape == (9, 5)
    assert np.allclose(answers.sum(axis=1), 1, atol=1e-6)
    alone = np.concatenate([onnx_outputs(graphs.classifier, image[None]) for image in images])
    assert np.allclose(answers, alone, atol=1e-6)


def test_the_filter_model_holds_the_contracts_channels_in_order(graphs: Graphs) -> None:
    # a single bright red pixel, so each kernel shows itself in the red channel
    image = np.zeros((1, 32, 32, 3), dtype=np.uint8)
    image[0, 10, 20, 0] = 255
    filtered = onnx_outputs(graphs.filters, image)[0]
    red = filtered[9:12, 19:22, [0, 3, 6, 9]]
    identity = [[0, 0, 0], [0, 1, 0], [0, 0, 0]]
    edge = [[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]]
    sharp = [[0, -1, 0], [-1, 5, -1], [0, -1, 0]]
    assert np.allclose(red[..., 0], identity, atol=1e-6)
    assert np.allclose(red[..., 1], np.full((3, 3), 1 / 9), atol=1e-6)
    assert np.allclose(red[..., 2], edge, atol=1e-6)
    assert np.allclose(red[..., 3], sharp, atol=1e-6)
    assert not filtered[..., [1, 2, 4, 5, 7, 8, 10, 11]].any()


def test_another_scaling_in_the_export_is_no_parity(network: "keras.Model", tmp_path: Path) -> None:
    graphs = export_graphs(network, 1.0, tmp_path)
    with pytest.raises(ParityError, match="differs from the trained model"):
        prove(network, 1.7, graphs, random_images(16))


def test_any_keras_model_of_the_signature_is_exported(tmp_path: Path) -> None:
    import keras

    image = keras.Input((32, 32, 3), dtype="uint8", name="image")
    flat = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(image))
    model = keras.Model(image, keras.layers.Dense(5, activation="softmax")(flat))
    export_graph(model, "probs", tmp_path / "small.onnx")
    images = random_images(3)
    assert np.allclose(keras_outputs(model, images), onnx_outputs(tmp_path / "small.onnx", images), atol=1e-6)
