"""What a contender came to, and how it compares."""

from dataclasses import dataclass, field


@dataclass
class Result:
    """What a contender came to.

    Attributes:
        name: Who.
        epochs: How many epochs it trained.
        images: Images trained on an epoch.
        start_seconds: Building, up to the first epoch, which compiles.
        epoch_seconds: Training time of each epoch, without validation.
        validation: Accuracy on the validation split after each epoch.
        test: Accuracy on the test split, looked at once, at the end.
        interval: Its 95 % interval.
        compiled: How often the training step was compiled; None where nothing counts it.
    """

    name: str
    epochs: int
    images: int = 0
    start_seconds: float = 0.0
    epoch_seconds: list[float] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)
    test: float = 0.0
    interval: tuple[float, float] = (0.0, 0.0)
    compiled: int | None = None

    @property
    def seconds(self) -> float:
        """Building, compiling and training."""
        return self.start_seconds + sum(self.epoch_seconds)

    @property
    def images_per_second(self) -> list[float]:
        """Of each epoch after the first, which compiles."""
        return [self.images / seconds for seconds in self.epoch_seconds[1:]]


def faster(result: Result, original: Result) -> list[float]:
    """How many times the original's images a second, epoch by epoch, of those that followed each other."""
    pairs = zip(result.images_per_second, original.images_per_second, strict=False)
    return [ours / theirs for ours, theirs in pairs]
