"""`python -m benchmarks.training.sign_digits ARCHIVE`: the quick recipe on people whom it has never seen.

ARCHIVE is Ankara Ayrancı Anadolu High School's Sign Language Digits (arXiv:2011.08927) as a tar, files
`Dataset/<digit>/IMG_<number>.JPG`. By rising numbers a person is a run of rising digits; the last 40 people
are the test split, as in an earlier trial, every ninth of the others the validation split. The test split is
looked at once a seed, when it is trained.
"""

import io
import re
import tarfile
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.training.seeded import parser, run
from model.data.dataset import Dataset, Split

TEST_PEOPLE: Final = 40
VALIDATION: Final = 9


def load(archive: Path, size: int) -> Dataset:
    """Read the pictures, squeezed into squares of `size` pixels, and split them by person."""
    found = []
    with tarfile.open(archive) as tar:
        for member in tar:
            named = re.fullmatch(r"Dataset/(\d)/IMG_(\d+)\.JPG", member.name)
            file = tar.extractfile(member)
            if named and file:
                picture = Image.open(io.BytesIO(file.read())).convert("RGB")
                shrunk = picture.resize((size, size), Image.Resampling.BOX, reducing_gap=None)
                found.append((int(named[2]), int(named[1]), np.asarray(shrunk)))
    found.sort(key=lambda one: one[:2])
    labels = np.asarray([label for _, label, _ in found], np.int64)
    images = np.stack([pixels for *_, pixels in found])
    people = np.cumsum(np.diff(labels, prepend=labels[0]) <= 0) - 1
    others = people.max() + 1 - TEST_PEOPLE
    test = people >= others
    validation = ~test & (people % VALIDATION == VALIDATION - 1)

    def split(rows: NDArray[np.bool_]) -> Split:
        return Split(images[rows], labels[rows], tuple("0123456789"), people[rows])

    return Dataset(
        split(~test & ~validation), split(validation), split(test), "Sign Language Digits", "images"
    )


def main() -> None:
    """Train, judge and write the seeds that are asked for."""
    flags = parser(__doc__, 64)
    flags.add_argument("archive", type=Path)
    arguments = flags.parse_args()
    run(
        load(arguments.archive, arguments.size),
        arguments,
        name="sign-digits",
        title="Sign digits, by person",
        command="python -m benchmarks.training.sign_digits ARCHIVE",
    )


if __name__ == "__main__":
    main()
