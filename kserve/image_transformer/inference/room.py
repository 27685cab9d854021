"""Memory for images, given out in the order in which it is asked for."""

import asyncio
from collections import deque


class Room:
    """So many bytes, of which each taker has some for a while; the others wait for their turn.

    Attributes:
        free: Bytes that nobody has.
    """

    def __init__(self, most: int) -> None:
        self._most = self.free = most
        self._turns: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def enter(self, wanted: int) -> int:
        """Takes bytes once there are so many, and all who came before have theirs.

        Args:
            wanted: How many; who wants more than there is has all of it, alone.

        Returns:
            What was taken, to be given back.
        """
        wanted = min(wanted, self._most)
        if not self._turns and wanted <= self.free:
            self.free -= wanted
            return wanted
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._turns.append((wanted, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # its turn came in the moment in which it was given up
                self.leave(wanted)
            raise
        return wanted

    def leave(self, taken: int) -> None:
        """Gives bytes back, and their turn to who has waited for them."""
        self.free += taken
        while self._turns and self._turns[0][0] <= self.free:
            wanted, turn = self._turns.popleft()
            if not turn.done():
                self.free -= wanted
                turn.set_result(None)
