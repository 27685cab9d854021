"""What the masks tell of classifiers whose reasons are known."""

import numpy as np
import pytest
from numpy.typing import NDArray

from image_transformer.explain.masks import Grids, Slopes, hidden

MASKS = 500


def picture(size: int, patch: tuple[slice, slice]) -> NDArray[np.uint8]:
    """Grey noise with a bright patch."""
    made = np.random.default_rng(1).integers(90, 110, (size, size, 3), np.uint8)
    made[patch] = 250
    return made


def brightness(patch: tuple[slice, slice], images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """A class that depends on one patch alone."""
    return images[:, *patch].mean(axis=(1, 2, 3)).astype(np.float32) / 255


def explained(
    image: NDArray[np.uint8], patch: tuple[slice, slice], together: int = 7
) -> tuple[NDArray[np.float32], float]:
    grids, slopes = Grids(len(image), MASKS), Slopes(len(image))
    for start in range(0, MASKS, together):
        masks = grids.masks(start, min(start + together, MASKS))
        slopes.add(masks, brightness(patch, hidden(image, masks)))
    assert slopes.count == MASKS
    return slopes.map()


@pytest.mark.parametrize("size", [32, 64, 224])
@pytest.mark.parametrize("corner", [(0.1, 0.6), (0.65, 0.3)])
def test_the_peak_is_on_the_patch_that_the_class_depends_on(size: int, corner: tuple[float, float]) -> None:
    top, left = (round(share * size) for share in corner)
    patch = slice(top, top + size // 8), slice(left, left + size // 8)
    image = picture(size, patch)
    values, error = explained(image, patch)
    assert patch[0].start <= values.argmax() // size < patch[0].stop
    assert patch[1].start <= values.argmax() % size < patch[1].stop
    # Seen it is 250 bright, hidden the mean. A pixel says less than all: it is seen when others are not.
    assert 0.5 < values[patch].mean() / ((250 - image.mean()) / 255) < 1.05
    away = np.ones(values.shape, bool)
    away[max(0, top - size // 4) : top + size // 2, max(0, left - size // 4) : left + size // 2] = False
    assert np.abs(values[away]).max() < 5 * error


def test_how_many_are_asked_for_at_once_says_nothing() -> None:
    patch = slice(4, 8), slice(20, 24)
    maps = [explained(picture(32, patch), patch, together)[0] for together in (1, 7, 8)]
    np.testing.assert_array_equal(maps[1], maps[0])
    np.testing.assert_array_equal(maps[2], maps[0])


def test_the_standard_error_is_what_answers_without_a_reason_scatter() -> None:
    grids, scattered, told = Grids(32, MASKS), [], []
    masks = grids.masks(0, MASKS)
    for seed in range(20):
        slopes = Slopes(32)
        slopes.add(masks, np.random.default_rng(seed).random(MASKS).astype(np.float32))
        values, error = slopes.map()
        scattered.append(np.sqrt(np.square(values).mean()))
        told.append(error)
    assert np.mean(told) == pytest.approx(np.mean(scattered), rel=0.1)


def test_one_answer_is_no_reason() -> None:
    """And neither is the same answer to every mask."""
    slopes = Slopes(32)
    slopes.add(Grids(32, 1).masks(0, 1), np.array([0.9], np.float32))
    assert slopes.map()[0].max() == slopes.map()[1] == 0
    slopes = Slopes(32)
    slopes.add(Grids(32, 50).masks(0, 50), np.full(50, 0.9, np.float32))
    values, error = slopes.map()
    assert np.abs(values).max() == error == 0


def test_masks_hide_about_half_by_degrees_and_are_the_same_every_time() -> None:
    masks = Grids(48, MASKS).masks(0, MASKS)
    assert (masks.min(), masks.max()) == (0, 1)
    assert masks.mean() == pytest.approx(0.5, abs=0.02)
    assert np.abs(np.diff(masks, axis=1)).max() <= 8 / 48 + 1e-6
    np.testing.assert_array_equal(masks[10:20], Grids(48, MASKS).masks(10, 20))


def test_what_is_hidden_has_the_mean_colour_and_what_is_seen_its_own() -> None:
    image = picture(32, (slice(0, 8), slice(0, 8)))
    masks = np.stack([np.ones((32, 32), np.float32), np.zeros((32, 32), np.float32)])
    seen, unseen = hidden(image, masks)
    np.testing.assert_array_equal(seen, image)
    assert np.abs(unseen - image.mean(axis=(0, 1))).max() <= 0.5
