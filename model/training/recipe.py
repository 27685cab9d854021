"""What a recipe says about training; the recipes themselves are in train.py."""

from dataclasses import dataclass, replace
from typing import Literal

from model.contract import Network
from model.network.cnn import DROPOUT_BLOCK, DROPOUT_HIDDEN


class TrainingError(RuntimeError):
    """Training cannot start or go on; the sentence says what to do."""


class StaleCheckpointError(TrainingError):
    """The run's checkpoint cannot be continued: it is another run's, or damaged."""


@dataclass(frozen=True)
class Recipe:
    """How to train.

    Attributes:
        name: What it is called in a run's records.
        epochs: Passes over the training images.
        batch_size: Images a step.
        learning_rate: AdamW's at its peak; it rises over `warmup`, then falls along a cosine to zero.
        warmup: Share of all steps.
        weight_decay: AdamW's, on the kernels alone.
        label_smoothing: Share of the right answer that is spread over all classes.
        averaging: Share of the averaged weights that stays at each step; 0 takes the last weights.
        shift: Pixels an image may move in each direction, zeros moving in.
        flip: Whether half of the images are mirrored.
        cutout: Side in pixels of a grey square that covers a random place of each image; 0 for none.
        dropout_block: Share of each block's outputs that is dropped.
        dropout_hidden: Share of the hidden layer's.
        network: `served`, or the larger one of `model.training.teacher`, which has no dropout.
        teacher: How the network is trained whose answers are to be learned in place of the labels; None
            learns the labels.
        softening: What the teacher's logits are divided by: above 1 they say more about the wrong classes.
    """

    name: str
    epochs: int
    batch_size: int
    learning_rate: float
    warmup: float = 0.0
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    averaging: float = 0.0
    shift: int = 0
    flip: bool = False
    cutout: int = 0
    dropout_block: float = DROPOUT_BLOCK
    dropout_hidden: float = DROPOUT_HIDDEN
    network: Literal["served", "teacher"] = "served"
    teacher: "Recipe | None" = None
    softening: float = 1.0

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1:
            raise TrainingError("Epochs and batch size must be at least 1.")

    def override(
        self, *, epochs: int | None = None, batch_size: int | None = None, flip: bool | None = None
    ) -> "Recipe":
        """Return this recipe with another number of epochs, batch size or mirroring.

        A teacher trains no longer than its student: who asks for a short training gets one. Where left and
        right differ, they do so for both.
        """
        recipe = replace(
            self,
            epochs=epochs or self.epochs,
            batch_size=batch_size or self.batch_size,
            flip=self.flip if flip is None else flip,
        )
        if not recipe.teacher:
            return recipe
        shorter = min(recipe.teacher.epochs, recipe.epochs)
        return replace(recipe, teacher=recipe.teacher.override(epochs=shorter, flip=flip))

    def fitted(self, images: int) -> "Recipe":
        """Return this recipe for so many training images: no batch is larger."""
        return replace(self, batch_size=min(self.batch_size, images))


@dataclass(frozen=True)
class PictureRecipe(Recipe):
    """How to train on one's own pictures: what else may be done, so that CIFAR-10's records stay as they are.

    Attributes:
        turn: Degrees an image may be turned in each direction; with it, zooms or brightness its shifts go by
            parts of a pixel, and the colour of its edge moves in.
        zoom: Share by which an image may grow or shrink.
        brightness: Share by which its pixels may.
        balance: Which power of 1 / frequency an image counts by: with 0 all images count alike, with 1 all
            classes.
    """

    turn: float = 0.0
    zoom: float = 0.0
    brightness: float = 0.0
    balance: float = 0.0


@dataclass(frozen=True)
class FineTuneRecipe(PictureRecipe):
    """How to train a network on from weights that others have trained.

    Attributes:
        pretrained: The contract's network, in place of `network`.
        weights: SHA-256 of the file that it begins with; empty takes whichever is there.
        patience: Epochs of a validation loss worse than the best after which no further one is begun; the
            weights of the best are kept.
    """

    pretrained: Network = "efficientnet-lite0"
    weights: str = ""
    patience: int = 5
