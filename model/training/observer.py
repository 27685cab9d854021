"""What training tells those who watch it, and what it hands over."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from model.contract import DEFAULT_CONTRACT, Contract
from model.data.dataset import Dataset
from model.network.pretrained.source import PretrainedSource
from model.training.recipe import Recipe

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Plan:
    """What is about to be trained, for observers; `pretrained` where it begins with weights of others."""

    dataset: Dataset
    recipe: Recipe
    seed: int
    run_dir: Path
    device: str
    steps_per_epoch: int
    first_epoch: int
    pretrained: PretrainedSource | None = None


@dataclass(frozen=True)
class Step:
    """Where training stands: `epoch` and `step` count from 1, the figures are the epoch's so far."""

    epoch: int
    step: int
    loss: float
    accuracy: float


class Observer:
    """Is told how training goes; each method may be overridden, none may raise."""

    def started(self, plan: Plan) -> None:
        """Training starts, or goes on from a checkpoint."""

    def stepped(self, step: Step) -> None:
        """Some steps are done (about once a second)."""

    def epoch_ended(self, epoch: int, metrics: dict[str, float]) -> None:
        """An epoch, counted from 1, is done and its checkpoint written."""

    def finished(self, trained: "TrainedModel") -> None:
        """All epochs are done."""

    def stopped(self, reason: BaseException) -> None:
        """Training ended early; the last checkpoint stays."""


@dataclass(frozen=True)
class TrainedModel:
    """What training hands over.

    Attributes:
        network: uint8 image → float32 logits, with the averaged weights.
        temperature: What the logits are divided by before softmax; fitted on the validation split.
        metrics: `accuracy`, `loss` of the last epoch's training images; `val_accuracy`, `val_loss` of the
            validation split with the averaged weights, the latter calibrated; `images_per_second`, `seconds`,
            `cpu_seconds`; `teacher_val_accuracy` and `teacher_cpu_seconds` where there was a teacher;
            `best_epoch` where the weights are not the last epoch's, but those of the best.
        history: One entry an epoch, by metric; `val_loss` calibrated in a fine-tuning alone.
        recipe: As it was used, overrides included.
        seed: Of weights, order, augmentation and dropout.
        contract: What the network takes and answers.
        pretrained: Where the weights are from that it began with; None where it learned from nothing.
    """

    network: "keras.Model"
    temperature: float
    metrics: dict[str, float]
    history: dict[str, list[float]]
    recipe: Recipe
    seed: int
    contract: Contract = DEFAULT_CONTRACT
    pretrained: PretrainedSource | None = None
