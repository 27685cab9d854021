"""What the classes mean to a training: which are learned, what is aimed at, how much each image counts."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.contract import MODEL_NAME, Contract, Network, network_filters
from model.data.dataset import Dataset

WEIGHT_LIMIT: Final = 5.0
"""How many times a frequent class's weight a rare one's is at most: a handful of images says only so much."""


def contract_of(dataset: Dataset, model: str = MODEL_NAME, network: Network = "cnn") -> Contract:
    """Return the contract of a version of a network that is trained on a data set.

    A class without a training image is known by name alone.

    Raises:
        ContractError: Fewer than two classes have training images, or their size suits no such network.
    """
    counts = class_counts(dataset)
    unlearned = tuple(np.flatnonzero(counts == 0).tolist())
    return Contract(
        dataset.classes,
        dataset.size,
        dataset.fit,
        network=network,
        filters=network_filters(network),
        unlearned=unlearned,
        model=model,
    )


def class_counts(dataset: Dataset) -> NDArray[np.int64]:
    """Training images of each class: int64 `[C]`."""
    counts: NDArray[np.int64] = np.bincount(dataset.train.labels, minlength=len(dataset.classes))
    return counts


def smoothed(targets: NDArray[np.float32], smoothing: float, contract: Contract) -> NDArray[np.float32]:
    """Spread a share of the right answers over all learned classes; the others' targets stay 0.

    Args:
        targets: Probabilities `[N, C]`.
        smoothing: The share.
        contract: Says which classes are learned.
    """
    spread = targets * (1 - smoothing) + smoothing / len(contract.learned)
    spread[:, list(contract.unlearned)] = 0
    return spread.astype(np.float32)


def class_weights(counts: NDArray[np.int64], balance: float) -> NDArray[np.float32]:
    """Return how much an image of each class counts: float32 `[C]`, 1 in the mean over the images.

    Args:
        counts: Training images of each class.
        balance: 0 counts all images alike, 1 all classes; between them the weight is a power of
            1 / frequency, as for words by Mikolov et al. (2013).
    """
    present = np.maximum(counts, 1).astype(np.float64)
    weights = np.minimum((present.max() / present) ** balance, WEIGHT_LIMIT)
    mean = float((weights * counts).sum() / counts.sum())
    return np.asarray(weights / mean, np.float32)
