"""What is said of work that takes long and has no bar: a line now and then, none where it is soon done."""

import logging
import time
from typing import Final

log = logging.getLogger(__name__)

_LINE_EVERY: Final = 10.0
"""Seconds between two lines."""


class Told:
    """Says how far something is, from time to time; for one thread."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def now_and_then(self, sentence: str, *values: object) -> None:
        """Say it where it is time; `values` are put in as logging does."""
        if time.monotonic() - self._last >= _LINE_EVERY:
            self._last = time.monotonic()
            log.info(sentence, *values)
