"""Where a scoring's result lies: in a folder or a bucket, its plan first, its shards each written once."""

import contextlib
import re
import time
from collections.abc import Callable
from typing import Final, TypeVar

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from export.errors import AbsentError, ExistsError, NoAnswerError, UnreachableError
from export.store.blobs import Blobs
from jobs.console import say
from jobs.errors import MistakeError
from jobs.scoring.plan import PictureList, Plan

PLAN: Final = "_plan.json"
LISTS: Final = "_plan/"
SUMMARY: Final = "_summary.json"
PAGE: Final = "_summary.html"
"""What begins with an underscore is passed over by whoever reads the folder as one table."""

_ABOUT: Final = f"{LISTS}about.txt"
_ABOUT_TEXT: Final = (
    b"What `cnn-image score` is to do and has done here. The table is part-*.parquet, beside this folder.\n"
)
_SHARD: Final = re.compile(r"part-(\d{5,})\.parquet")
_RUN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=-]*")
_PLAN_OF_RUN: Final = re.compile(rf"({_RUN.pattern})/{re.escape(PLAN)}")
_OURS: Final = re.compile(rf"{LISTS}.*|_(plan|summary)\.(json|html)|{_SHARD.pattern}")

_AWAY_SECONDS: Final = 300.0
"""As long as pictures are waited for (`model.data.remote.patience`)."""

_SILENT_SECONDS: Final = 3.0

Result = TypeVar("Result")


def shard_key(number: int) -> str:
    """Name of a shard's file."""
    return f"part-{number:05}.parquet"


def place_of_run(place: str, run: str) -> str:
    """The folder of one run's result in a place for the results of many.

    Raises:
        MistakeError: It cannot be the name of a folder that readers of tables look into.
    """
    if not _RUN.fullmatch(run):
        raise MistakeError(
            f"--run {run!r} is no name for a folder: it begins with a letter or digit, and has but those and "
            "any of . _ = - in it."
        )
    return f"{place.rstrip('/')}/{run}"


def runs_in(blobs: Blobs) -> list[str]:
    """The runs whose results lie in a place, by name."""
    return sorted(match[1] for key in blobs.list("") if (match := _PLAN_OF_RUN.fullmatch(key)))


class Destination:
    """The result of one scoring, in a place for objects."""

    def __init__(self, blobs: Blobs) -> None:
        """Nothing is asked of the place yet."""
        self.blobs = blobs

    @property
    def url(self) -> str:
        """Its address."""
        return self.blobs.url

    def plan(self) -> Plan | None:
        """The plan that is there; None where there is none yet.

        Raises:
            StoreError: It cannot be read.
        """
        try:
            return Plan.from_json(self.blobs.get(PLAN), f"{PLAN} in {self.url}")
        except AbsentError:
            return None

    def require_free(self) -> None:
        """Require a place that can be written to, and that holds nothing but a scoring.

        Raises:
            MistakeError: Something else is there.
            StoreError: It may not be read or written.
        """
        with contextlib.suppress(ExistsError):
            self.blobs.put_if_absent(_ABOUT, _ABOUT_TEXT)
        for key in self.blobs.list(""):
            if not _OURS.fullmatch(key):
                raise MistakeError(
                    f"{self.url} holds {key}, which no scoring wrote; name an empty place with --out."
                )

    def begin(self, plan: Plan, pictures: bytes) -> Plan:
        """Write a plan and its list; whoever comes first decides.

        Returns:
            The plan that holds.
        """
        with contextlib.suppress(ExistsError):
            self.blobs.put_if_absent(plan.list_key, pictures)
        try:
            self.blobs.put_if_absent(PLAN, plan.to_json())
        except ExistsError:
            return Plan.from_json(self.blobs.get(PLAN), f"{PLAN} in {self.url}")
        return plan

    def pictures(self, plan: Plan) -> PictureList:
        """The pictures of a plan.

        Raises:
            StoreError: They cannot be read, or are not what was written.
        """
        return PictureList(plan, patiently(lambda: self.blobs.get(plan.list_key)))

    def done(self, plan: Plan) -> set[int]:
        """The shards that are there; waits for a place that is away."""
        return patiently(lambda: self.done_now(plan))

    def done_now(self, plan: Plan) -> set[int]:
        """The shards that are there.

        Raises:
            StoreError: The place refuses, or is away.
        """
        keys = self.blobs.list("part-")
        numbers = {int(match[1]) for key in keys if (match := _SHARD.fullmatch(key))}
        return numbers & set(range(len(plan.shards)))

    def put(self, key: str, data: bytes) -> bool:
        """Write an object whole, once; tells whether it was this call that did."""
        try:
            patiently(lambda: self.blobs.put_if_absent(key, data))
        except ExistsError:
            return False
        return True

    def summary(self) -> bytes | None:
        """The summary that is there; None where the result is not finished."""
        try:
            return patiently(lambda: self.blobs.get(SUMMARY))
        except AbsentError:
            return None

    def shard(self, number: int) -> bytes:
        """One shard, a Parquet file."""
        return patiently(lambda: self.blobs.get(shard_key(number)))


def patiently(act: Callable[[], Result]) -> Result:
    """Ask a store that has answered before, and wait where it is away for a while.

    Raises:
        StoreError: It refuses, or was away for too long.
    """
    began, said = time.monotonic(), False
    for attempt in Retrying(
        retry=retry_if_exception_type((UnreachableError, NoAnswerError)),
        stop=stop_after_delay(_AWAY_SECONDS),
        wait=wait_random_exponential(multiplier=0.2, max=10),
        reraise=True,
    ):
        with attempt:
            if not said and time.monotonic() - began > _SILENT_SECONDS:
                said = True
                say("The place of the result does not answer; it is waited for, 5 minutes at most.")
            return act()
    raise AssertionError("tenacity raises what was last raised")
