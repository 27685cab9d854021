"""From the trained Keras network to the two ONNX graphs that are served.

Pixels go in and probabilities come out: scaling, filters and temperature are inside, so that training and
serving cannot disagree about them. Opset 18 and IR 10 are what the Triton of the cluster reads.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import onnx

from model.contract import (
    DEFAULT_CONTRACT,
    FILTERED_NAME,
    INPUT_NAME,
    OUTPUT_NAME,
    SCORE_NAME,
    Contract,
)

if TYPE_CHECKING:  # tensorflow takes seconds to import, and only an export needs it
    import keras

    from model.network.unlike import Score

OPSET: Final = 18
IR_VERSION: Final = 10
BATCH: Final = "batch"


@dataclass(frozen=True)
class Graphs:
    """The two exported models, as files."""

    classifier: Path
    filters: Path


def graph_files(folder: Path, contract: Contract = DEFAULT_CONTRACT) -> Graphs:
    """Where the two models of a contract go in a folder: `cnn-image.onnx` and `cnn-image-filters.onnx`."""
    return Graphs(folder / f"{contract.model}.onnx", folder / f"{contract.filters_model}.onnx")


def export_graphs(
    network: "keras.Model",
    temperature: float,
    folder: Path,
    contract: Contract = DEFAULT_CONTRACT,
    score: "Score | None" = None,
) -> Graphs:
    """Export the classifier and the filter model.

    Args:
        network: `model.network.cnn.build_network`'s, trained: uint8 `image` → `logits`.
        temperature: What the logits are divided by before the softmax.
        folder: Gets the files that `graph_files` names; made if need be.
        contract: What the network was built for.
        score: Becomes the classifier's second output; None leaves it without one.

    Returns:
        Where they are.
    """
    from model.network.cnn import probabilities
    from model.network.filters import filter_bank

    folder.mkdir(parents=True, exist_ok=True)
    graphs = graph_files(folder, contract)
    export_graph(probabilities(network, temperature, contract), OUTPUT_NAME, graphs.classifier)
    if score is not None:
        _add_score(graphs.classifier, contract, score)
    export_graph(filter_bank(contract.size), FILTERED_NAME, graphs.filters)
    return graphs


def _add_score(path: Path, contract: Contract, score: "Score") -> None:
    from export.graph.score import add_score

    graph = onnx.load(path)
    add_score(graph, contract, score)
    onnx.checker.check_model(graph, full_check=True)
    check_signature(graph, (OUTPUT_NAME, SCORE_NAME))
    onnx.save_model(graph, path)


def export_graph(model: "keras.Model", output_name: str, path: Path) -> None:
    """Export a Keras model from UINT8 `image` `[batch, size, size, 3]` to one FP32 output.

    Args:
        model: Takes uint8 images of one size.
        output_name: The name of its output in the graph.
        path: The file to write.
    """
    import tensorflow as tf
    import tf2onnx

    signature = [tf.TensorSpec(model.input_shape, tf.uint8, name=INPUT_NAME)]

    # A dictionary's key becomes the output's name in the graph, the TensorSpec's name the input's.
    @tf.function(input_signature=signature)  # type: ignore[untyped-decorator] # of TensorFlow
    def serve(image: "tf.Tensor") -> dict[str, "tf.Tensor"]:
        return {output_name: model(image, training=False)}

    graph, _ = tf2onnx.convert.from_function(serve, input_signature=signature, opset=OPSET)
    for value in (*graph.graph.input, *graph.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = BATCH
    graph.ir_version = min(graph.ir_version, IR_VERSION)
    graph.graph.name = path.stem
    onnx.checker.check_model(graph, full_check=True)
    check_signature(graph, (output_name,))
    onnx.save_model(graph, path)


def check_signature(graph: onnx.ModelProto, outputs: tuple[str, ...]) -> None:
    """Require the contract's names and types of the input and the outputs.

    Raises:
        ValueError: They are others.
    """
    names = [value.name for value in (*graph.graph.input, *graph.graph.output)]
    types = [value.type.tensor_type.elem_type for value in (*graph.graph.input, *graph.graph.output)]
    expected = [onnx.TensorProto.UINT8, *[onnx.TensorProto.FLOAT] * len(outputs)]
    if names != [INPUT_NAME, *outputs] or types != expected:
        raise ValueError(f"tf2onnx made tensors {names} of types {types}; {[INPUT_NAME, *outputs]} are due")
