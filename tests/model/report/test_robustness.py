import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from model.data.dataset import Split
from model.report.robustness import DEGRADATIONS, PER_CLASS, chosen, degradations, robustness

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


def test_degradations_are_in_proportion_to_the_images() -> None:
    assert degradations(32) == dict(DEGRADATIONS)
    blur, radii = degradations(96)["blur (radius in pixels)"]
    assert radii == (1.5, 3, 4.5, 6)
    # The same picture, three times as large, is as blurred.
    small = np.zeros((32, 32, 3), np.uint8)
    small[8:24, 8:24] = 255
    large = small.repeat(3, axis=0).repeat(3, axis=1)
    seen = np.asarray(blur(Image.fromarray(large), 6))[1::3, 1::3].astype(int)
    assert np.abs(seen - np.asarray(blur(Image.fromarray(small), 2))).mean() < 4
    # A turn shows no black corner at any size.
    turn, _ = degradations(96)["rotation (degrees)"]
    assert np.asarray(turn(Image.new("RGB", (96, 96), (200, 200, 200)), 30)).min() == 200


@pytest.mark.parametrize(
    ("classes", "size", "images"), [(5, 32, 1000), (10, 64, 1000), (10, 224, 200), (1000, 32, 1000)]
)
def test_large_images_and_many_classes_do_not_make_it_long(classes: int, size: int, images: int) -> None:
    labels = np.tile(np.arange(classes), 300)
    rows = chosen(labels, size)
    assert len(rows) == images
    assert len(set(labels[rows].tolist())) == classes
    assert len(chosen(np.arange(1000), 224)) == 200


def test_images_of_classes_that_are_not_learned_are_left_out() -> None:
    labels = np.array([0, 1, 4, 4, 2, 3])
    images = np.broadcast_to(LEVELS[labels][:, None, None, None], (6, 48, 48, 3)).astype(np.uint8)
    found = robustness(Split(images, labels), by_brightness, unlearned=[4])
    assert found.images == 4
    assert found.plain == 1
