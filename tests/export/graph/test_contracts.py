"""A version of another contract than the default: exported, proven, quantized and on a real Triton."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from export.artifact import assemble
from export.graph.export import Graphs, export_graphs
from export.graph.parity import onnx_outputs, prove
from export.graph.quantize import quantize_graphs
from export.graph.triton_probe import compare_triton, infer, require_loaded
from export.store.blobs import FolderBlobs
from export.store.lineage import Lineage
from export.store.versions import Store
from model.contract import Contract

if TYPE_CHECKING:
    import keras

pytestmark = pytest.mark.slow  # tensorflow alone takes seconds to import

PHOTOS = Contract(
    classes=('the "quoted" one', "ants, many", "дерево", "木の葉", "{a: [b]}", "🌳 100 % $HOME"),
    size=48,
    fit="crop",
    unlearned=(1, 5),
    model="photos",
)
IMAGES: NDArray[np.uint8] = np.random.default_rng(5).integers(0, 256, (70, 48, 48, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def network() -> "keras.Model":
    """Untrained, but for the bias of the last layer: what is not learned would be the likeliest by far."""
    from model.network.cnn import build_network

    network = build_network(3, PHOTOS)
    weights, bias = network.get_layer("logits").get_weights()
    bias[list(PHOTOS.unlearned)] = 50
    network.get_layer("logits").set_weights([weights, bias])
    return network


@pytest.fixture(scope="module")
def graphs(network: "keras.Model", tmp_path_factory: pytest.TempPathFactory) -> Graphs:
    return export_graphs(network, 1.7, tmp_path_factory.mktemp("graphs"), PHOTOS)


@pytest.fixture(scope="module")
def quantized(graphs: Graphs, tmp_path_factory: pytest.TempPathFactory) -> Graphs:
    return quantize_graphs(graphs, IMAGES, tmp_path_factory.mktemp("int8"), PHOTOS)[0]


def test_the_graphs_have_the_contracts_shapes_and_names(graphs: Graphs, quantized: Graphs) -> None:
    for made in (graphs, quantized):
        assert (made.classifier.name, made.filters.name) == ("photos.onnx", "photos-filters.onnx")
        for path, output, shape in (
            (made.classifier, "probs", ["batch", 6]),
            (made.filters, "filtered", ["batch", 48, 48, 12]),
        ):
            graph = onnx.load(path).graph
            tensors = {
                value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
                for value in (*graph.input, *graph.output)
            }
            assert tensors == {"image": ["batch", 48, 48, 3], output: shape}


def test_the_graphs_answer_as_their_models(network: "keras.Model", graphs: Graphs) -> None:
    classifier, filters = prove(network, 1.7, graphs, IMAGES, PHOTOS)
    assert classifier.max_difference <= 1e-5
    assert filters.max_difference <= 1e-5


def test_what_is_not_learned_has_no_probability_at_all(graphs: Graphs, quantized: Graphs) -> None:
    for made in (graphs, quantized):
        answers = onnx_outputs(made.classifier, IMAGES)
        assert (answers[:, list(PHOTOS.unlearned)] == 0).all()
        assert (answers[:, list(PHOTOS.learned)] > 0).all()
        assert np.allclose(answers.sum(axis=1), 1, atol=1e-6)
    # it is int8, and still the same model
    difference = np.abs(onnx_outputs(graphs.classifier, IMAGES) - onnx_outputs(quantized.classifier, IMAGES))
    assert 0 < difference.max() < 0.1


def test_a_real_triton_serves_it_and_tells_its_contract(
    quantized: Graphs, lineage: Lineage, tmp_path: Path, start_triton: Callable[..., Any]
) -> None:
    store = Store(FolderBlobs(tmp_path / "store"))
    made = lineage.model_copy(update={"contract": PHOTOS})
    version = store.publish(lambda number, folder: assemble(quantized, made, number, folder)).version
    folder = store.fetch(version, tmp_path / "fetched")
    assert (folder / "photos/labels.txt").read_text("utf-8").splitlines() == list(PHOTOS.classes)
    url = f"http://{start_triton(folder).address}"
    require_loaded(url)
    due = onnx_outputs(quantized.classifier, IMAGES)
    assert compare_triton(url, due, IMAGES, version, model="photos").images == 70
    filtered = infer(url, IMAGES[:2], model="photos-filters", output="filtered")
    assert filtered.outputs.shape == (2, 48, 48, 12)
    for model in ("photos", "photos-filters"):
        parameters = httpx.get(f"{url}/v2/models/{model}/config").json()["parameters"]
        assert Contract.from_json(parameters["contract"]["string_value"]) == PHOTOS
        assert "classes" not in parameters
        assert parameters["created_by"]["string_value"] == 'Zoë "the\\slash"second line'
