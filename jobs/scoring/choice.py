"""Which pictures of a source are scored: all, the first, some that are drawn, or those that are new."""

import io
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import pyarrow.parquet as pq

from export.errors import IntegrityError
from export.store.blobs import Blobs
from jobs.errors import MistakeError
from jobs.scoring.destination import Destination, place_of_run, runs_in
from jobs.scoring.plan import Plan, Request
from jobs.scoring.source.picture import Picture
from jobs.scoring.summary import Summary

_SEED: Final = 20261129
"""Of every draw: the same pictures, whoever draws."""

_MAY_PASS: Final = {"changed", "missing", "unreadable"}
"""Errors that say nothing of the picture: it is scored again."""


def chosen(
    pictures: Sequence[Picture], request: Request, earlier: Sequence[Destination] = ()
) -> list[Picture]:
    """The pictures that a request is for, in their order.

    Args:
        pictures: Of the source.
        request: What was asked for.
        earlier: The results whose pictures are left out.

    Raises:
        MistakeError: An earlier one is none of one scoring.
        StoreError: It cannot be read.
    """
    new = {picture.name: picture for picture in pictures}
    for result in earlier:
        for name, length, stamp in _settled(result):
            if (picture := new.get(name)) is not None and (picture.length, picture.stamp) == (length, stamp):
                del new[name]
    left = list(new.values())
    if request.sample is not None and request.sample < len(left):
        drawn = random.Random(_SEED).sample(range(len(left)), request.sample)  # noqa: S311
        left = [left[position] for position in sorted(drawn)]
    return left[: request.limit]


def earlier_results(
    open_place: Callable[[str], Blobs], place: str, before: str | None = None
) -> list[Destination]:
    """The result that lies in a place, and those of the runs in it.

    Args:
        open_place: Opens a place by its address.
        place: Its address.
        before: The run that asks, which is none of them.
    """
    own = Destination(open_place(place))
    runs = [run for run in runs_in(own.blobs) if run != before]
    results = [Destination(open_place(place_of_run(place, run))) for run in runs]
    return [own, *results] if own.plan() is not None else results


def _settled(earlier: Destination) -> Iterator[tuple[str, int, str]]:
    """Name, length and stamp of each picture that an earlier result has settled."""
    plan = earlier.plan()
    if plan is None:
        return
    pictures, all_settled = earlier.pictures(plan), _all_settled(earlier, plan)
    for number in sorted(earlier.done(plan)):
        listed = pictures.shard(number)
        codes = [None] * len(listed) if all_settled else _codes(earlier, plan, number)
        for picture, code in zip(listed, codes, strict=True):
            if code not in _MAY_PASS:
                yield picture.name, picture.length, picture.stamp


def _all_settled(earlier: Destination, plan: Plan) -> bool:
    """Whether a summary says so, which saves reading the shards: a schedule has many earlier results."""
    written = earlier.summary()
    if written is None:
        return False
    try:
        summary = Summary.from_json(written, earlier.url)
    except IntegrityError:  # nobody writes an earlier run's anew, and its shards say the same
        return False
    return summary.plan == plan.id and not _MAY_PASS & set(summary.errors)


def _codes(earlier: Destination, plan: Plan, number: int) -> list[str | None]:
    table = pq.read_table(io.BytesIO(earlier.shard(number)), columns=["error_code"])
    codes: list[str | None] = table.column("error_code").to_pylist()
    if len(codes) != plan.shards[number]:
        raise MistakeError(f"{earlier.url} is no result of one scoring; name another with --only-new.")
    return codes
