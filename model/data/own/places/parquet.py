"""A Parquet that lists pictures, as Hugging Face has it: their bytes, numbers of classes, names of those."""

import bisect
import itertools
import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from model.data.errors import DataError
from model.data.own.places.rows import IMAGE, OFFERED, WANTED, Row, check_columns, split_of, text

_ROWS_AT_A_TIME: Final = 64
_PICTURES_AT_A_TIME: Final = 4  # each may have sixty megabytes, however few the file itself has
_BUFFER_BYTES: Final = 1 << 20  # else the whole column of a row group is read into memory
_BYTES: Final = "image.bytes"
_PATH: Final = "image.path"


class Table:
    """See `parquet_rows` and `parquet_bytes`."""

    def __init__(self, path: Path, source: str, wanted: Sequence[str] = WANTED) -> None:
        """Open it.

        Args:
            path: Where it lies.
            source: What the user calls it.
            wanted: Columns that it must have.

        Raises:
            DataError: It is no Parquet, has not the columns, or columns of another kind.
        """
        self._source = source
        try:
            self._file = pq.ParquetFile(path, buffer_size=_BUFFER_BYTES, pre_buffer=False)
        except (OSError, pa.ArrowException) as error:
            raise DataError(
                f"{source} is truncated or no Parquet ({_line(error)}); fetch it again."
            ) from error
        schema = self._file.schema_arrow
        check_columns(schema.names, source, wanted)
        kind = schema.field("image").type
        self._is_struct = pa.types.is_struct(kind) and {"bytes", "path"} <= {field.name for field in kind}
        self._is_bytes = pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
        if not (self._is_struct or self._is_bytes or _is_text(kind)):
            raise DataError(
                f"{source} has images of the type {kind}; a manifest has paths, bytes, or both as Hugging "
                "Face does."
            )
        self._labelled = "label" in schema.names
        self._names = _class_names(schema, source) if self._labelled else None

    def rows(self) -> list[Row]:
        """All rows, without the pictures' bytes.

        Raises:
            DataError: It is damaged, or has an unknown split.
        """
        columns = [name for name in ("label", *OFFERED) if name in self._file.schema_arrow.names]
        if self._is_struct:
            columns += [_PATH] if self._all_have_bytes() else [_PATH, _BYTES]
        elif not self._is_bytes:
            columns.append(IMAGE)
        rows: list[Row] = []
        for batch in self._batches(columns):
            rows.extend(self._rows_of(batch, len(rows)))
        return rows

    def read(self, numbers: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        """The bytes of some rows' pictures, by the rows' numbers, ascending.

        Raises:
            DataError: It is damaged.
        """
        wanted = set(numbers)
        for number, data in self.read_from(1):
            if number in wanted:
                yield number, data

    def read_from(self, first: int) -> Iterator[tuple[int, bytes]]:
        """The bytes of all rows' pictures from one row on, with the rows' numbers from 1.

        Whole row groups before that row are passed over.

        Raises:
            DataError: It is damaged.
        """
        group = self.group_of(first)
        number = sum(self._file.metadata.row_group(before).num_rows for before in range(group))
        groups = range(group, self._file.metadata.num_row_groups)
        for batch in self._batches([_BYTES if self._is_struct else IMAGE], groups):
            column = batch.column(IMAGE)
            if self._is_struct:
                column = column.field("bytes")
            for cell in column:
                number += 1
                if number >= first:
                    yield number, cell.as_py() or b""

    def group_of(self, number: int) -> int:
        """Which row group a row is in, by its number from 1."""
        return bisect.bisect_left(self._ends, number)

    @cached_property
    def _ends(self) -> list[int]:
        """The number of each row group's last row."""
        groups = map(self._file.metadata.row_group, range(self._file.metadata.num_row_groups))
        return list(itertools.accumulate(group.num_rows for group in groups))

    @cached_property
    def picture_bytes(self) -> int:
        """What a picture that stands in it has on average, as far as the file itself tells."""
        metadata = self._file.metadata
        name = _BYTES if self._is_struct else IMAGE
        total = sum(
            column.total_uncompressed_size
            for group in map(metadata.row_group, range(metadata.num_row_groups))
            for column in map(group.column, range(metadata.num_columns))
            if column.path_in_schema == name
        )
        return int(total // max(1, metadata.num_rows))

    def _batches(self, columns: list[str], groups: Sequence[int] | None = None) -> Iterator[Any]:
        try:
            heavy = _BYTES in columns or (self._is_bytes and IMAGE in columns)
            rows = _PICTURES_AT_A_TIME if heavy else _ROWS_AT_A_TIME
            # One column is read: handing so few rows to other threads takes longer than reading them.
            yield from self._file.iter_batches(rows, row_groups=groups, columns=columns, use_threads=False)
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{self._source} is damaged ({_line(error)}); fetch it again.") from error

    def _all_have_bytes(self) -> bool:
        """Whether the file says so of itself, and the bytes need not be read to find out."""
        metadata = self._file.metadata
        for group in range(metadata.num_row_groups):
            columns = [metadata.row_group(group).column(number) for number in range(metadata.num_columns)]
            statistics = next(c.statistics for c in columns if c.path_in_schema == _BYTES)
            if statistics is None or not statistics.has_null_count or statistics.null_count:
                return False
        return True

    def _rows_of(self, batch: Any, after: int) -> Iterator[Row]:
        cells = {name: batch.column(name).to_pylist() for name in batch.schema.names if name != "image"}
        paths: list[str | None] = [None] * len(batch)
        embedded = [True] * len(batch)
        if self._is_struct:
            names = [field.name for field in batch.schema.field("image").type]
            parts = dict(zip(names, batch.column("image").flatten(), strict=True))
            paths = parts["path"].to_pylist()
            if "bytes" in parts:
                embedded = parts["bytes"].is_valid().to_pylist()
        elif not self._is_bytes:
            paths = batch.column("image").to_pylist()
            embedded = [False] * len(batch)
        for place, (path, has_bytes) in enumerate(zip(paths, embedded, strict=True)):
            where = f"row {after + place + 1}"
            if not has_bytes and not path:
                raise DataError(f"{self._source} has no image in {where}; fill it in, or remove the row.")
            split, group = (cells[name][place] if name in cells else None for name in OFFERED)
            yield Row(
                number=after + place + 1,
                path=None if has_bytes else path,
                name=path or "",
                label=self._label(cells["label"][place], where) if self._labelled else "",
                given=split_of("" if split is None else str(split).strip(), self._source, where),
                group=None if group in {None, ""} else str(group),
                followed=has_bytes or not (self._is_struct and _is_absolute(path or "")),
            )

    def _label(self, value: Any, where: str) -> str:
        if value is None or value == -1:  # Hugging Face's sign of a label that is kept from everyone
            return ""
        if self._names is None or isinstance(value, str):
            return text(str(value))
        if not 0 <= value < len(self._names):
            raise DataError(
                f"{self._source} has the label {value} in {where}, but {len(self._names)} class names."
            )
        return text(self._names[value])


def _class_names(schema: Any, source: str) -> list[str] | None:
    """The names of the label's numbers, which stand in the metadata that Hugging Face writes."""
    kind = schema.field("label").type
    if _is_text(kind):
        return None
    if not pa.types.is_integer(kind):
        raise DataError(
            f"{source} has labels of the type {kind}; a manifest has names, or numbers of classes."
        )
    try:
        info = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]["label"]["names"]
        return [str(name) for name in info]
    except (KeyError, TypeError, ValueError):
        return None  # the numbers are the names


def _is_text(kind: Any) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_absolute(path: str) -> bool:
    return PurePosixPath(path).is_absolute() or PureWindowsPath(path).is_absolute()


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200].rstrip(".")
