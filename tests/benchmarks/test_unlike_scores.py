"""Every score that was tried tells pictures of no class from pictures of one, where that is easy."""

import numpy as np
import pytest

from benchmarks.unlike.__main__ import auroc
from benchmarks.unlike.scores import Layers, scores_of

WIDTH, CLASSES = 200, 5


def layers(random: np.random.Generator, centres: np.ndarray, weights: np.ndarray, means: float) -> Layers:  # type: ignore[type-arg]
    before = centres + random.normal(0, 1, (len(centres), WIDTH))
    return Layers(random.normal(means, 0.1, (len(centres), 8)) ** 2, before, np.maximum(before, 0) @ weights)


@pytest.fixture(scope="module")
def found() -> dict[str, float]:
    random = np.random.default_rng(0)
    classes = np.repeat(4 * np.eye(CLASSES), WIDTH // CLASSES, axis=1) - 1
    weights = np.repeat(np.eye(CLASSES), WIDTH // CLASSES, axis=0) / 20
    labels = np.arange(600) % CLASSES
    train, usual = (layers(random, classes[labels], weights, 1.0) for _ in range(2))
    other = layers(random, np.full((300, WIDTH), -0.4), weights, 2.0)
    scores = scores_of(train, labels, usual, weights, np.zeros(CLASSES))
    return {name: auroc(score(usual), score(other)) for name, score in scores}


def test_all_tell_what_is_easy(found: dict[str, float]) -> None:
    assert len(found) == 22
    assert {name: told for name, told in found.items() if told < 0.95} == {}
