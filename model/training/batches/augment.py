"""How training images are varied, so that no epoch shows a network the same ones: inside the compiled step.

What is drawn for an epoch comes from its random numbers, as arrays with a row an image; what is done with
them is TensorFlow's.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from model.training.recipe import PictureRecipe, Recipe

_GREY: Final = 128  # about the images' mean


@dataclass(frozen=True)
class Shifts:
    """Whole pixels up to `border` in each direction, zeros moving in, and mirroring: nothing is resampled."""

    border: int
    flip: bool

    def draw(self, rng: np.random.Generator, images: int) -> tuple[NDArray[Any], ...]:
        """What `vary` takes for so many images."""
        offsets = rng.integers(0, 2 * self.border + 1, (images, 2), np.int32)
        return offsets, rng.integers(0, 1 + self.flip, images, np.int32)

    def vary(self, images: Any, offsets: Any, mirrored: Any) -> Any:
        """Cut uint8 `[N, S, S, 3]` out of bordered images `[N, S + 2b, S + 2b, 3]`, each at its own place.

        Args:
            images: uint8 tensor.
            offsets: int32 `[N, 2]`, the first row and column of each cut, 0..2b.
            mirrored: int32 `[N]`, 1 where left and right change places.
        """
        import tensorflow as tf

        line = tf.range(images.shape[1] - 2 * self.border)
        rows = offsets[:, :1] + line
        columns = offsets[:, 1:] + tf.where(mirrored[:, None] == 1, line[::-1], line)
        return tf.gather(tf.gather(images, rows, axis=1, batch_dims=1), columns, axis=2, batch_dims=1)


@dataclass(frozen=True)
class Warps:
    """Shifts by parts of a pixel, turns, zooms, mirroring and brightness; the edge's colour moves in.

    Attributes:
        shift: Pixels in each direction.
        turn: Degrees in each direction.
        zoom: Share by which an image grows or shrinks at most.
        brightness: Share by which its pixels do.
        flip: Whether half of the images are mirrored.
    """

    shift: int
    turn: float
    zoom: float
    brightness: float
    flip: bool
    border: int = 0

    def draw(self, rng: np.random.Generator, images: int) -> tuple[NDArray[Any], ...]:
        """What `vary` takes for so many images."""
        angle = np.radians(rng.uniform(-self.turn, self.turn, images))
        scale = 1 / rng.uniform(1 - self.zoom, 1 + self.zoom, images)
        mirror = 1 - 2 * rng.integers(0, 1 + self.flip, images)
        moved = rng.uniform(-self.shift, self.shift, (2, images))
        cos, sin = scale * np.cos(angle), scale * np.sin(angle)
        views = np.stack([cos * mirror, -sin, moved[0], sin * mirror, cos, moved[1]], axis=1)
        light = rng.uniform(1 - self.brightness, 1 + self.brightness, images)
        return views.astype(np.float32), light.astype(np.float32)

    def vary(self, images: Any, views: Any, light: Any) -> Any:
        """Vary images: uint8 `[N, S, S, 3]` → float32 `[N, S, S, 3]`, 0 to 255.

        Args:
            images: uint8 tensor.
            views: float32 `[N, 6]`, for each image the two rows of the matrix that takes a pixel's place in
                the result, counted from the middle, to its place in the image.
            light: float32 `[N]`, what its pixels are multiplied by.
        """
        import tensorflow as tf

        size = images.shape[1]
        middle = (size - 1) / 2
        xx, xy, x, yx, yy, y = tf.unstack(views, axis=1)
        # The operation counts from the first pixel: the middle's way there and back is part of the shift.
        x += middle - (xx + xy) * middle
        y += middle - (yx + yy) * middle
        flat = tf.zeros_like(x)
        varied = tf.raw_ops.ImageProjectiveTransformV3(
            images=tf.cast(images, tf.float32),
            transforms=tf.stack([xx, xy, x, yx, yy, y, flat, flat], axis=1),
            output_shape=[size, size],
            fill_value=0.0,
            interpolation="BILINEAR",
            fill_mode="NEAREST",
        )
        varied = tf.ensure_shape(varied, images.shape)
        return tf.clip_by_value(varied * light[:, None, None, None], 0.0, 255.0)


def augmentation(recipe: Recipe) -> Shifts | Warps:
    """How a recipe varies its images."""
    if isinstance(recipe, PictureRecipe) and (recipe.turn or recipe.zoom or recipe.brightness):
        return Warps(recipe.shift, recipe.turn, recipe.zoom, recipe.brightness, recipe.flip)
    return Shifts(recipe.shift, recipe.flip)


def cut_out(images: Any, side: int, seed: Any) -> Any:
    """Cover a square of each image, as DeVries & Taylor (2017): its centre lies anywhere in the image.

    Args:
        images: uint8 or float32 tensor `[N, S, S, 3]`.
        side: The square's side in pixels; what lies outside of the image is lost.
        seed: int32 tensor `[2]`; the same seed covers the same places.
    """
    import tensorflow as tf

    size = images.shape[1]
    centre = tf.random.stateless_uniform([tf.shape(images)[0], 2], seed, 0, size, tf.int32)
    first = centre[..., None] - side // 2
    line = tf.range(size)
    covered = (line >= first) & (line < first + side)
    square = covered[:, 0, :, None] & covered[:, 1, None, :]
    return tf.where(square[..., None], tf.constant(_GREY, images.dtype), images)
