"""Small images that become larger ones."""

import numpy as np
from PIL import Image

from model.data.dataset import Dataset, Split
from model.training.enlarged import enlarged

CLASSES = ("left", "right")


def split(seed: int, images: int) -> Split:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, images)
    return Split(rng.integers(0, 256, (images, 32, 32, 3), np.uint8), labels, CLASSES, np.arange(images) // 2)


def test_splits_labels_and_groups_stay_and_the_images_grow_as_pictures_do() -> None:
    small = Dataset(split(1, 5), split(2, 3), split(3, 2), "here", "cifar10")
    large = enlarged(small, 96)
    assert (large.size, large.kind, large.source, large.classes) == (96, "images", "here", CLASSES)
    for before, after in (
        (small.train, large.train),
        (small.validation, large.validation),
        (small.test, large.test),
    ):
        assert after.images.shape == (len(before), 96, 96, 3)
        np.testing.assert_array_equal(after.labels, before.labels)
        np.testing.assert_array_equal(after.groups, before.groups)
        for image, larger in zip(before.images, after.images, strict=True):
            due = Image.fromarray(image).resize((96, 96), Image.Resampling.BICUBIC)
            np.testing.assert_array_equal(larger, np.asarray(due))
    assert small.size == 32
