"""An S3 that has answered is waited for where it is away for a while, by all who ask it together."""

import logging
import random
import threading
import time
from collections.abc import Callable
from typing import Final, TypeVar

from model.data.errors import DataAwayError
from model.data.remote.s3_errors import FAULTS, Asked
from model.data.remote.s3_explain import explain

log = logging.getLogger(__name__)

_AWAY_SECONDS: Final = 300.0
"""An S3 that nobody has had an answer of for so long is given up."""

_MINUTES: Final = f"{_AWAY_SECONDS / 60:.0f} minutes"

_SILENT_SECONDS: Final = 3.0
"""So long nothing is said of it: most faults are over by then."""

_FIRST_TRIES: Final = 2
"""Before the first answer; an address that was mistyped is not waited for."""

_SHORTEST_WAIT: Final = 0.1
_LONGEST_WAIT: Final = 10.0

_MAY_PASS: Final = {"unreachable", "proxy", "tls"}
"""What of a way that was good may be good again: the machine at its other end was started anew."""

Answer = TypeVar("Answer")


class Patience:
    """Asks an S3 again while it is away, and says once that it is; for any number of threads.

    It is told from an address that leads nowhere by its first answer: before that nobody waits.
    """

    def __init__(self, asked: Asked) -> None:
        """Nothing is asked yet.

        Args:
            asked: For sentences.
        """
        self._asked = asked
        self._lock = threading.Lock()
        self._heard = False
        self._away_since: float | None = None
        self._said = False

    def ask(self, what: str, act: Callable[[], Answer], stop: threading.Event | None = None) -> Answer:
        """What `act` gives; it is called again after each fault that may pass.

        Args:
            what: The object or prefix in question, for sentences.
            act: Asks the S3; what else it raises than the faults below is an answer too.
            stop: Ends the waiting, with the fault.

        Raises:
            One of `model.data.remote.s3_errors.FAULTS`: It refuses, or did not answer the first time.
            DataAwayError: It was there, and has been away for too long.
        """
        tries = 0
        while True:
            try:
                answer = act()
            except FAULTS as error:
                tries += 1
                fault = explain(error, self._asked, what)
                if fault.kind not in _MAY_PASS or (stop is not None and stop.is_set()):
                    raise
                if not self._heard and (tries >= _FIRST_TRIES or fault.kind != "unreachable"):
                    raise
                if self._is_lost(fault.sentence):
                    sentence = fault.sentence.removesuffix(".")
                    raise DataAwayError(f"{sentence}; it was waited for {_MINUTES}.") from error
                _wait(tries, stop)
            except Exception:
                self.answered()
                raise
            else:
                self.answered()
                return answer

    def answered(self) -> None:
        """The S3 is there: the waiting begins anew with its next fault."""
        with self._lock:
            now = time.monotonic()
            if self._said and self._away_since is not None:
                log.warning("%s answers again, after %.0f s.", self._name, now - self._away_since)
            self._heard, self._away_since, self._said = True, None, False

    def _is_lost(self, sentence: str) -> bool:
        """Whether nobody has had an answer for too long; says that it is waited for."""
        with self._lock:
            if not self._heard:
                return False
            now = time.monotonic()
            if self._away_since is None:
                self._away_since = now
            if not self._said and now - self._away_since >= _SILENT_SECONDS:
                self._said = True
                what, _, _ = sentence.partition(";")
                log.warning("%s; it is waited for, %s at most.", what, _MINUTES)
            return now - self._away_since >= _AWAY_SECONDS

    @property
    def _name(self) -> str:
        return f"The S3 at {self._asked.endpoint}"


def _wait(tries: int, stop: threading.Event | None) -> None:
    """Longer after each try, and not all at once."""
    seconds = random.uniform(0.5, 1) * min(_LONGEST_WAIT, _SHORTEST_WAIT * 2 ** min(tries, 9))  # noqa: S311
    if stop is None:
        time.sleep(seconds)
    else:
        stop.wait(seconds)
