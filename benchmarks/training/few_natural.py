"""`python -m benchmarks.training.few_natural FOLDER`: some natural pictures a class, enlarged.

FOLDER is CIFAR-10 with `train/<class>/` and `test/<class>/`. Of each of the ten classes as many pictures as
`--pictures` says are drawn by the seed, a fifth of them to choose by; 2,000 of the test split judge. The ways
are those of `benchmarks.training.few_pictures`.
"""

import argparse
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.training.few_pictures import measure_seeds
from benchmarks.training.seeds import RESULTS
from model.contract import IMAGE_SIZE, LITE_SIZES
from model.data.dataset import Dataset, Split
from model.data.own.wishes import Wishes
from model.data.sources import load_dataset
from model.training.enlarged import enlarged

_TEST_IMAGES: Final = 200
_CHOOSE: Final = 5


def few(whole: Dataset, pictures: int, size: int, seed: int) -> Dataset:
    """So many pictures of each class, `size` pixels a side, drawn by the seed."""

    def drawn(split: Split, count: int, rng: np.random.Generator) -> list[list[int]]:
        found = [np.flatnonzero(split.labels == number) for number in range(len(whole.classes))]
        return [sorted(rng.permutation(rows)[:count].tolist()) for rows in found]

    def taken(split: Split, chosen: list[list[int]]) -> Split:
        rows = np.concatenate([np.asarray(rows, np.int64) for rows in chosen])
        return Split(np.asarray(split.images[rows]), split.labels[rows], whole.classes)

    learned = drawn(whole.train, pictures, np.random.default_rng(seed))
    choosing = max(1, pictures // _CHOOSE)
    dataset = Dataset(
        taken(whole.train, [rows[choosing:] for rows in learned]),
        taken(whole.train, [rows[:choosing] for rows in learned]),
        taken(whole.test, drawn(whole.test, _TEST_IMAGES, np.random.default_rng(0))),
        f"{pictures} pictures of each class of CIFAR-10",
        "images",
    )
    return enlarged(dataset, size)


def main() -> None:
    """Train, judge and write the seeds that are asked for."""
    flags = argparse.ArgumentParser(description=__doc__)
    flags.add_argument("folder")
    flags.add_argument("--pictures", type=int, default=50, help="of each class")
    flags.add_argument("--size", type=int, choices=LITE_SIZES, default=LITE_SIZES[0])
    flags.add_argument("--seeds", type=int, nargs="+", default=list(range(3)))
    flags.add_argument("--results", type=Path, default=RESULTS)
    arguments = flags.parse_args()
    whole = load_dataset(arguments.folder, allow_sample=False, wishes=Wishes(size=IMAGE_SIZE))
    measure_seeds(
        lambda seed: few(whole, arguments.pictures, arguments.size, seed),
        arguments.seeds,
        arguments.results / f"few-natural-{arguments.pictures}",
        f"{arguments.pictures} natural pictures a class",
        f"python -m benchmarks.training.few_natural FOLDER --pictures {arguments.pictures}",
    )


if __name__ == "__main__":
    main()
