"""How images are varied: whole pixels exactly, parts of a pixel and turns as scipy resamples them."""

import numpy as np
import pytest
import scipy.ndimage

from model.training.batches.augment import Shifts, Warps, augmentation, cut_out
from model.training.recipe import PictureRecipe, Recipe

RECIPE = Recipe("any", epochs=1, batch_size=4, learning_rate=1e-3, shift=3, flip=True)


@pytest.mark.parametrize("size", [32, 48])
def test_shifts_cut_each_image_at_its_own_place(size: int) -> None:
    import tensorflow as tf

    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (50, size, size, 3), np.uint8)
    bordered = np.pad(images, ((0, 0), (3, 3), (3, 3), (0, 0)))
    shifts = augmentation(RECIPE)
    assert isinstance(shifts, Shifts)
    offsets, mirrored = shifts.draw(rng, 50)
    assert (offsets.min(), offsets.max(), set(mirrored)) == (0, 6, {0, 1})
    seen = np.asarray(shifts.vary(tf.constant(bordered), tf.constant(offsets), tf.constant(mirrored)))
    for image, (row, column), mirror, got in zip(bordered, offsets, mirrored, seen, strict=True):
        cut = image[row : row + size, column : column + size]
        np.testing.assert_array_equal(got, cut[:, ::-1] if mirror else cut)


def test_without_mirroring_nothing_is_mirrored() -> None:
    rng = np.random.default_rng(0)
    assert not Shifts(3, flip=False).draw(rng, 100)[1].any()
    views, _ = Warps(3, 15.0, 0.1, 0.1, flip=False).draw(rng, 100)
    assert (views[:, 0] > 0).all()
    views, _ = Warps(3, 15.0, 0.1, 0.1, flip=True).draw(rng, 1000)
    assert 400 < (views[:, 0] < 0).sum() < 600


def test_warps_turn_zoom_and_move_about_the_middle() -> None:
    import tensorflow as tf

    rng = np.random.default_rng(1)
    coarse = rng.uniform(0, 255, (20, 6, 6, 3))
    images = np.stack([scipy.ndimage.zoom(one, (8, 8, 1), order=1) for one in coarse]).astype(np.uint8)
    warps = Warps(shift=5, turn=20.0, zoom=0.2, brightness=0.3, flip=True)
    views, light = warps.draw(rng, 20)
    seen = np.asarray(warps.vary(tf.constant(images), tf.constant(views), tf.constant(light)))
    assert (seen.dtype, seen.shape) == (np.float32, images.shape)
    middle = (48 - 1) / 2
    rows, columns = np.mgrid[:48, :48] - middle
    for image, (xx, xy, x, yx, yy, y), factor, got in zip(images, views, light, seen, strict=True):
        places = [yx * columns + yy * rows + y + middle, xx * columns + xy * rows + x + middle]
        due = [
            scipy.ndimage.map_coordinates(image[..., colour].astype(float), places, order=1, mode="nearest")
            for colour in range(3)
        ]
        expected = np.clip(np.stack(due, axis=-1) * factor, 0, 255)
        inside = np.all([(place > 0) & (place < 47) for place in places], axis=0)
        np.testing.assert_allclose(got[inside], expected[inside], atol=0.05)
        assert np.abs(got - expected).max() < 40, "beyond the edge its colour moves in"


def test_what_is_drawn_stays_within_the_recipe() -> None:
    recipe = PictureRecipe(**vars(RECIPE), turn=12.0, zoom=0.1, brightness=0.2)
    warps = augmentation(recipe)
    assert isinstance(warps, Warps)
    views, light = warps.draw(np.random.default_rng(2), 5000)
    turned = np.degrees(np.arctan2(-views[:, 1], views[:, 4]))
    assert (turned.min(), turned.max()) == pytest.approx((-12, 12), abs=0.1)
    scale = 1 / np.hypot(views[:, 1], views[:, 4])
    assert (scale.min(), scale.max()) == pytest.approx((0.9, 1.1), abs=0.01)
    assert (views[:, [2, 5]].min(), views[:, [2, 5]].max()) == pytest.approx((-3, 3), abs=0.02)
    assert (light.min(), light.max()) == pytest.approx((0.8, 1.2), abs=0.01)
    assert augmentation(PictureRecipe(**vars(RECIPE))) == Shifts(3, flip=True)


def test_cutout_covers_one_square_of_each_image() -> None:
    import tensorflow as tf

    images = np.random.default_rng(0).integers(0, 100, (400, 32, 32, 3), np.uint8)
    covered = np.asarray(cut_out(tf.constant(images), 12, tf.constant([1, 2])))
    hidden = (covered == 128).all(axis=-1)
    np.testing.assert_array_equal(covered[~hidden], images[~hidden])
    for hole in hidden:
        rows, columns = np.flatnonzero(hole.any(axis=1)), np.flatnonzero(hole.any(axis=0))
        assert hole.sum() == len(rows) * len(columns), "not a rectangle"
        assert np.ptp(rows) < 12
        assert np.ptp(columns) < 12
    assert hidden.sum(axis=(1, 2)).max() == 12 * 12
    assert hidden.any(axis=0).all(), "some place is never covered"
    again, other = (cut_out(tf.constant(images), 12, tf.constant([1, seed])) for seed in (2, 3))
    np.testing.assert_array_equal(covered, again)
    assert not np.array_equal(covered, other)
