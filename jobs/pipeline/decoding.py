"""Decoding one's own pictures as a person watches it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from jobs.console import err

_LINE_EVERY: Final = 30.0
"""Seconds between two lines of a log."""


@contextmanager
def decoding_shown(
    console: Console = err, clock: Callable[[], float] = time.monotonic
) -> Iterator[Callable[[int, int], None]]:
    """Gives what is to be told how many files are decoded, and of how many.

    A live bar on a terminal; elsewhere a line now and then, and none where it is soon done.
    """
    bar = Progress(
        TextColumn("decoding"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    task = bar.add_task("")
    told = clock()

    def tell(done: int, total: int) -> None:
        nonlocal told
        bar.update(task, completed=done, total=total)
        if not console.is_terminal and clock() - told >= _LINE_EVERY:
            told = clock()
            console.print(f"{done:,} of {total:,} files are decoded.")

    with bar:
        yield tell
