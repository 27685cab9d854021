"""What a scoring is: which pictures, cut into shards, and which version; written once, before any work."""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Final, Literal

import numpy as np
import pyarrow as pa
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from export.errors import IntegrityError
from jobs.scoring.columns import binaries, numbers, texts
from jobs.scoring.source.picture import Kind, Origin, Picture, Trouble

LAYOUT: Final = 1

_MOST_ROWS: Final = 8_192
_FEWEST_ROWS: Final = 256
_MOST_BYTES: Final = 512_000_000
_FEWEST_BYTES: Final = 64_000_000
_SHARDS: Final = 32
"""So many at least, where they do not become too small: all workers are busy until the end."""

_SCHEMA: Final = pa.schema(
    [
        ("name", pa.string()),
        ("key", pa.binary()),
        ("length", pa.int64()),
        ("stamp", pa.string()),
        ("code", pa.string()),
        ("sentence", pa.string()),
    ]
)

_NONE: Final = Trouble("", "")


class Request(BaseModel):
    """What was asked for; a scoring goes on where the same is asked for again.

    Attributes:
        source: Which place, whatever folder one stands in.
        limit: So many pictures at most, the first.
        sample: So many pictures at most, drawn.
        only_new: The earlier result whose pictures are left out.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    limit: int | None = None
    sample: int | None = None
    only_new: str | None = None


class Plan(BaseModel):
    """A scoring.

    Attributes:
        id: Tells it from every other.
        request: What was asked for.
        kind: What the pictures' keys mean; with the next two their origin.
        list_key: Where the pictures are listed, in shards.
        list_sha256: Of that object.
        shards: How many pictures each has.
        seen: How many pictures the source had, those that were not chosen included.
        remote: Whether some pictures are objects of an S3.
        model: Whose version answers.
        version: Its number.
        precision: `float32` or `int8`.
        graph_sha256: Of the file that ONNX Runtime runs.
        decoder: Which decoder makes the pixels.
        classes: By class id.
        data_digest: Of the data that the version learned from.
        commit: That trained it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    layout: Literal[1] = LAYOUT
    id: str
    created: AwareDatetime
    created_by: str
    request: Request
    kind: Kind
    container: str
    stamp: str
    list_key: str
    list_sha256: str
    shards: tuple[Annotated[int, Field(ge=1)], ...]
    seen: int
    remote: bool
    model: str
    version: int
    precision: str
    graph_sha256: str
    decoder: str
    classes: tuple[str, ...]
    data_digest: str
    commit: str

    @property
    def origin(self) -> Origin:
        """Where the pictures lie."""
        return Origin(self.kind, self.container, self.stamp)

    @property
    def pictures(self) -> int:
        """How many there are."""
        return sum(self.shards)

    def to_json(self) -> bytes:
        """As it is stored."""
        return (self.model_dump_json(indent=1) + "\n").encode()

    @classmethod
    def from_json(cls, data: bytes, where: str) -> "Plan":
        """Read what `to_json` made.

        Raises:
            IntegrityError: It was changed, or a newer cnn-image wrote it.
        """
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            raise IntegrityError(
                f"{where} is no plan that this cnn-image knows ({error.errors()[0]['msg']}); update it, or "
                "name another folder with --out."
            ) from None


def cut(pictures: Sequence[Picture]) -> list[int]:
    """How many pictures each shard gets: by their number and their bytes, whichever is reached first."""
    total = sum(picture.length for picture in pictures)
    most_rows = min(_MOST_ROWS, max(_FEWEST_ROWS, -(-len(pictures) // _SHARDS)))
    most_bytes = min(_MOST_BYTES, max(_FEWEST_BYTES, -(-total // _SHARDS)))
    sizes, rows, length = [], 0, 0
    for picture in pictures:
        if rows and (rows >= most_rows or length + picture.length > most_bytes):
            sizes.append(rows)
            rows = length = 0
        rows += 1
        length += picture.length
    return [*sizes, rows] if rows else sizes


def write_list(pictures: Sequence[Picture], shards: Sequence[int]) -> bytes:
    """The list of the pictures, an Arrow file with a batch for each shard."""
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_file(sink, _SCHEMA, options=options) as writer:
        start = 0
        for size in shards:
            writer.write_batch(_batch(pictures[start : start + size]))
            start += size
    return bytes(sink.getvalue())


class PictureList:
    """The pictures of a plan, a shard at a time."""

    def __init__(self, plan: Plan, data: bytes) -> None:
        """Open it.

        Raises:
            IntegrityError: It is not what was written with the plan.
        """
        if hashlib.sha256(data).hexdigest() != plan.list_sha256:
            raise IntegrityError(
                f"{plan.list_key} is not what was written with its plan; name another folder with --out."
            )
        self._file = pa.ipc.open_file(pa.BufferReader(data))

    def __len__(self) -> int:
        return int(self._file.num_record_batches)

    def shard(self, number: int) -> list[Picture]:
        """The pictures of one shard."""
        columns: dict[str, list[Any]] = self._file.get_batch(number).to_pydict()
        return [
            Picture(name, key, length, stamp, Trouble(code, sentence) if code else None)
            for name, key, length, stamp, code, sentence in zip(*columns.values(), strict=True)
        ]

    def __iter__(self) -> Iterator[list[Picture]]:
        return map(self.shard, range(len(self)))


def _batch(pictures: Sequence[Picture]) -> Any:
    troubles = [picture.trouble or _NONE for picture in pictures]
    columns = [
        texts([picture.name for picture in pictures]),
        binaries([picture.key for picture in pictures]),
        numbers(np.array([picture.length for picture in pictures], np.int64)),
        texts([picture.stamp for picture in pictures]),
        texts([trouble.code for trouble in troubles]),
        texts([trouble.sentence for trouble in troubles]),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=_SCHEMA)
