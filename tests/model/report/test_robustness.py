import numpy as np
import pytest
from numpy.typing import NDArray

from model.data.dataset import Split
from model.report.robustness import DEGRADATIONS, PER_CLASS, robustness

LEVELS = np.array([30, 60, 90, 120, 150])


def by_brightness(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """A classifier that knows nothing but how bright an image is."""
    mean = images.mean(axis=(1, 2, 3))
    return -np.abs(mean[:, None] - LEVELS).astype(np.float32)


def test_only_what_changes_brightness_costs_a_brightness_classifier_anything() -> None:
    labels = np.arange(60, dtype=np.int64) % 5
    rng = np.random.default_rng(0)
    images = LEVELS[labels][:, None, None, None] + rng.integers(-5, 6, (60, 32, 32, 3))
    found = robustness(Split(images.astype(np.uint8), labels), by_brightness)
    assert found.images == 60
    assert found.plain == 1
    assert set(found.degraded) == set(DEGRADATIONS)
    for name, by_strength in found.degraded.items():
        if name.startswith("brightness"):
            # All but the darkest class look like a darker one, all but the brightest like a brighter one.
            assert by_strength[0.4] == by_strength[1.6] == 0.2
        else:
            assert set(by_strength.values()) == {1.0}, name


@pytest.mark.slow
def test_the_same_images_of_each_class_are_taken() -> None:
    labels = np.repeat(np.arange(5), PER_CLASS + 50)
    seen: list[int] = []

    def count(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        seen.append(len(images))
        return np.eye(5, dtype=np.float32)[np.minimum(images[:, 0, 0, 0] // 40, 4)]

    images = np.broadcast_to((40 * labels)[:, None, None, None], (len(labels), 32, 32, 3)).astype(np.uint8)
    found = robustness(Split(images, labels), count)
    assert set(seen) == {5 * PER_CLASS}
    assert found.plain == 1
