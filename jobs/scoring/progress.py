"""Scoring as a person watches it: how many pictures are answered, how fast, and how long it takes yet."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from export.errors import StoreError
from jobs.console import err
from jobs.scoring.destination import Destination
from jobs.scoring.plan import Plan

_LINE_EVERY: Final = 10.0
"""Seconds between two lines of a log."""

_LOOK_EVERY: Final = 5.0
"""Seconds between two looks at which shards there are."""

_TRIED_EVERY: Final = 60.0
"""The same where they cannot be looked at."""


@contextmanager
def scoring_shown(
    total: int, done: int, console: Console = err, clock: Callable[[], float] = time.monotonic
) -> Iterator[Callable[[int], None]]:
    """Gives what is to be told how many more pictures are answered.

    A live bar on a terminal; elsewhere a line now and then, and none where it is soon done.

    Args:
        total: Pictures in all.
        done: Of those, answered by an earlier start.
        console: Where it is shown.
        clock: In seconds.
    """
    bar = Progress(
        TextColumn("scoring"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn("{task.fields[figures]}"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    task = bar.add_task("", total=total, completed=done, figures="starting …")
    began = told = clock()
    answered = 0

    def tell(more: int) -> None:
        nonlocal told, answered
        answered += more
        rate = answered / max(1e-9, clock() - began)
        left = max(0, total - done - answered) / rate if rate else 0.0
        figures = f"{rate:,.0f} images/s  {_clock(left)} left"
        bar.update(task, completed=min(total, done + answered), figures=figures)
        if not console.is_terminal and clock() - told >= _LINE_EVERY:
            told = clock()
            console.print(f"{min(total, done + answered):,} of {total:,} images are scored  {figures}")

    with bar:
        yield tell


@contextmanager
def shards_shown(
    open_destination: Callable[[], Destination],
    console: Console = err,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Callable[[], None]]:
    """Gives what is to be called now and then, to show how far a scoring by many machines is, by its shards.

    A line that is written over on a terminal; elsewhere one for each look that finds more of them.

    Args:
        open_destination: Opens where its result lies. Nothing is shown where it cannot be read: who waits
            for a Job need not have the right.
        console: Where it is shown.
        clock: In seconds.
    """
    watched = _Shards(open_destination, clock)
    with console.status("") as status:

        def look() -> None:
            line = watched.look()
            if line is not None:
                status.update(line)
                if not console.is_terminal:
                    console.print(line)

        yield look


class _Shards:
    """What `shards_shown` tells: the shards that are there, and how fast pictures came since it began."""

    def __init__(self, open_destination: Callable[[], Destination], clock: Callable[[], float]) -> None:
        self._open, self._clock = open_destination, clock
        self._destination: Destination | None = None
        self._plan: Plan | None = None
        self._due = clock()
        self._first: tuple[float, int] | None = None
        self._shards = -1

    def look(self) -> str | None:
        """One line where there are more shards than at the look before."""
        now = self._clock()
        if now < self._due:
            return None
        self._due = now + _LOOK_EVERY
        try:
            self._destination = self._destination or self._open()
            self._plan = self._plan or self._destination.plan()
            done = self._destination.done_now(self._plan) if self._plan else set()
        except StoreError:
            self._due = now + _TRIED_EVERY
            return None
        if self._plan is None or len(done) == self._shards:
            return None
        self._shards = len(done)
        pictures = sum(self._plan.shards[number] for number in done)
        said = f"{len(done):,} of {len(self._plan.shards):,} shards are there"
        if self._first is None:
            self._first = (now, pictures)
        seconds, more = now - self._first[0], pictures - self._first[1]
        if not more:
            return said
        left = (self._plan.pictures - pictures) * seconds / more
        return f"{said}  {more / seconds:,.0f} images/s  {_clock(left)} left"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02} h" if hours else f"{minutes}:{rest:02} min"
