"""The images a model learns from: where they come from, and which of them it never sees.

    --data / CIFAR10_DIR  →  Keras' cache  →  the official download  →  the sample in the repository, loudly

What `--data` names is CIFAR-10's own files or one's own pictures (`model.data.own`). Of CIFAR-10, training
and validation images come out of its training split; its test split stays whole and is used by nothing but
the gate and the report.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

import numpy as np

from model.contract import CLASSES
from model.data import fetch
from model.data.cifar10 import Cifar10, Labelled, read_archive, read_folder
from model.data.dataset import Dataset, Split
from model.data.errors import DataError
from model.data.own.gather import Gathered, gather_from, is_kept
from model.data.own.loading import dataset_of
from model.data.own.places.opening import official, opened
from model.data.own.takeover import Progress, silent
from model.data.own.wishes import Wishes

log = logging.getLogger(__name__)

SAMPLE: Final = Path(__file__).parents[1] / "sample"

# Fixed for ever, unlike a run's seed: every run on the same data validates on the same images.
_SPLIT_SEED: Final = 20090408
VALIDATION_FRACTION: Final = 0.08


def load_dataset(
    source: str | None = None,
    *,
    allow_sample: bool,
    wishes: Wishes | None = None,
    progress: Progress = silent,
    download: Callable[[], Path] = fetch.download,
) -> Dataset:
    """Load CIFAR-10's five classes, or one's own pictures.

    Args:
        source: A folder of the official batches, an archive, or an `s3://` address of either; or pictures
            by class, in a folder, an archive or below an `s3://` address, or listed by a CSV or Parquet. None
            looks in Keras' cache, then downloads.
        allow_sample: Whether the small sample may stand in when no source was named and nothing could be
            downloaded. A Job in a cluster never allows it.
        wishes: What is asked of own pictures.
        progress: Is told how many files of own pictures are decoded, and of how many.
        download: Brings the official archive.

    Raises:
        DataError: The named source cannot be used, or there is none; the sentence says which file and why.
    """
    if source:
        wishes = wishes or Wishes()
        found = find_data(source, wishes, progress)
        return found if isinstance(found, Dataset) else dataset_of(found, wishes)
    cached = fetch.keras_cache()
    if cached is not None:
        return _dataset(_read_path(cached), str(cached), "cifar10")
    log.info("no data was named: downloading CIFAR-10 from %s", fetch.URL)
    try:
        archive = download()
    except DataError as error:
        hint = "Name the data with --data or CIFAR10_DIR (a folder, an archive or s3://…)."
        if not allow_sample:
            raise DataError(f"There is no training data: {error} {hint}") from error
        log.warning(
            "%s USING THE SMALL SAMPLE of 2,500 training images instead: the model will be a weak one. %s",
            error,
            hint,
        )
        return load_sample()
    return _dataset(_read_path(archive), str(archive), "cifar10")


def load_sample() -> Dataset:
    """The sample of real images in the repository: 500 training and 500 test images a class."""
    path = SAMPLE / "cifar10-sample.zip"
    if not path.is_file():
        raise DataError(f"The sample {path} is missing from this installation; name the data with --data.")
    return _dataset(read_archive(path), "the sample in the repository", "sample")


def example_images() -> dict[str, Path]:
    """One JPEG a class, from the test split: class name → file."""
    return {name: SAMPLE / "examples" / f"{name}.jpg" for name in CLASSES}


def find_data(source: str, wishes: Wishes, progress: Progress = silent) -> Dataset | Gathered:
    """What a name stands for: CIFAR-10's own files are their data set at once, own pictures are gathered.

    Args:
        source: As in `load_dataset`; not None.
        wishes: What is asked of own pictures.
        progress: Is told how many files of own pictures are decoded, and of how many.

    Raises:
        DataError: It cannot be used; the sentence says which file and why.
    """
    if source == "sample":
        return load_sample()
    with opened(source) as place:
        files = None if is_kept(place, wishes) else official(place)
        if files is not None:
            return _dataset(_read_path(files), source, "cifar10")
        return gather_from(place, wishes, progress)


def _read_path(path: Path) -> Cifar10:
    return read_folder(path) if path.is_dir() else read_archive(path)


def _dataset(cifar10: Cifar10, source: str, kind: Literal["cifar10", "sample"]) -> Dataset:
    for name, rows in (("training", cifar10.train), ("test", cifar10.test)):
        counts = np.bincount(rows.labels, minlength=len(CLASSES))
        if counts.min() < 2:
            scarce = CLASSES[int(counts.argmin())]
            raise DataError(
                f"{source} has {counts.min()} {name} images of the class {scarce}; fetch the data again."
            )
    train, validation = _hold_out(_in_order(cifar10.train))
    test = _in_order(cifar10.test)
    return Dataset(train, validation, Split(test.images, test.labels), source, kind)


def _in_order(rows: Labelled) -> Labelled:
    """Sort by class, then pixels: the same images, however shipped, get the same splits and digest."""
    order = sorted(range(len(rows.labels)), key=lambda row: (rows.labels[row], rows.images[row].tobytes()))
    return Labelled(rows.images[order], rows.labels[order])


def _hold_out(rows: Labelled) -> tuple[Split, Split]:
    """Take the same share of each class out of the training images, always the same ones."""
    rng = np.random.default_rng(_SPLIT_SEED)
    held = np.zeros(len(rows.labels), bool)
    for label in range(len(CLASSES)):
        members = np.flatnonzero(rows.labels == label)
        held[rng.permutation(members)[: max(1, round(len(members) * VALIDATION_FRACTION))]] = True
    return Split(rows.images[~held], rows.labels[~held]), Split(rows.images[held], rows.labels[held])
