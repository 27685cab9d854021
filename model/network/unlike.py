"""A score of how unlike anything learned a picture is, computed inside the served graph.

Two things are added, each in standard deviations of the validation pictures: the energy of the logits (Liu et
al. 2020) above their mean, which is high where no class stands out; and, of the original network, by how much
the means of the first block's channels are further from those of the training pictures than is usual
(Mahalanobis' distance; Lee et al. 2018). That tells noise, screens and textures, which the classes themselves
do not. What else was tried, and what each tells: docs/unlike.md. No tensor of the network's middle becomes an
output, which would cost its int8 twin what it gains.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from model.contract import INPUT_NAME, OUTPUT_NAME, SCORE_NAME, Contract
from model.data.images import Images
from model.network.cnn import images_at_a_time, unlearned_mask

if TYPE_CHECKING:
    import keras

LEARNED_FROM: Final = 10_000
"""Training pictures that the distance is learned from, at most."""

LEAST_ENERGY: Final = -2.0
"""Standard deviations that energy takes off at most: noise that a network is sure of is noise still."""

USUAL: Final = 1.0
"""Standard deviations above the mean up to which a distance says nothing: there energy alone knows more."""

DISTANCE_WEIGHT: Final = 1.0
"""What the rest of the distance counts beside the energy; both are chosen as docs/unlike.md says."""

_LAYER: Final = "pool1"
_LEAST: Final = 1e-6  # of a deviation or variance that would be 0
_SHRINKAGE: Final = 1e-3  # of the mean variance, so that a channel that never moves is not divided by 0


@dataclass(frozen=True)
class Score:
    """What the score needs to know of the training.

    Attributes:
        energy: Mean and standard deviation of the validation pictures' energy.
        distance: The same of the logarithm of their distance.
        middle: float32 `[K]`, the training pictures' mean; of a network without the distance empty.
        whitening: float32 `[K, K]`: brings their deviations to the same scale.
    """

    energy: tuple[float, float]
    distance: tuple[float, float] = (0.0, 1.0)
    middle: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32))
    whitening: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0), np.float32))

    def save(self, path: Path) -> None:
        """Write it to a file ending in `.npz`."""
        np.savez(
            path,
            allow_pickle=False,
            energy=self.energy,
            distance=self.distance,
            middle=self.middle,
            whitening=self.whitening,
        )

    @classmethod
    def load(cls, path: Path) -> "Score":
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            energy, distance = (
                (float(file[name][0]), float(file[name][1])) for name in ("energy", "distance")
            )
            return cls(energy, distance, file["middle"], file["whitening"])


def fit_score(
    network: "keras.Model",
    temperature: float,
    contract: Contract,
    train: Images,
    validation: Images,
    seed: int = 0,
) -> Score:
    """Learn the score of a trained network.

    Args:
        network: `model.network.cnn.build_network`'s, or EfficientNet-Lite's.
        temperature: What its logits are divided by.
        contract: What it was built for.
        train: uint8 `[N, S, S, 3]` that it was trained on.
        validation: uint8 `[M, S, S, 3]` that it was not; at least two.
        seed: Chooses of the training pictures.
    """
    means, _ = _parts(network, temperature, contract, validation[:1])
    middle, whitening = np.empty(0, np.float32), np.empty((0, 0), np.float32)
    if means is not None:
        rows = np.sort(np.random.default_rng(seed).permutation(len(train))[:LEARNED_FROM])
        learned, _ = _parts(network, temperature, contract, train, rows)
        middle, whitening = _whitened(np.sqrt(np.asarray(learned, np.float64)))
    held, energies = _parts(network, temperature, contract, validation)
    unscaled = Score((0.0, 1.0), (0.0, 1.0), middle, whitening)
    distances = np.zeros(1) if held is None else _distances(held, unscaled)
    return Score(_standard(energies), _standard(distances), middle, whitening)


def _whitened(roots: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    middle = roots.mean(axis=0)
    variances, directions = np.linalg.eigh(np.cov(roots - middle, rowvar=False, bias=True))
    scale = np.sqrt(np.maximum(variances, 0) + _SHRINKAGE * variances.mean() + _LEAST)
    return middle.astype(np.float32), (directions / scale).astype(np.float32)


def _distances(means: NDArray[np.float32], score: Score) -> NDArray[np.float64]:
    apart = (np.sqrt(means) - score.middle) @ score.whitening
    distances: NDArray[np.float64] = np.log(np.square(apart.astype(np.float64)).sum(axis=1))
    return distances


def _standard(values: NDArray[np.floating]) -> tuple[float, float]:
    return float(values.mean()), max(float(values.std()), _LEAST)


def _parts(
    network: "keras.Model",
    temperature: float,
    contract: Contract,
    images: Images,
    rows: NDArray[np.integer] | None = None,
) -> tuple[NDArray[np.float32] | None, NDArray[np.float32]]:
    """Means of the first block's channels, `[N, K]`, where there are any, and energies, `[N]`.

    Of these rows of the images, or of all; some at a time, for they may be more than memory holds.
    """
    import keras
    import tensorflow as tf

    image = keras.Input(contract.image_shape, dtype="uint8", name=INPUT_NAME)
    means, logits = _inner(network)(image)
    energy = _energy(_calibrated(logits, temperature, contract), contract)
    model = keras.Model(image, {"means": means, "energy": energy})
    graph = tf.function(
        lambda batch: model(batch, training=False),
        input_signature=[tf.TensorSpec((None, *contract.image_shape), tf.uint8)],
    )
    size = images_at_a_time(contract.size)
    rows = np.arange(len(images)) if rows is None else rows
    parts = [graph(images[rows[start : start + size]]) for start in range(0, len(rows), size)]
    energies = np.concatenate([part["energy"].numpy()[:, 0] for part in parts])
    if contract.network != "cnn":
        return None, energies
    return np.concatenate([part["means"].numpy() for part in parts]), energies


def _inner(network: "keras.Model") -> "keras.Model":
    """The network with one more output: the means of the first block's channels, where it has such."""
    import keras

    logits = network.output
    if all(layer.name != _LAYER for layer in network.layers):
        return keras.Model(network.input, [logits, logits])
    block = network.get_layer(_LAYER).output
    means = keras.layers.GlobalAveragePooling2D(dtype="float32", name="score_means")(block)
    return keras.Model(network.input, [means, logits])


def _energy(logits: Any, contract: Contract) -> Any:
    """The mean of calibrated logits minus the logarithm of the sum of their powers, `[N, 1]`.

    Unlearned classes, which are masked, have no part in it.
    """
    import keras

    share = np.zeros(len(contract.classes), np.float32)
    share[list(contract.learned)] = 1 / len(contract.learned)
    mean = keras.ops.sum(logits * share, axis=1, keepdims=True)
    return mean - keras.ops.logsumexp(logits, axis=1, keepdims=True)


def _calibrated(logits: Any, temperature: float, contract: Contract) -> Any:
    """As in `model.network.cnn.probabilities`."""
    import keras

    offset = unlearned_mask(contract).tolist() if contract.unlearned else 0.0
    return keras.layers.Rescaling(1 / temperature, offset, name="calibration")(logits)


def scored(network: "keras.Model", temperature: float, contract: Contract, score: Score) -> "keras.Model":
    """Return the model that is served with its score.

    Input `image`, uint8 `[N, S, S, 3]`; outputs by name `probs`, float32 `[N, C]`, as
    `model.network.cnn.probabilities` gives it, and `ood_score`, float32 `[N, 1]`.
    """
    import keras

    image = keras.Input(contract.image_shape, dtype="uint8", name=INPUT_NAME)
    means, logits = _inner(network)(image)
    calibrated = _calibrated(logits, temperature, contract)
    probs = keras.layers.Softmax(name=OUTPUT_NAME)(calibrated)
    energy = _in_deviations(_energy(calibrated, contract), score.energy)
    total = keras.ops.maximum(energy, LEAST_ENERGY)
    if len(score.middle):
        apart = keras.ops.matmul(keras.ops.sqrt(means) - score.middle, score.whitening)
        distance = keras.ops.log(keras.ops.sum(keras.ops.square(apart), axis=1, keepdims=True))
        beyond = keras.ops.relu(_in_deviations(distance, score.distance) - USUAL)
        total = total + DISTANCE_WEIGHT * beyond
    return keras.Model(image, {OUTPUT_NAME: probs, SCORE_NAME: total}, name="classifier")


def _in_deviations(values: Any, standard: tuple[float, float]) -> Any:
    mean, deviation = standard
    return (values - mean) * (1 / deviation)
