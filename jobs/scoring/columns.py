"""Columns of a table between numpy and Arrow, buffer by buffer.

`pyarrow.array` and `to_numpy` import pandas, wherever it is installed, to ask whether what they are given is
one of its own: half a second of processor time and 40 MB in each process that writes one table.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_MOST_BYTES: Final = np.iinfo(np.int32).max
"""Of all texts of a column: Arrow counts them in 32 bits."""


def texts(values: Sequence[str | None]) -> pa.Array:
    """A column of strings, null where there is None.

    Raises:
        UnicodeEncodeError: One has half a surrogate pair, which is no text.
        ValueError: They have more than 2 GiB together.
    """
    valid = np.fromiter((value is not None for value in values), bool, len(values))
    return _of_bytes(pa.string(), [b"" if value is None else value.encode() for value in values], valid)


def binaries(values: Sequence[bytes]) -> pa.Array:
    """A column of bytes.

    Raises:
        ValueError: They have more than 2 GiB together.
    """
    return _of_bytes(pa.binary(), values, None)


def numbers(values: NDArray[Any], valid: NDArray[np.bool_] | None = None) -> pa.Array:
    """A column of numbers, null where `valid` is false; both `[N]`."""
    buffers = [_bits(valid), pa.py_buffer(np.ascontiguousarray(values))]
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), buffers)


def lists(values: NDArray[Any], valid: NDArray[np.bool_]) -> pa.Array:
    """A column of lists, a row of `[N, M]` each, null where `valid`, `[N]`, is false."""
    count, length = values.shape
    offsets = np.zeros(count + 1, np.int32)
    np.cumsum(valid * length, out=offsets[1:])
    inner = numbers(values[valid].reshape(-1))
    buffers = [_bits(valid), pa.py_buffer(offsets)]
    return pa.Array.from_buffers(pa.list_(inner.type), count, buffers, children=[inner])


def numbers_in(column: pa.ChunkedArray, kind: type[np.generic]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """The numbers of a column, `[N]`, of that kind, and which of them are not null; others are anything."""
    values, valid = [np.zeros(0, kind)], [np.zeros(0, bool)]
    for chunk in column.chunks:
        bits, data = chunk.buffers()
        rows = slice(chunk.offset, chunk.offset + len(chunk))
        values.append(np.frombuffer(data, kind)[rows])
        valid.append(
            np.ones(len(chunk), bool)
            if bits is None
            else np.unpackbits(np.frombuffer(bits, np.uint8), bitorder="little")[rows].astype(bool)
        )
    return np.concatenate(values), np.concatenate(valid)


def _of_bytes(kind: pa.DataType, values: Sequence[bytes], valid: NDArray[np.bool_] | None) -> pa.Array:
    ends = np.cumsum(np.fromiter(map(len, values), np.int64, len(values)))
    if len(ends) and ends[-1] > _MOST_BYTES:
        raise ValueError(f"{ends[-1]:,} bytes of text are more than a column holds")
    offsets = np.zeros(len(values) + 1, np.int32)
    offsets[1:] = ends
    buffers = [_bits(valid), pa.py_buffer(offsets), pa.py_buffer(b"".join(values))]
    return pa.Array.from_buffers(kind, len(values), buffers)


def _bits(valid: NDArray[np.bool_] | None) -> pa.Buffer | None:
    if valid is None or valid.all():
        return None
    return pa.py_buffer(np.packbits(valid, bitorder="little"))
