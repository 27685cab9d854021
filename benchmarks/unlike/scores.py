"""Scores of how unlike anything learned a picture is, of a trained network as it is: what else was tried.

Each as its paper has it: ReAct (Sun et al. 2021), DICE (Sun & Li 2022), ASH (Djurisic et al. 2023), ViM (Wang
et al. 2022), GEN (Liu et al. 2023), NECO (Ben Ammar et al. 2024), nearest neighbours (Sun et al. 2022),
Mahalanobis (Lee et al. 2018) and the relative one (Ren et al. 2021).
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from model.network.unlike import LEAST_ENERGY, USUAL

Values = NDArray[np.floating]
Score = Callable[["Layers"], Values]
_LEFT: Final = 95  # percent that ASH and DICE take away: nine tenths of the hidden layer are 0 anyhow


class Layers:
    """What a network makes of some pictures.

    Attributes:
        means: Of the first block's channels, `[N, 32]`.
        before: The hidden layer's, before its ReLU, `[N, 512]`.
        hidden: The same after it.
        logits: Calibrated, of the served classes, `[N, 5]`.
    """

    def __init__(self, means: Values, before: Values, logits: Values) -> None:
        self.means, self.before, self.logits = means, before, logits
        self.hidden = np.maximum(before, 0)


def scores_of(
    train: Layers, labels: NDArray[np.integer], usual: Layers, weights: Values, bias: Values
) -> Iterator[tuple[str, Score]]:
    """The scores by name, each higher where a picture is more unlike the training pictures.

    Args:
        train: Of some training pictures.
        labels: Their classes, `[N]`.
        usual: Of the validation pictures.
        weights: Of the last layer, `[512, 5]`, divided by the temperature.
        bias: The same, `[5]`.
    """
    yield "highest probability", lambda of: -_probs(of.logits).max(axis=1)
    yield "highest logit", lambda of: -of.logits.max(axis=1)
    yield "entropy", lambda of: -(_probs(of.logits) * np.log(_probs(of.logits) + 1e-12)).sum(axis=1)
    yield "GEN, power 0.1", lambda of: ((_probs(of.logits) * (1 - _probs(of.logits))) ** 0.1).sum(axis=1)
    for heat in (0.5, 1.0, 2.0):
        yield f"energy, temperature {heat:g}", partial(_at, heat)
    yield "energy above the mean", above_mean
    clip = np.percentile(train.hidden, 99.5)
    yield "ReAct, 99.5 %", lambda of: above_mean(_ended(np.minimum(of.hidden, clip), weights, bias))
    yield "ASH, 5 % left", lambda of: -_energy(_shaped(of.hidden) @ weights + bias)
    shares = train.hidden.mean(axis=0)[:, None] * weights
    kept = np.where(shares > np.percentile(shares, _LEFT), weights, 0)
    yield "DICE, 5 % left", lambda of: above_mean(_ended(of.hidden, kept, bias))
    centre = train.hidden.mean(axis=0)
    directions = np.linalg.eigh(np.cov(train.hidden - centre, rowvar=False))[1]
    origin = -np.linalg.pinv(weights.T) @ bias

    def rest(of: Layers) -> Values:
        lengths: Values = np.linalg.norm((of.hidden - origin) @ directions[:, :-128], axis=1)
        return lengths

    alpha = train.logits.max(axis=1).mean() / rest(train).mean()
    yield "ViM, 128 dimensions", lambda of: alpha * rest(of) - _energy(of.logits)
    known = train.hidden / np.linalg.norm(train.hidden, axis=1, keepdims=True)

    def neighbour(of: Layers) -> Values:
        near = of.hidden / np.linalg.norm(of.hidden, axis=1, keepdims=True) @ known.T
        tenth: Values = -np.partition(near, -10, axis=1)[:, -10]
        return tenth

    yield "10th nearest neighbour, hidden layer", neighbour
    classes = np.stack([train.hidden[labels == label].mean(axis=0) for label in np.unique(labels)])
    within = _distance(train.hidden - classes[np.searchsorted(np.unique(labels), labels)])
    whole = _distance(train.hidden - centre)

    def by_class(of: Layers) -> Values:
        nearest: Values = np.stack([within(of.hidden - one) for one in classes]).min(axis=0)
        return nearest

    yield "Mahalanobis by class, hidden layer", by_class
    yield "the same, relative", lambda of: by_class(of) - whole(of.hidden - centre)

    def collapse(of: Layers) -> Values:
        moved = of.hidden - centre
        share = np.linalg.norm(moved @ directions[:, -4:], axis=1) / np.linalg.norm(moved, axis=1)
        collapsed: Values = -share * of.logits.max(axis=1)
        return collapsed

    yield "NECO, 4 dimensions, and highest logit", collapse
    roots = np.sqrt(train.means)
    apart = _distance(roots - roots.mean(axis=0))
    distance = standard(lambda of: np.log(apart(np.sqrt(of.means) - roots.mean(axis=0))), usual)
    for name, score in (("energy above the mean", above_mean), ("NECO and highest logit", collapse)):
        likely = standard(score, usual)
        for beyond in (USUAL, 1.5, 2.0):
            yield f"{name}, and the distance beyond {beyond:g}", partial(_both, likely, distance, beyond)


def _both(likely: Score, distance: Score, beyond: float, of: Layers) -> Values:
    """As `model.network.unlike.scored` puts two parts together."""
    both: Values = np.maximum(likely(of), LEAST_ENERGY) + np.maximum(distance(of) - beyond, 0)
    return both


def _at(heat: float, of: Layers) -> Values:
    return -_energy(of.logits, heat)


def _probs(logits: Values) -> Values:
    probs: Values = np.exp(logits - logsumexp(logits, axis=1, keepdims=True))
    return probs


def _energy(logits: Values, heat: float = 1.0) -> Values:
    energy: Values = heat * logsumexp(logits / heat, axis=1)
    return energy


def above_mean(of: Layers) -> Values:
    above: Values = of.logits.mean(axis=1) - _energy(of.logits)
    return above


def _ended(hidden: Values, weights: Values, bias: Values) -> Layers:
    """Layers of another hidden layer, or with another last one."""
    return Layers(np.empty(0), hidden, hidden @ weights + bias)


def _shaped(hidden: Values) -> Values:
    """ASH-S: the highest twentieth of each picture's values, as much stronger as the others were strong."""
    left = np.where(hidden < np.percentile(hidden, _LEFT, axis=1, keepdims=True), 0, hidden)
    shaped: Values = left * np.exp(hidden.sum(1, keepdims=True) / (left.sum(1, keepdims=True) + 1e-6))
    return shaped


def _distance(moved: Values) -> Callable[[Values], Values]:
    """Mahalanobis' distance, squared, by the covariance of what is given, shrunk a thousandth."""
    covariance = np.cov(moved, rowvar=False)
    covariance += 1e-3 * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    inverse = np.linalg.inv(covariance)
    return lambda values: ((values @ inverse) * values).sum(axis=1)


def standard(score: Score, usual: Layers) -> Score:
    values = score(usual)
    return lambda of: (score(of) - values.mean()) / values.std()
