"""Proof that an exported graph answers as the trained model does; without it there is no version."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from export.errors import ParityError
from export.graph.export import Graphs
from export.store.lineage import Parity
from model.contract import DEFAULT_CONTRACT, INPUT_NAME, SCORE_NAME, Contract
from model.data.images import Images

if TYPE_CHECKING:
    import keras

    from model.network.unlike import Score

TOLERANCE: Final = 1e-5
"""Largest absolute difference of an output that still counts as the same answer."""

TOLERANCE_LITE: Final = 1e-4
"""Of EfficientNet-Lite, whose 49 convolutions, one after another, pass on what another order of their sums
differs by: up to 5e-6 was found on ImageNet's classes, 1e-7 of the cnn."""

TOLERANCE_SCORE: Final = 1e-3
"""Of the score of what is unlike anything learned, whose unit is a standard deviation of usual pictures."""

_BATCH: Final = 64


def measure(reference: NDArray[np.float32], candidate: NDArray[np.float32]) -> Parity:
    """How far two sets of answers are apart, without a judgement.

    Args:
        reference: `[images, …]`; of two dimensions it is taken for probabilities, and classes are compared.
        candidate: Of the same shape.

    Raises:
        ParityError: The shapes differ, there is no image, or a value is not a number.
    """
    if reference.shape != candidate.shape or not len(reference):
        raise ParityError(
            f"The exported graph answers with shape {candidate.shape}, the model with {reference.shape};"
            " export again."
        )
    if not (np.isfinite(reference).all() and np.isfinite(candidate).all()):
        raise ParityError("The model or its export answers with values that are no numbers; train again.")
    disagreements = 0
    if reference.ndim == 2:
        disagreements = int((reference.argmax(axis=1) != candidate.argmax(axis=1)).sum())
    difference = np.abs(reference.astype(np.float64) - candidate.astype(np.float64)).max()
    return Parity(images=len(reference), max_difference=float(difference), disagreements=disagreements)


def compare(
    reference: NDArray[np.float32], candidate: NDArray[np.float32], tolerance: float = TOLERANCE
) -> Parity:
    """Require that two sets of answers are the same, within `tolerance`.

    The most probable class may differ only where the reference's two best differ by less than the tolerance.

    Returns:
        The figures.

    Raises:
        ParityError: They are not the same; the sentence says by how much.
    """
    parity = measure(reference, candidate)
    if parity.max_difference > tolerance:
        raise ParityError(
            f"The exported graph differs from the trained model by {parity.max_difference:.2g} on"
            f" {parity.images} images, more than {tolerance:g}; nothing was published."
        )
    if reference.ndim == 2:
        best = np.sort(reference, axis=1)
        clear = best[:, -1] - best[:, -2] >= tolerance
        flipped = int((clear & (reference.argmax(axis=1) != candidate.argmax(axis=1))).sum())
        if flipped:
            raise ParityError(
                f"The exported graph gives {flipped} of {parity.images} images another class than the"
                " trained model; nothing was published."
            )
    return parity


def prove(
    network: "keras.Model",
    temperature: float,
    graphs: Graphs,
    images: NDArray[np.uint8],
    contract: Contract = DEFAULT_CONTRACT,
    score: "Score | None" = None,
) -> tuple[Parity, Parity]:
    """Compare both exported graphs, in ONNX Runtime, with their Keras models, on the CPU.

    Args:
        network: uint8 images → logits.
        temperature: As it was exported.
        graphs: The exported files.
        images: uint8 `[N, S, S, 3]`, held out from training.
        contract: As they were exported.
        score: As it was exported; its answers are compared too.

    Returns:
        The figures of the classifier and of the filter model.

    Raises:
        ParityError: One of them answers differently.
    """
    from model.network.cnn import probabilities
    from model.network.filters import filter_bank

    classifier = probabilities(network, temperature, contract)
    filters = filter_bank(contract.size)
    tolerance = TOLERANCE if contract.network == "cnn" else TOLERANCE_LITE
    if score is not None:
        _compare_scores(network, temperature, graphs, images, contract, score)
    return (
        compare(keras_outputs(classifier, images), onnx_outputs(graphs.classifier, images), tolerance),
        compare(keras_outputs(filters, images), onnx_outputs(graphs.filters, images)),
    )


def _compare_scores(
    network: "keras.Model",
    temperature: float,
    graphs: Graphs,
    images: NDArray[np.uint8],
    contract: Contract,
    score: "Score",
) -> None:
    import keras

    from model.network.unlike import scored

    both = scored(network, temperature, contract, score)
    due = keras_outputs(keras.Model(both.input, both.output[SCORE_NAME]), images)[:, 0]
    compare(due, onnx_outputs(graphs.classifier, images, output=SCORE_NAME)[:, 0], TOLERANCE_SCORE)


def keras_outputs(model: "keras.Model", images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """A Keras model's answers to uint8 images, computed on the CPU whatever it was trained on."""
    import tensorflow as tf

    # A GPU's TensorFloat-32 and its convolution algorithms would show up as a difference of the export.
    with tf.device("/CPU:0"):
        batches = [np.asarray(model(tf.constant(batch), training=False)) for batch in _batches(images)]
    return np.concatenate(batches).astype(np.float32)


def onnx_outputs(
    path: Path, images: Images, *, threads: int = 1, output: str | None = None
) -> NDArray[np.float32]:
    """An ONNX file's answers to uint8 images, by ONNX Runtime on the CPU; its first output, unless named."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    asked = [output or session.get_outputs()[0].name]
    batches: list[Any] = [session.run(asked, {INPUT_NAME: batch})[0] for batch in _batches(images)]
    outputs: NDArray[np.float32] = np.concatenate(batches)
    return outputs


def _batches(images: Images) -> Iterator[NDArray[np.uint8]]:
    return (images[start : start + _BATCH] for start in range(0, len(images), _BATCH))
