"""CIFAR-10's files: the official python batches, in a folder or an archive, and archives of JPEGs by class.

The official batches are pickles, and a pickle can run code. They are therefore read by an unpickler that
knows a handful of names, and builds plain records for them instead of calling anything of numpy's: a file
from anywhere can be opened without trusting it.
"""

import io
import pickle
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from model.contract import CIFAR10_LABELS, CLASSES, IMAGE_SHAPE, IMAGE_SIZE
from model.data.errors import DataError, reason

TRAIN_FILES: Final = tuple(f"data_batch_{number}" for number in range(1, 6))
TEST_FILE: Final = "test_batch"
BATCH_FILES: Final = (*TRAIN_FILES, TEST_FILE)
BATCHES_FOLDER: Final = "cifar-10-batches-py"

ALL_CLASSES: Final = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"
)  # fmt: skip
"""The names of its ten classes, as its `batches.meta` lists them."""

_SPLITS: Final = ("train", "test")
_BROKEN: Final = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError)

# An official batch has 31 MB; anything far larger is something else, and is not read into memory.
MAX_FILE_BYTES: Final = 128 * 2**20
_PIXELS: Final = IMAGE_SIZE * IMAGE_SIZE * 3


@dataclass(frozen=True)
class Labelled:
    """Images and their class ids, before they are split.

    Attributes:
        images: uint8 `[N, 32, 32, 3]`, RGB.
        labels: int64 `[N]`, positions in `CLASSES`.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class Cifar10:
    """The two splits as CIFAR-10 ships them, our five classes only."""

    train: Labelled
    test: Labelled


def is_folder(folder: Path) -> bool:
    """Tell whether a folder is of official batches, be it that some are missing."""
    return (folder / BATCHES_FOLDER).is_dir() or any((folder / name).is_file() for name in BATCH_FILES)


def is_archive(path: Path) -> bool:
    """Tell whether an archive is of official batches, or of CIFAR-10's classes as 32 x 32 JPEGs by split.

    Any other `train|test/<class>/*.jpg` are one's own pictures: of other classes, or of another size.

    Raises:
        DataError: The archive is truncated.
    """
    try:
        return _is_zip(path) if zipfile.is_zipfile(path) else _is_tar(path)
    except _BROKEN as error:
        raise DataError(
            f"{path} is truncated or not an archive ({reason(error)}); fetch it again, or name a folder, a "
            "zip or a tar of pictures by class, or a CSV or Parquet that lists them."
        ) from error


def _is_zip(path: Path) -> bool:
    with zipfile.ZipFile(path) as archive:
        names = [member.filename for member in archive.infolist() if not member.is_dir()]
        if any(PurePosixPath(name).name in BATCH_FILES for name in names):
            return True
        return _is_by_class(names) and _is_small(archive.read(next(filter(_wanted, names))))


def _is_tar(path: Path) -> bool:
    with tarfile.open(path, "r:*") as archive:
        names, small = [], False
        for member in archive:
            if not member.isfile():
                continue
            if PurePosixPath(member.name).name in BATCH_FILES:
                return True
            if _wanted(member.name) and not small:
                file = archive.extractfile(member)
                small = file is not None and _is_small(file.read())
                if not small:
                    return False
            names.append(member.name)
        return small and _is_by_class(names)


def _is_by_class(names: Iterable[str]) -> bool:
    """Whether all JPEGs are of CIFAR-10's ten classes and none of our five is missing."""
    jpegs = [PurePosixPath(name).parts for name in names if name.endswith(".jpg")]
    found = {parts[-3:-1] for parts in jpegs}
    return (
        {(split, name) for split in _SPLITS for name in CLASSES}
        <= found
        <= {(split, name) for split in _SPLITS for name in ALL_CLASSES}
    )


def _is_small(jpeg: bytes) -> bool:
    try:
        with Image.open(io.BytesIO(jpeg)) as image:
            return image.size == (IMAGE_SIZE, IMAGE_SIZE)
    except (UnidentifiedImageError, OSError, ValueError):
        return True  # the reader says which one is broken


def read_folder(folder: Path) -> Cifar10:
    """Read the official batches from `folder`, or from the `cifar-10-batches-py` inside it.

    Raises:
        DataError: A batch is missing, truncated or not a CIFAR-10 batch.
    """
    inner = folder / BATCHES_FOLDER
    if inner.is_dir():
        folder = inner
    missing = [name for name in BATCH_FILES if not (folder / name).is_file()]
    if missing:
        raise DataError(
            f"{folder} is not CIFAR-10's python version: {', '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} missing; name the folder that holds them all."
        )
    files = {}
    for name in BATCH_FILES:
        try:
            if (folder / name).stat().st_size > MAX_FILE_BYTES:
                raise DataError(f"{folder / name} is too large to be a CIFAR-10 batch; fetch the data again.")
            files[name] = (folder / name).read_bytes()
        except OSError as error:
            raise DataError(f"{folder / name} cannot be read: {error.strerror}.") from error
    return _from_batches(files, str(folder))


def read_archive(path: Path) -> Cifar10:
    """Read an archive of the official batches, or of `train|test/<class>/*.jpg`: zip, tar, compressed tar.

    Raises:
        DataError: The archive is truncated, or holds neither layout whole.
    """
    try:
        members = _zip_members(path) if zipfile.is_zipfile(path) else _tar_members(path)
    except _BROKEN as error:
        raise DataError(
            f"{path} is truncated or not an archive ({reason(error)}); fetch it again."
        ) from error
    batches = {PurePosixPath(name).name: data for name, data in members.items() if not name.endswith(".jpg")}
    if batches:
        missing = [name for name in BATCH_FILES if name not in batches]
        if missing:
            raise DataError(
                f"{path} is not the whole of CIFAR-10: {', '.join(missing)} is missing; fetch it again."
            )
        return _from_batches(batches, str(path))
    return Cifar10(*(_from_jpegs(members, split, path) for split in _SPLITS))


def _wanted(name: str) -> bool:
    path = PurePosixPath(name)
    if path.suffix == ".jpg" and len(path.parts) >= 3:
        return path.parts[-3] in _SPLITS and path.parts[-2] in CLASSES
    return path.name in BATCH_FILES


def _tar_members(path: Path) -> dict[str, bytes]:
    members = {}
    with tarfile.open(path, "r:*") as archive:
        for member in archive:
            if member.isfile() and member.size <= MAX_FILE_BYTES and _wanted(member.name):
                file = archive.extractfile(member)
                members[member.name] = file.read() if file else b""
    return members


def _zip_members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {
            member.filename: archive.read(member)
            for member in archive.infolist()
            if member.file_size <= MAX_FILE_BYTES and _wanted(member.filename)
        }


def _from_jpegs(members: Mapping[str, bytes], split: str, path: Path) -> Labelled:
    names = sorted(name for name in members if PurePosixPath(name).parts[-3] == split)
    if not names:
        raise DataError(
            f"{path} holds no CIFAR-10: neither data_batch_1 to test_batch nor {split}/<class>/*.jpg."
        )
    images = np.empty((len(names), *IMAGE_SHAPE), np.uint8)
    for row, name in enumerate(names):
        try:
            with Image.open(io.BytesIO(members[name])) as image:
                if image.size != (IMAGE_SIZE, IMAGE_SIZE):
                    raise ValueError(f"it has {image.width} × {image.height} pixels")
                images[row] = np.asarray(image.convert("RGB"))
        except (UnidentifiedImageError, OSError, ValueError) as error:
            raise DataError(
                f"{name} in {path} is not a whole 32×32 image; fetch the archive again."
            ) from error
    labels = [CLASSES.index(PurePosixPath(name).parts[-2]) for name in names]
    return Labelled(images, np.asarray(labels, np.int64))


def _from_batches(files: Mapping[str, bytes], where: str) -> Cifar10:
    train = _concatenate(_read_batch(files[name], f"{where}: {name}") for name in TRAIN_FILES)
    return Cifar10(train, _read_batch(files[TEST_FILE], f"{where}: {TEST_FILE}"))


def _concatenate(parts: Iterable[Labelled]) -> Labelled:
    rows = list(parts)
    return Labelled(np.concatenate([r.images for r in rows]), np.concatenate([r.labels for r in rows]))


def _read_batch(data: bytes, where: str) -> Labelled:
    try:
        batch = _BatchUnpickler(io.BytesIO(data), encoding="bytes").load()
        pixels, labels = batch[b"data"].pixels(), np.asarray(batch[b"labels"], np.int64)
    except DataError as error:
        raise DataError(f"{where} is not a CIFAR-10 batch: {error}") from error
    except Exception as error:  # a broken pickle raises anything
        raise DataError(f"{where} is truncated or not a CIFAR-10 batch; fetch the data again.") from error
    if labels.shape != (len(pixels),) or np.any((labels < 0) | (labels > 9)):
        raise DataError(f"{where} has labels that do not fit its {len(pixels)} images; fetch the data again.")
    ours = np.isin(labels, list(CIFAR10_LABELS))
    images = pixels[ours].reshape(-1, 3, IMAGE_SIZE, IMAGE_SIZE).transpose(0, 2, 3, 1)
    return Labelled(
        np.ascontiguousarray(images), np.asarray([CIFAR10_LABELS[label] for label in labels[ours]])
    )


class _Record:
    """Stands for `numpy.dtype` or `numpy.ndarray` in a pickle: keeps what it is given and does nothing."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments
        self.state: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state

    def pixels(self) -> NDArray[np.uint8]:
        """The array, uint8 `[N, 3072]`, if that is what the pickle describes."""
        _, shape, dtype, fortran, data = self.state
        if not isinstance(dtype, _Record) or dtype.arguments[0] not in {b"u1", "u1", b"|u1", "|u1"}:
            raise DataError("its data is no array of bytes; name CIFAR-10's python version.")
        if len(shape) != 2 or shape[1] != _PIXELS or len(data) != shape[0] * _PIXELS:
            raise DataError(
                f"its data has the shape {shape}, not (N, {_PIXELS}); name CIFAR-10's python version."
            )
        return np.frombuffer(data, np.uint8).reshape(shape, order="F" if fortran else "C")


def _latin1(text: str, encoding: str) -> bytes:
    """How Python 3 writes bytes at pickle protocol 2: `_codecs.encode(text, 'latin1')`."""
    if encoding not in {"latin1", b"latin1"}:
        raise DataError(f"it encodes text as {encoding!r}.")
    return text.encode("latin1")


def _array(*_: Any) -> _Record:
    return _Record()


class _BatchUnpickler(pickle.Unpickler):
    """Knows the names that numpy 1 and 2 write for an array, and refuses every other."""

    _known: Final = {
        ("numpy.core.multiarray", "_reconstruct"): _array,
        ("numpy._core.multiarray", "_reconstruct"): _array,
        ("numpy", "ndarray"): _Record,
        ("numpy", "dtype"): _Record,
        ("_codecs", "encode"): _latin1,
        ("__builtin__", "bytes"): bytes,
    }

    def find_class(self, module: str, name: str) -> Any:
        """Return the stand-in for `module.name`, or refuse it."""
        if (module, name) not in self._known:
            raise DataError(
                f"it asks for {module}.{name}, which no official batch needs; fetch the data again."
            )
        return self._known[module, name]
