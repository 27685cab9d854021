"""Which pictures learn, choose and judge where only some of each class are taken."""

import numpy as np

from benchmarks.training.few_natural import few
from model.data.dataset import Dataset, Split


def test_so_many_of_each_class_are_taken_and_none_twice() -> None:
    labels = np.repeat(np.arange(2), 300)
    shown = np.arange(600, dtype=np.uint16).view(np.uint8).reshape(600, 1, 1, 2)  # a picture's number
    images = np.broadcast_to(shown[..., [0, 1, 0]], (600, 32, 32, 3))
    split = Split(images, labels, ("a", "b"))
    drawn = few(Dataset(split, split, split, "here", "images"), 10, 96, seed=1)
    assert [np.bincount(one.labels).tolist() for one in (drawn.train, drawn.validation, drawn.test)] == [
        [8, 8],
        [2, 2],
        [200, 200],
    ]
    assert drawn.size == 96
    pixels = np.concatenate([np.asarray(one.images)[:, 0, 0] for one in (drawn.train, drawn.validation)])
    numbers = pixels[:, 0] + 256 * pixels[:, 1].astype(int)
    assert len(set(numbers.tolist())) == 20
    assert ((numbers >= 300) == np.concatenate([drawn.train.labels, drawn.validation.labels])).all()
    other = few(Dataset(split, split, split, "here", "images"), 10, 96, seed=2)
    assert (np.asarray(other.train.images)[:, 0, 0] != np.asarray(drawn.train.images)[:, 0, 0]).any()
    np.testing.assert_array_equal(np.asarray(other.test.images), np.asarray(drawn.test.images))
