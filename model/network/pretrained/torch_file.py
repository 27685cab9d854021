"""Reads the tensors of a file that `torch.save` wrote, without torch.

Such a file is a pickle, and a pickle may call anything. This reader knows ordered dictionaries and tensors
and refuses every other name (Python's documentation, "Restricting Globals"), as torch's own `weights_only`
does.

The layout is that of torch's `torch/serialization.py`: since torch 1.6 a zip with `data.pkl` and a file a
storage, before that five pickles in a row (magic number, protocol, the writer's machine, the tensors, the
storages' keys) and then each storage: its length, eight bytes, and its values.
"""

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from model.network.pretrained.errors import WeightsError

MAX_BYTES: Final = 1 << 30
"""A file that is larger holds no network of ours."""

_MAGIC: Final = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)
_PROTOCOL: Final = 1001
_ZIP: Final = b"PK\x03\x04"
_MAX_DIMENSIONS: Final = 8

_DTYPES: Final = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
}


def read_torch_file(path: Path) -> dict[str, NDArray[Any]]:
    """Return a file's tensors by their names, as they were saved: `torch.save(network.state_dict(), path)`.

    Raises:
        WeightsError: It cannot be read, was not written by torch, is damaged, or holds anything but tensors.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise WeightsError(
                f"{path} has more than {MAX_BYTES:,} bytes; it cannot be one network's weights."
            )
        with path.open("rb") as file:
            found = _read_zip(file) if file.read(4) == _ZIP else _read_stream(file)
    except _RefusedError as error:
        raise WeightsError(f"{path} is refused: {error}.") from None
    except OSError as error:
        raise WeightsError(f"{path} cannot be read ({error.strerror}); name a file of weights.") from None
    # What a damaged pickle or zip may end with, by their documentation.
    except (
        pickle.UnpicklingError,
        zipfile.BadZipFile,
        EOFError,
        ValueError,
        TypeError,
        AttributeError,
        LookupError,
        OverflowError,
        RuntimeError,
        MemoryError,
    ) as error:
        raise WeightsError(
            f"{path} is damaged, or no file of torch.save ({type(error).__name__}: {error}); fetch it again."
        ) from None
    return found


class _RefusedError(Exception):
    """What the file asks for is not done; the text follows "is refused: "."""


class _Only:
    """What a pickle may make, name or call and nothing else: none of its attributes can be set from there."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        raise _RefusedError("it changes what it has made")


@dataclass(eq=False)
class _Storage(_Only):
    """A row of numbers that tensors look into; of the older layout it is filled after they are made."""

    dtype: str
    length: int
    values: NDArray[Any] = field(default_factory=lambda: np.empty(0))

    def fill(self, data: bytes) -> None:
        if len(data) != self.length * np.dtype(self.dtype).itemsize:
            raise EOFError("a tensor's values are cut short")
        self.values = np.frombuffer(data, self.dtype)


@dataclass(frozen=True, eq=False)
class _Tensor(_Only):
    """A tensor whose values may not have been read yet."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def array(self) -> NDArray[Any]:
        values = self.storage.values[self.offset :]
        strides = [step * values.itemsize for step in self.strides]
        return np.lib.stride_tricks.as_strided(values, self.shape, strides).copy()


class _MakeDictionary(_Only):
    __slots__ = ()

    def __call__(self) -> "OrderedDict[str, object]":
        return OrderedDict()


class _MakeTensor(_Only):
    __slots__ = ()

    def __call__(
        self,
        storage: _Storage,
        offset: int,
        shape: tuple[int, ...],
        strides: tuple[int, ...],
        _requires_grad: object,
        _hooks: object,
        _metadata: object = None,
    ) -> _Tensor:
        """Stands in for `torch._utils._rebuild_tensor_v2`; `as_strided` would believe any numbers."""
        if (
            not isinstance(storage, _Storage)
            or not isinstance(shape, tuple)
            or not isinstance(strides, tuple)
            or len(shape) != len(strides)
            or len(shape) > _MAX_DIMENSIONS
            or not all(type(one) is int and one >= 0 for one in (offset, *shape, *strides))
        ):
            raise _RefusedError("it describes a tensor as torch does not")
        last = offset + sum((side - 1) * step for side, step in zip(shape, strides, strict=True))
        count: int = prod(shape)
        if count > storage.length or (count and last >= storage.length):
            raise _RefusedError("a tensor in it is larger than its values")
        return _Tensor(storage, offset, shape, strides)


class _StorageType(_Only):
    """Stands in for a class as `torch.FloatStorage`."""

    __slots__ = ("dtype",)

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: BinaryIO, storages: dict[str, _Storage] | None = None) -> None:
        super().__init__(file, encoding="ascii")
        self._storages = storages

    def find_class(self, module: str, name: str) -> Any:
        """Return the stand-in for `module.name`, or refuse it."""
        if (module, name) == ("collections", "OrderedDict"):
            return _MakeDictionary()
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _MakeTensor()
        if module == "torch" and name in _DTYPES:
            return _StorageType(_DTYPES[name])
        raise _RefusedError(f"it asks for {module}.{name}, and tensors alone are taken")

    def persistent_load(self, pid: Any) -> _Storage:
        """Return the storage that a tensor looks into."""
        if self._storages is None or not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage":
            raise _RefusedError("it points at something else than tensors")
        _, kind, key, _device, length, *view = pid
        if (
            not isinstance(kind, _StorageType)
            or type(key) is not str
            or type(length) is not int
            or not 0 <= length <= MAX_BYTES
            or any(part is not None for part in view)
        ):
            raise _RefusedError("it describes a storage as torch does not")
        return self._storages.setdefault(key, _Storage(kind.dtype, length))


def _read_stream(file: BinaryIO) -> dict[str, NDArray[Any]]:
    file.seek(0)
    if file.read(len(_MAGIC)) != _MAGIC or _Unpickler(file).load() != _PROTOCOL:
        raise ValueError("its first bytes are others")
    machine = _Unpickler(file).load()
    if not isinstance(machine, dict) or machine.get("little_endian") is not True:
        raise _RefusedError("it was written on a big-endian machine")
    storages: dict[str, _Storage] = {}
    named = dict(_named(_Unpickler(file, storages).load()))
    keys = _Unpickler(file).load()
    if not isinstance(keys, list) or sorted(keys) != sorted(storages):
        raise ValueError("its list of storages is another")
    for key in keys:
        storage = storages[key]
        if file.read(8) != storage.length.to_bytes(8, "little"):
            raise EOFError("a tensor's values are cut short")
        storage.fill(file.read(storage.length * np.dtype(storage.dtype).itemsize))
    return {name: tensor.array() for name, tensor in named.items()}


def _read_zip(file: BinaryIO) -> dict[str, NDArray[Any]]:
    with zipfile.ZipFile(file) as archive:
        members = {member.filename.partition("/")[2]: member for member in archive.infolist()}
        if any(member.compress_type != zipfile.ZIP_STORED for member in members.values()):
            raise _RefusedError("it is compressed, and torch compresses nothing")
        if "byteorder" in members and archive.read(members["byteorder"]) != b"little":
            raise _RefusedError("it was written on a big-endian machine")
        storages: dict[str, _Storage] = {}
        pickled = io.BytesIO(archive.read(members["data.pkl"]))
        named = dict(_named(_Unpickler(pickled, storages).load()))
        for key, storage in storages.items():
            storage.fill(archive.read(members[f"data/{key}"]))
    return {name: tensor.array() for name, tensor in named.items()}


def _named(content: object) -> Iterator[tuple[str, _Tensor]]:
    if not isinstance(content, dict) or not content:
        raise _RefusedError("it holds no dictionary of tensors; save network.state_dict() alone")
    for name, tensor in dict.items(content):
        if not isinstance(name, str) or not isinstance(tensor, _Tensor):
            raise _RefusedError(
                f"{name!r:.40} in it is no tensor; save network.state_dict() alone, with nothing beside it"
            )
        yield name, tensor
