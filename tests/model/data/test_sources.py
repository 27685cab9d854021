import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from model.contract import CLASSES
from model.data.dataset import Dataset, Split
from model.data.errors import DataError
from model.data.sources import example_images, fetch, load_dataset
from model.images.decode import decode_image

SHARED = Path(__file__).parents[4] / "shared" / "data"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the JPEG copy of CIFAR-10 is not here")


def rows(split: Split) -> set[bytes]:
    return {image.tobytes() for image in split.images}


def no_network() -> Path:
    raise DataError("no route to host.")


@pytest.fixture(autouse=True)
def empty_keras_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    return tmp_path / "keras" / "datasets"


@pytest.fixture(scope="module")
def sample() -> Dataset:
    return load_dataset("sample", allow_sample=False)


def test_validation_is_held_out_of_training_and_the_test_split_stays_whole(batches: Path) -> None:
    data = load_dataset(str(batches), allow_sample=False)
    assert (len(data.train), len(data.validation), len(data.test)) == (90, 10, 20)
    assert np.bincount(data.validation.labels).tolist() == [2] * 5
    assert not rows(data.train) & rows(data.validation)
    assert not (rows(data.train) | rows(data.validation)) & rows(data.test)


def test_the_same_images_have_the_same_splits_and_digest_in_any_order(
    batches: Path, tmp_path: Path, write_batches: Callable[[Path], Path]
) -> None:
    other = write_batches(tmp_path / "other")
    (other / "data_batch_1").rename(other / "swap")
    (other / "data_batch_2").rename(other / "data_batch_1")
    (other / "swap").rename(other / "data_batch_2")
    first, second = (load_dataset(str(folder), allow_sample=False) for folder in (batches, other))
    assert first.digest == second.digest
    assert np.array_equal(first.validation.images, second.validation.images)


def test_the_digest_changes_with_one_pixel_or_label(sample: Dataset) -> None:
    images, labels = sample.test.images.copy(), sample.test.labels.copy()
    assert Split(images, labels).digest == sample.test.digest
    images[7, 3, 3, 1] ^= 1
    assert Split(images, labels).digest != sample.test.digest
    images[7, 3, 3, 1] ^= 1
    labels[7] = (labels[7] + 1) % 5
    assert Split(images, labels).digest != sample.test.digest


def test_the_sample_is_balanced_and_its_digest_is_pinned(sample: Dataset) -> None:
    assert sample.kind == "sample"
    assert np.bincount(sample.test.labels).tolist() == [500] * 5
    assert np.bincount(sample.train.labels).tolist() == [460] * 5
    assert np.bincount(sample.validation.labels).tolist() == [40] * 5
    # What is compared over versions is judged on these images: they do not change unnoticed.
    assert sample.digest == "c8eee038b8abd650430461cd0a72f9afcb58130b061a022f95b80ee8194a134b"


def test_examples_are_test_images_of_their_class(sample: Dataset) -> None:
    assert tuple(example_images()) == CLASSES
    for label, name in enumerate(CLASSES):
        image = decode_image(example_images()[name].read_bytes())
        same = (sample.test.images == image).all(axis=(1, 2, 3))
        assert sample.test.labels[same].tolist() == [label]


def test_without_data_the_sample_stands_in_loudly(
    sample: Dataset, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model.data.sources.load_sample", lambda: sample)  # decoding it once is enough
    with caplog.at_level(logging.WARNING):
        assert load_dataset(allow_sample=True, download=no_network) is sample
    (record,) = caplog.records
    assert "no route to host" in record.getMessage()
    assert "USING THE SMALL SAMPLE" in record.getMessage()


def test_a_job_never_falls_back_to_the_sample() -> None:
    with pytest.raises(DataError, match=r"no training data: no route to host.*CIFAR10_DIR"):
        load_dataset(allow_sample=False, download=no_network)


def test_a_named_source_is_never_replaced(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        load_dataset(str(tmp_path / "nowhere"), allow_sample=True, download=no_network)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="is not CIFAR-10's python version"):
        load_dataset(str(tmp_path / "empty"), allow_sample=True, download=no_network)


@pytest.mark.parametrize("folder", ["cifar-10-batches-py", "cifar-10-batches-py-target/cifar-10-batches-py"])
def test_keras_cache_comes_before_a_download(
    folder: str, empty_keras_cache: Path, write_batches: Callable[[Path], Path]
) -> None:
    write_batches(empty_keras_cache / folder)
    data = load_dataset(allow_sample=False, download=no_network)
    assert data.kind == "cifar10"
    assert data.source == str(empty_keras_cache / folder)


def test_a_half_extracted_keras_cache_is_passed_over(
    empty_keras_cache: Path, write_batches: Callable[[Path], Path]
) -> None:
    folder = write_batches(empty_keras_cache / "cifar-10-batches-py")
    (folder / "data_batch_4").unlink()
    assert fetch.keras_cache() is None


@needs_shared
@pytest.mark.slow
def test_the_whole_of_cifar_10_in_the_official_layout(tmp_path: Path) -> None:
    make = [sys.executable, str(SHARED / "make_batches.py"), str(tmp_path)]
    subprocess.run(make, check=True, capture_output=True)
    data = load_dataset(str(tmp_path), allow_sample=False)
    assert (len(data.train), len(data.validation), len(data.test)) == (23_000, 2_000, 5_000)
    assert data.digest == load_dataset(str(SHARED / "cifar10-jpeg.tar.xz"), allow_sample=False).digest
