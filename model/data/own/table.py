"""What is known of pictures, as a table in a file: Arrow's, a column for each of its attributes.

A million pictures are half a gigabyte, most of it thumbnails, written and read in seconds.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from model.data.own.kept import Entry
from model.data.pictures import THUMB_SIDE, LeftOut, Picture

_ROWS_AT_A_TIME: Final = 1 << 14

# Text is kept as bytes: the name of a file may be no UTF-8.
_TEXT: Final = pa.binary()
SCHEMA: Final = pa.schema(
    [
        ("name", _TEXT),
        ("label", _TEXT),
        ("stamp", _TEXT),
        ("row", pa.int64()),
        ("given", _TEXT),
        ("group", _TEXT),
        ("digest", pa.binary(32)),
        ("phash", pa.uint64()),
        ("thumb", pa.binary(THUMB_SIDE**2)),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("format", _TEXT),
        ("length", pa.int64()),
        ("reason", _TEXT),
        ("detail", _TEXT),
    ]
)
_OF_PICTURES: Final = ("given", "group", "digest", "phash", "thumb", "width", "height", "format", "length")
_FEW_DIFFERENT: Final = ("label", "stamp", "given", "group", "format", "reason")
_MANY_DIFFERENT: Final = ("name", "detail")


def batch_of(entries: Sequence[Entry]) -> Any:
    """Entries as a record batch of `SCHEMA`."""
    whats = [entry.what for entry in entries]
    pictures = [what if isinstance(what, Picture) else None for what in whats]
    passed = [what if isinstance(what, LeftOut) else None for what in whats]
    columns: dict[str, list[Any]] = {
        "name": [what.name for what in whats],
        "label": [what.label for what in whats],
        "stamp": [entry.stamp for entry in entries],
        "row": [entry.row for entry in entries],
        "reason": [left and left.reason for left in passed],
        "detail": [left and left.detail for left in passed],
    }
    columns |= {
        name: [None if picture is None else getattr(picture, name) for picture in pictures]
        for name in _OF_PICTURES
    }
    return pa.record_batch(
        [
            pa.array(_encoded(columns[one.name]) if one.type == _TEXT else columns[one.name], one.type)
            for one in SCHEMA
        ],
        schema=SCHEMA,
    )


def entries_of(batches: Iterable[Any]) -> Iterator[Entry]:
    """What `batch_of` was told."""
    shared: dict[Any, Any] = {}
    for batch in batches:
        columns = {name: batch.column(name).to_pylist() for name in SCHEMA.names}
        for name in _FEW_DIFFERENT:
            # Each text once in memory, however many pictures have it.
            columns[name] = [shared.setdefault(cell, _decoded(cell)) for cell in columns[name]]
        for name in _MANY_DIFFERENT:
            columns[name] = list(map(_decoded, columns[name]))
        pictures = zip(*(columns[name] for name in ("name", "label", *_OF_PICTURES)), strict=True)
        passed = zip(*(columns[name] for name in ("name", "label", "reason", "detail")), strict=True)
        stamps, rows = columns["stamp"], columns["row"]
        for about, why, stamp, row in zip(pictures, passed, stamps, rows, strict=True):
            yield Entry(LeftOut(*why) if row < 0 else Picture(*about), stamp, row)


def write(path: Path, entries: Iterator[Entry]) -> None:
    """Write a file of entries.

    Raises:
        OSError: The disk is full, or may not be written.
    """
    with path.open("wb") as file, pa.ipc.new_file(file, SCHEMA) as writer:
        while some := list(islice(entries, _ROWS_AT_A_TIME)):
            writer.write_batch(batch_of(some))


def read(path: Path) -> Iterator[Entry]:
    """Read what `write` wrote.

    Raises:
        OSError: It is not there.
        ValueError: It is none, or damaged.
    """
    with pa.memory_map(str(path)) as file, pa.ipc.open_file(file) as reader:
        yield from entries_of(reader.get_batch(number) for number in range(reader.num_record_batches))


def _encoded(cells: Sequence[str | None]) -> list[bytes | None]:
    return [None if cell is None else cell.encode("utf-8", "surrogatepass") for cell in cells]


def _decoded(cell: bytes | None) -> str | None:
    return None if cell is None else cell.decode("utf-8", "surrogatepass")
