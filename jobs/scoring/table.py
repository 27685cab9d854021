"""The rows of one shard: what a version answers to each picture, or why it answers nothing."""

import io
import json
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from jobs.scoring.columns import lists, numbers, texts
from jobs.scoring.plan import Plan
from jobs.scoring.source.picture import Picture, Trouble
from model.contract import SCORE_NAME

SCHEMA: Final = pa.schema(
    [
        pa.field("image", pa.string(), nullable=False),
        pa.field("version", pa.int32(), nullable=False),
        ("class_id", pa.int32()),
        ("class_name", pa.string()),
        ("confidence", pa.float32()),
        ("probabilities", pa.list_(pa.float32())),
        ("error_code", pa.string()),
        ("error", pa.string()),
    ]
)
"""Of each row either the four in the middle or the last two are there."""

SCORE: Final = pa.field(SCORE_NAME, pa.float32())
"""Behind them, of versions that have it: how unlike anything learned a picture is."""

_COMPRESSION: Final = "zstd"


class Rows:
    """What is known so far of the pictures of a shard.

    Args:
        shard: Its number.
        pictures: In the order of the plan.
        classes: How many there are.
        scored: Whether the version tells how unlike anything learned a picture is.

    Attributes:
        left: How many pictures have neither an answer nor a reason yet.
    """

    def __init__(
        self, shard: int, pictures: Sequence[Picture], classes: int, *, scored: bool = False
    ) -> None:
        self.shard = shard
        self._pictures = pictures
        self._probs = np.zeros((len(pictures), classes), np.float32)
        self._scores = np.zeros(len(pictures), np.float32) if scored else None
        self._troubles: dict[int, Trouble] = {}
        self.left = len(pictures)

    def answer(
        self, rows: Sequence[int], probs: NDArray[np.float32], scores: NDArray[np.float32] | None
    ) -> None:
        """Take the answers to some pictures, `[N, classes]`, and their scores, `[N]`, where there are any."""
        self._probs[rows] = probs
        if self._scores is not None:
            self._scores[rows] = scores
        self.left -= len(rows)

    def refuse(self, row: int, trouble: Trouble) -> None:
        """Take why a picture has no answer."""
        self._troubles[row] = trouble
        self.left -= 1

    def to_parquet(self, plan: Plan) -> bytes:
        """The shard as it is stored, with its lineage."""
        count = len(self._probs)
        valid = np.ones(count, bool)
        valid[list(self._troubles)] = False
        chosen = self._probs.argmax(axis=1).astype(np.int32)
        confidence = self._probs[np.arange(count), chosen]
        names: list[str | None] = [plan.classes[number] for number in chosen.tolist()]
        codes: list[str | None] = [None] * count
        sentences = codes.copy()
        for row, trouble in self._troubles.items():
            names[row], codes[row], sentences[row] = None, *trouble
        columns = [
            texts([picture.name for picture in self._pictures]),
            numbers(np.full(count, plan.version, np.int32)),
            numbers(chosen, valid),
            texts(names),
            numbers(confidence, valid),
            lists(self._probs, valid),
            texts(codes),
            texts(sentences),
        ]
        schema = SCHEMA
        if self._scores is not None:
            columns.append(numbers(self._scores, valid))
            schema = schema.append(SCORE)
        table = pa.Table.from_arrays(columns, schema=schema.with_metadata(_lineage(plan, self.shard)))
        sink = io.BytesIO()
        pq.write_table(table, sink, compression=_COMPRESSION)
        return sink.getvalue()


def _lineage(plan: Plan, shard: int) -> dict[str, str]:
    """What a shard's own metadata say of where it comes from."""
    said: dict[str, Any] = {
        "plan": plan.id,
        "shard": f"{shard} of {len(plan.shards)}",
        "source": plan.request.source,
        "model": plan.model,
        "version": plan.version,
        "precision": plan.precision,
        "graph_sha256": plan.graph_sha256,
        "decoder": plan.decoder,
        "data_digest": plan.data_digest,
        "commit": plan.commit,
        "classes": json.dumps(plan.classes, ensure_ascii=False),
    }
    return {f"cnn_image.{name}": str(value) for name, value in said.items()}
