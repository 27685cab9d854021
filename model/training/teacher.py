"""A larger network that is never served: its answers are what the served one learns from.

Knowledge distillation is by Hinton, Vinyals & Dean (2015). The answers to the training images are kept, so
one teacher serves any number of students on the same data. Any network teaches that knows the same classes,
one that takes larger images too: they are enlarged for it.
"""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from model.contract import DEFAULT_CONTRACT, INPUT_NAME, Contract
from model.data.dataset import Dataset
from model.data.images import Images
from model.network.cnn import block_channels, images_at_a_time, unlearned_mask
from model.network.filters import filter_layers
from model.network.forward import first_convolution, norm_relu, norm_relu_pool
from model.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from model.training.classes import contract_of
from model.training.enlarged import enlarged_images
from model.training.recipe import Recipe

if TYPE_CHECKING:
    import keras

# Channels of each convolution: ten times the served network's multiplications.
_CHANNELS: Final = (64, 128, 128, 256, 256, 256, 256)
# Which of them pooling follows: as many, from the first on, as the served network has blocks.
_POOLED: Final = (1, 3, 5, 6, 7)
_ANSWERS: Final = "answers.npz"
# Row and column at which a view is cut out of an image with a border of two pixels.
_CUTS: Final = ((1, 1), (3, 3))


def build_teacher(seed: int, contract: Contract = DEFAULT_CONTRACT) -> "keras.Model":
    """Return the untrained teacher: uint8 `[N, S, S, 3]` → logits, float32 `[N, C]`."""
    import keras

    keras.utils.set_random_seed(seed)
    image = keras.Input(contract.image_shape, dtype="uint8", name=INPUT_NAME)
    x = filter_layers(image)
    pooled = _pooled(contract.size)
    for number, channels in enumerate(_CHANNELS, start=1):
        x = keras.layers.Conv2D(
            channels, 3, padding="same", use_bias=False, kernel_initializer="he_normal", name=f"conv{number}"
        )(x)
        x = keras.layers.BatchNormalization(momentum=0.9, name=f"norm{number}")(x)
        x = keras.layers.ReLU(name=f"relu{number}")(x)
        if number in pooled:
            x = keras.layers.MaxPooling2D(name=f"pool{number}")(x)
    x = keras.layers.GlobalMaxPooling2D(name="pool")(x)
    logits = keras.layers.Dense(len(contract.classes), dtype="float32", name="logits")(x)
    return keras.Model(image, logits, name="teacher")


def teacher_logits(network: "keras.Model", images: Any) -> Any:
    """Compute what `network(images, training=True)` does, in fewer sweeps; see `model.network.forward`."""
    layer = network.get_layer
    x = first_convolution(images, layer("conv1"))
    pooled = _pooled(images.shape[1])
    for number in range(1, len(_CHANNELS) + 1):
        if number > 1:
            x = layer(f"conv{number}")(x)
        x = (norm_relu_pool if number in pooled else norm_relu)(x, layer(f"norm{number}"))
    return layer("logits")(layer("pool")(x))


class Lesson:
    """What a teacher, or one that is still to be trained, says of the training images of a data set.

    Attributes:
        folder: Of this teacher and data set, whichever student asks; made if absent.
    """

    def __init__(self, dataset: Dataset, recipe: Recipe, teacher_dir: Path) -> None:
        """Name it.

        Args:
            dataset: The students'; its test split is not touched.
            recipe: By which the teacher is trained.
            teacher_dir: Has the folders of all lessons.
        """
        self._dataset, self._recipe = dataset, recipe
        self._about = {"recipe": asdict(recipe), "data": dataset.digest}
        digest = hashlib.sha256(json.dumps(self._about, sort_keys=True).encode()).hexdigest()
        self.folder = teacher_dir / digest[:16]
        self.folder.mkdir(parents=True, exist_ok=True)

    def kept(self) -> Checkpoint | None:
        """The teacher's history and its logits `[N, C]`; None where it was not asked yet."""
        return load_checkpoint(self.folder, _ANSWERS)

    def ask(self, network: "keras.Model", history: dict[str, list[float]]) -> Checkpoint:
        """Ask the trained teacher, and keep what it says."""
        logits = answers(network, self._dataset.train.images, mirrored=self._recipe.flip)
        logits += unlearned_mask(contract_of(self._dataset))
        kept = Checkpoint(self._about, self._recipe.epochs, history, [logits])
        save_checkpoint(self.folder, kept, _ANSWERS)
        return kept


def answers(network: "keras.Model", images: Images, *, mirrored: bool = True) -> NDArray[np.float32]:
    """The teacher's logits `[N, C]`, the mean over views of each image: shifted a little, and mirrored.

    Args:
        network: A trained teacher; where it takes larger images, the views are enlarged.
        images: uint8 `[N, S, S, 3]`.
        mirrored: Whether mirrored views count too.
    """
    import tensorflow as tf

    _, height, width, _ = images.shape
    taken = network.input_shape[1:]
    logits = tf.function(
        lambda batch: network(batch, training=False),
        input_signature=[tf.TensorSpec((None, *taken), tf.uint8)],
    )
    batch = images_at_a_time(taken[0])
    parts = []
    for first in range(0, len(images), batch):
        bordered = np.pad(images[first : first + batch], ((0, 0), (2, 2), (2, 2), (0, 0)))
        cut = [bordered[:, row : row + height, column : column + width] for row, column in _CUTS]
        views = [view for each in cut for view in ((each, each[:, :, ::-1]) if mirrored else (each,))]
        if taken[0] != height:
            views = [enlarged_images(view, taken[0]) for view in views]
        parts.append(np.mean([logits(view).numpy() for view in views], axis=0))
    return np.concatenate(parts)


def _pooled(size: int) -> tuple[int, ...]:
    return _POOLED[: len(block_channels(size))]
