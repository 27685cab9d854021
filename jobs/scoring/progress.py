"""Scoring as a person watches it: how many pictures are answered, how fast, and how long it takes yet."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from jobs.console import err

_LINE_EVERY: Final = 10.0
"""Seconds between two lines of a log."""


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


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02} h" if hours else f"{minutes}:{rest:02} min"
