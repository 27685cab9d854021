"""What contenders answer, beside what `cnn-image score` answers to the same pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

Answers = Mapping[str, NDArray[np.float32]]
"""Probabilities by the picture's name."""


@dataclass(frozen=True)
class Compared:
    """Beside ours.

    Attributes:
        missing: Pictures without an answer.
        classes: Pictures of another class.
        farthest: The greatest difference of a probability.
    """

    missing: int
    classes: int
    farthest: float

    def __str__(self) -> str:
        if self.missing:
            return f"{self.missing:,} are missing"
        if self.farthest <= 1e-5:
            return "the same"
        return f"{self.classes:,} of another class, {self.farthest:.2g} apart at most"


def read_answers(folder: Path, names: Sequence[str]) -> Answers:
    """The answers in a folder of Parquet files; `row N` is the N-th of the names, from 1."""
    found = {}
    table = pq.read_table(folder, columns=["image", "probabilities"])
    for image, probabilities in zip(*(table[name].to_pylist() for name in table.column_names), strict=True):
        name = names[int(image[4:]) - 1] if image.startswith("row ") else "/".join(image.split("/")[-2:])
        found[name] = np.asarray(probabilities, np.float32)
    return found


def compare(ours: Answers, theirs: Answers) -> Compared:
    """Picture by picture."""
    both = [name for name in ours if name in theirs]
    if not both:
        return Compared(len(ours), 0, 0.0)
    one, other = (np.stack([answers[name] for name in both]) for answers in (ours, theirs))
    classes = int((one.argmax(axis=1) != other.argmax(axis=1)).sum())
    return Compared(len(ours) - len(both), classes, float(np.abs(one - other).max()))
