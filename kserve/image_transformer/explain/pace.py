"""How many masks may be sent now: a few where plain requests leave room, else a small share of the time."""

from typing import Final

# A plain request that comes in the middle of a call waits for its end, as it does while the call's images are
# made: one goes however long it takes, more only while they take about so long together.
_CALL_SECONDS: Final = 0.002
_MASKS_PER_CALL: Final = 8
# After a call beside plain ones there is none for nine times as long: a tenth of the time, so that they all
# end under steady load too. But never longer than a second: one slow answer says little of the next.
_PAUSES: Final = 9
_LONGEST_PAUSE_SECONDS: Final = 1.0


class Pace:
    """The pace of one explanation. Times are of the clock that its caller has."""

    def __init__(self, now: float) -> None:
        self._in_a_gap = 1
        self._beside = 1
        self._due = now + _PAUSES * _CALL_SECONDS

    def masks(self, now: float, plain: int | None) -> int:
        """How many masks may be sent together; 0 for none yet.

        Args:
            now: The time.
            plain: How many images a plain call has at the moment; None where plain requests leave room.
        """
        if plain is None:
            return self._in_a_gap
        # A call more like those that are under way anyhow: none that a plain request would wait for longer.
        return min(self._beside, max(1, plain)) if now >= self._due else 0

    def sent(self, masks: int, began: float, made: float, answered: float, *, beside: bool) -> None:
        """Learns from a call how many may go together in the next of its kind.

        Args:
            masks: How many it had.
            began: When its images were begun.
            made: When they were made.
            answered: When Triton had answered.
            beside: Whether plain requests were under way: then Triton's time says how much those take.
        """
        if beside:
            self._beside = _next(self._beside, masks, made - began)
        else:
            self._in_a_gap = _next(self._in_a_gap, masks, answered - began)
        self._due = answered + min(_PAUSES * (answered - began), _LONGEST_PAUSE_SECONDS)


def _next(together: int, masks: int, took: float) -> int:
    if took > _CALL_SECONDS:
        return max(1, together // 2)
    if took < _CALL_SECONDS / 2 and masks == together:
        return min(_MASKS_PER_CALL, together * 2)
    return together
