"""Ctrl-C and SIGTERM end a command, whatever becomes of the exceptions that their handlers raise.

A library can take one for an error of its own (TensorFlow 2.21: `except: raise TypeError` in `DType.max`) or
drop it, and Python itself drops what is raised while an object is deleted. So it is remembered here that a
signal came, and where its exception is gone and the command goes on, the next one is raised.
"""

import contextlib
import signal
import sys
import weakref
from collections.abc import Iterator
from types import FrameType
from typing import Any, Final, NoReturn

from jobs.console import say
from jobs.errors import Exit

_LOOK_SECONDS: Final = 0.5


class Interrupted(KeyboardInterrupt):
    """Ctrl-C came; raised in whatever runs then, so that everything that cleans up does."""


class Terminated(SystemExit):
    """SIGTERM came; as on Ctrl-C."""


class Told(SystemExit):
    """A child, which got the signal too, has said so."""


_END: Final = {signal.SIGINT: Exit.INTERRUPTED, signal.SIGTERM: Exit.TERMINATED}
_SENTENCE: Final = {
    signal.SIGINT: "Stopped by Ctrl-C.",
    signal.SIGTERM: "Stopped by SIGTERM; the same command goes on from what is done.",
}


class _Signals:
    """The one that came, and what was raised for it."""

    def __init__(self) -> None:
        self.came: signal.Signals | None = None
        self._raised: weakref.ref[BaseException] | None = None

    def raise_for(self, number: int, _frame: FrameType | None) -> NoReturn:
        """Handler of both: remembers the first and raises."""
        self.came = self.came or signal.Signals(number)
        signal.setitimer(signal.ITIMER_REAL, _LOOK_SECONDS)
        error = Interrupted() if self.came is signal.SIGINT else Terminated(Exit.TERMINATED)
        self._raised = weakref.ref(error)
        try:
            raise error
        finally:
            del error  # else it would hold itself, by its traceback

    def look(self, _number: int, frame: FrameType | None) -> None:
        """Handler of the alarm: raises once more where nobody has the exception any longer."""
        if self.came is None or self._raised is None:
            return
        if self._raised() is None:
            self.raise_for(self.came, frame)
        signal.setitimer(signal.ITIMER_REAL, _LOOK_SECONDS)


_signals: Final = _Signals()


def came() -> bool:
    """Whether one of the two came: what fails then fails for that."""
    return _signals.came is not None


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """Whatever ends the block after Ctrl-C or SIGTERM, the program ends with 130 or 143 and one sentence.

    Afterwards a signal ends the process at once, without a word, as what is left is Python's own.
    """
    signal.signal(signal.SIGALRM, _signals.look)
    sys.unraisablehook = _unraisable
    for number in _END:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as of a command that a script put behind itself
            signal.signal(number, _signals.raise_for)
    try:
        yield
    except BaseException as reason:
        _let_go()
        if _signals.came is None:
            raise
        code = _END[_signals.came]
        if not isinstance(reason, Told):
            say(_SENTENCE[_signals.came])
        raise SystemExit(code) from None
    _let_go()


def _unraisable(dropped: Any) -> None:
    """For `sys.unraisablehook`: a signal's exception comes again, and is no traceback."""
    if not isinstance(dropped.exc_value, Interrupted | Terminated):
        sys.__unraisablehook__(dropped)


def _let_go() -> None:
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number in _END:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
