import io
import os
import pickle
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.contract import CLASSES
from model.data.cifar10 import is_archive, read_archive, read_folder
from model.data.errors import DataError


def raw(folder: Path, name: str) -> dict[bytes, np.ndarray]:
    return pickle.loads((folder / name).read_bytes(), encoding="bytes")


def tar(folder: Path, to: Path, mode: str = "w:gz") -> Path:
    with tarfile.open(to, mode) as archive:
        archive.add(folder, folder.name)
    return to


def jpeg(colour: tuple[int, int, int], size: tuple[int, int] = (32, 32)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "JPEG")
    return buffer.getvalue()


def test_the_five_classes_are_read_in_order_with_dog_as_4(batches: Path) -> None:
    found = read_folder(batches)
    assert found.test.images.shape == (20, 32, 32, 3)
    assert len(found.train.labels) == 100
    # Labels run 0..9 in each file; 4 and 6..9 are left out, and 5 becomes 4.
    assert found.test.labels.tolist() == [0, 1, 2, 3, 4] * 4
    pixels = raw(batches, "test_batch")[b"data"]
    # The sixth row is CIFAR-10's label 5; a row holds the red plane, then green, then blue.
    assert np.array_equal(found.test.images[4], pixels[5].reshape(3, 32, 32).transpose(1, 2, 0))


def test_the_folder_above_will_do(batches: Path) -> None:
    assert np.array_equal(read_folder(batches.parent).train.images, read_folder(batches).train.images)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
def test_an_archive_of_the_batches_reads_as_the_folder(batches: Path, tmp_path: Path, mode: str) -> None:
    archive = tar(batches, tmp_path / "cifar", mode)
    assert np.array_equal(read_archive(archive).train.images, read_folder(batches).train.images)


@pytest.mark.parametrize("protocol", range(5))
def test_batches_written_by_any_protocol_are_read(batches: Path, protocol: int) -> None:
    before = read_folder(batches).test.images
    path = batches / "test_batch"
    content = pickle.loads(path.read_bytes(), encoding="bytes")
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    assert np.array_equal(read_folder(batches).test.images, before)


def test_a_missing_file_is_named(batches: Path) -> None:
    (batches / "data_batch_3").unlink()
    with pytest.raises(DataError, match="data_batch_3 is missing"):
        read_folder(batches)


@pytest.mark.parametrize("name", ["data_batch_2", "test_batch"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_truncated_file_is_named(batches: Path, name: str, share: float) -> None:
    whole = (batches / name).read_bytes()
    (batches / name).write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(DataError, match=f"{name} is truncated"):
        read_folder(batches)


def test_a_file_with_other_images_is_refused(batches: Path) -> None:
    content = raw(batches, "data_batch_1")
    content[b"data"] = content[b"data"][:, :300]
    (batches / "data_batch_1").write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(DataError, match=r"data_batch_1.*\(N, 3072\)"):
        read_folder(batches)


def test_cifar_100_is_refused(batches: Path) -> None:
    content = raw(batches, "data_batch_1")
    content[b"fine_labels"] = content.pop(b"labels")
    (batches / "data_batch_1").write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(DataError, match="data_batch_1"):
        read_folder(batches)


def test_too_few_labels_are_refused(batches: Path) -> None:
    content = raw(batches, "data_batch_4")
    content[b"labels"] = content[b"labels"][:-1]
    (batches / "data_batch_4").write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(DataError, match="data_batch_4 has labels that do not fit"):
        read_folder(batches)


class _RunsCode:
    def __init__(self, what: tuple[object, ...]) -> None:
        self.what = what

    def __reduce__(self) -> tuple[object, ...]:
        return self.what


def test_a_batch_cannot_run_code(batches: Path, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    hostile = pickle.dumps({b"data": _RunsCode((os.mkdir, (str(mark),)))}, protocol=2)
    assert b"mkdir" in hostile
    (batches / "test_batch").write_bytes(hostile)
    with pytest.raises(DataError, match=r"test_batch is not a CIFAR-10 batch: it asks for posix\.mkdir"):
        read_folder(batches)
    assert not mark.exists()


def test_an_array_of_objects_is_refused(batches: Path) -> None:
    content = raw(batches, "test_batch")
    content[b"data"] = content[b"data"].astype(object)
    (batches / "test_batch").write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(DataError, match="test_batch is not a CIFAR-10 batch"):
        read_folder(batches)


@pytest.mark.parametrize("share", [0.1, 0.6, 0.95])
def test_a_truncated_archive_is_named(batches: Path, tmp_path: Path, share: float) -> None:
    archive = tar(batches, tmp_path / "cifar-10-python.tar.gz")
    archive.write_bytes(archive.read_bytes()[: int(archive.stat().st_size * share)])
    with pytest.raises(DataError, match=r"cifar-10-python\.tar\.gz is truncated"):
        read_archive(archive)


def test_an_archive_without_some_batch_is_refused(batches: Path, tmp_path: Path) -> None:
    (batches / "data_batch_5").unlink()
    with pytest.raises(DataError, match="data_batch_5 is missing"):
        read_archive(tar(batches, tmp_path / "cifar.tar.gz"))


def test_an_archive_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "readme.txt").write_text("hello")
    with pytest.raises(DataError, match="holds no CIFAR-10"):
        read_archive(tar(tmp_path / "papers", tmp_path / "papers.tar"))
    with pytest.raises(DataError, match="not an archive"):
        read_archive(tmp_path / "papers" / "readme.txt")


def test_an_archive_of_jpegs_by_class_is_read(tmp_path: Path) -> None:
    path = tmp_path / "images.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for split in ("train", "test"):
            for name in (*CLASSES, "frog"):
                archive.writestr(f"{split}/{name}/0000.jpg", jpeg((200, 30 * len(name), 10)))
    found = read_archive(path)
    assert found.test.labels.tolist() == [0, 1, 2, 3, 4]  # no frog
    assert np.abs(found.test.images[0].astype(int) - (200, 30 * len("airplane"), 10)).max() <= 3


@pytest.mark.parametrize(
    "bad", [jpeg((1, 2, 3))[:200], b"", jpeg((1, 2, 3), (32, 1)), jpeg((1, 2, 3), (64, 64))]
)
def test_a_jpeg_that_is_broken_or_of_another_size_is_named(tmp_path: Path, bad: bytes) -> None:
    path = tmp_path / "images.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("train/cat/0007.jpg", bad)
        archive.writestr("test/cat/0000.jpg", jpeg((1, 2, 3)))
    with pytest.raises(DataError, match=r"train/cat/0007\.jpg"):
        read_archive(path)


@pytest.mark.parametrize(
    ("names", "size", "ours"),
    [
        (
            [f"{split}/{name}/1.jpg" for split in ("train", "test") for name in (*CLASSES, "frog")],
            (32, 32),
            True,
        ),
        ([f"x/{split}/{name}/1.jpg" for split in ("train", "test") for name in CLASSES], (32, 32), True),
        # One's own: of another size, without some class, with another one, without splits.
        ([f"{split}/{name}/1.jpg" for split in ("train", "test") for name in CLASSES], (64, 32), False),
        (
            [f"{split}/{name}/1.jpg" for split in ("train", "test") for name in ("cat", "dog")],
            (32, 32),
            False,
        ),
        (
            [f"{split}/{name}/1.jpg" for split in ("train", "test") for name in (*CLASSES, "owl")],
            (32, 32),
            False,
        ),
        ([f"{name}/1.jpg" for name in CLASSES], (32, 32), False),
    ],
)
@pytest.mark.parametrize("ending", ["zip", "tar.xz"])
def test_which_archives_are_of_cifar10(
    tmp_path: Path, names: list[str], size: tuple[int, int], ours: bool, ending: str
) -> None:
    folder = tmp_path / "tree"
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(jpeg((9, 9, 9), size))
    (folder / "README").write_text("hello")
    path = tmp_path / f"images.{ending}"
    if ending == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for file in sorted(folder.rglob("*")):
                archive.write(file, file.relative_to(folder))
    else:
        tar(folder, path)
    assert is_archive(path) == ours


def test_an_archive_of_some_batches_is_of_cifar10(batches: Path, tmp_path: Path) -> None:
    (batches / "data_batch_5").unlink()
    assert is_archive(tar(batches, tmp_path / "cifar.tar.gz"))
