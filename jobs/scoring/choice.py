"""Which pictures of a source are scored: all, the first, some that are drawn, or those that are new."""

import io
import random
from collections.abc import Sequence
from typing import Final

import pyarrow.parquet as pq

from jobs.errors import MistakeError
from jobs.scoring.destination import Destination
from jobs.scoring.plan import Plan, Request
from jobs.scoring.source.picture import Picture

_SEED: Final = 20261129
"""Of every draw: the same pictures, whoever draws."""

_MAY_PASS: Final = {"changed", "missing", "unreadable"}
"""Errors that say nothing of the picture: it is scored again."""


def chosen(pictures: Sequence[Picture], request: Request, earlier: Destination | None) -> list[Picture]:
    """The pictures that a request is for, in their order.

    Args:
        pictures: Of the source.
        request: What was asked for.
        earlier: The result whose pictures are left out.

    Raises:
        MistakeError: The earlier one is none, or no picture is left.
        StoreError: It cannot be read.
    """
    left = list(pictures)
    if earlier is not None:
        before = _scored(earlier)
        left = [picture for picture in left if before.get(picture.name) != (picture.length, picture.stamp)]
        if not left:
            raise MistakeError(f"No picture of {request.source} is new since {earlier.url}.")
    if request.sample is not None and request.sample < len(left):
        drawn = random.Random(_SEED).sample(range(len(left)), request.sample)  # noqa: S311
        left = [left[position] for position in sorted(drawn)]
    return left[: request.limit]


def _scored(earlier: Destination) -> dict[str, tuple[int, str]]:
    """Length and stamp of each picture that an earlier result has settled, by its name."""
    plan = earlier.plan()
    if plan is None:
        raise MistakeError(f"{earlier.url} holds no result of a scoring; name one with --only-new.")
    pictures = earlier.pictures(plan)
    settled: dict[str, tuple[int, str]] = {}
    for number in sorted(earlier.done(plan)):
        codes = _codes(earlier, plan, number)
        for picture, code in zip(pictures.shard(number), codes, strict=True):
            if code not in _MAY_PASS:
                settled[picture.name] = (picture.length, picture.stamp)
    return settled


def _codes(earlier: Destination, plan: Plan, number: int) -> list[str | None]:
    table = pq.read_table(io.BytesIO(earlier.shard(number)), columns=["error_code"])
    codes: list[str | None] = table.column("error_code").to_pylist()
    if len(codes) != plan.shards[number]:
        raise MistakeError(f"{earlier.url} is no result of one scoring; name another with --only-new.")
    return codes
