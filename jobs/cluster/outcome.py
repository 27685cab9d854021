"""What a Job leaves behind, in its pod's termination message: `kubectl describe pod` shows it.

`jobs.cluster.launch` reads it there, so that whoever started the Job learns the version and its metrics, or
what became of a scoring.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

VARIABLE = "CNN_IMAGE_OUTCOME"
"""Names the file; the chart sets it, and elsewhere nothing is written."""


def leave_word(sentence: str) -> None:
    """Leave a sentence where there is a place for it.

    A log's last line may be another one: what a pod says on stdout and on stderr comes in no certain order.
    """
    if path := os.environ.get(VARIABLE):
        Path(path).write_text(f"{sentence}\n")


@dataclass(frozen=True)
class Outcome:
    """The end of a training Job.

    Attributes:
        version: The version it published.
        metrics: `accuracy`, `val_accuracy`, `loss`, `val_loss`.
        model_path: The version's address in the store.
        promoted: Whether it is served.
    """

    version: int
    metrics: Mapping[str, float]
    model_path: str
    promoted: bool

    def write(self) -> None:
        """Leave it for `kubectl describe` and `jobs.cluster.launch`, where there is a place for it."""
        if path := os.environ.get(VARIABLE):
            Path(path).write_text(json.dumps(asdict(self)) + "\n")

    @classmethod
    def parse(cls, text: str) -> "Outcome | None":
        """Read a termination message; None where it is something else, such as the tail of a log."""
        try:
            return cls(**json.loads(text))
        except (ValueError, TypeError):
            return None
