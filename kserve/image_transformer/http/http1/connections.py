"""How many connections are open, and for how long where nothing comes over them."""

import asyncio
import heapq
import socket
from collections.abc import Callable, Collection, Iterator
from typing import Any, Final, Protocol

LIMIT: Final = 4096
"""So many are open at most."""

_SPARE: Final = 256
_IDLE_SECONDS: Final = 5.0
_ACCEPTED_TOGETHER: Final = 256


class Connection(Protocol):
    """A client's connection.

    Attributes:
        due: The loop's time by which the client has to go on.
        idle_since: The loop's time since when it waits for a next request; infinite while it does not.
        transport: What carries it.
    """

    due: float
    idle_since: float
    transport: asyncio.Transport


def to_close(connections: Collection[Connection], now: float) -> Iterator[Connection]:
    """Gives those from which what is due did not come, and where places run short the longest idle ones.

    A connection is kept for longer than a load balancer keeps it, so idle ones are many: for a new client to
    find a place, `_SPARE` are free where that takes none from a client that asked in the last five seconds.
    """
    late = [connection for connection in connections if connection.due < now]
    yield from late
    beyond = len(connections) - len(late) - (LIMIT - _SPARE)
    if beyond > 0:
        idle = (each for each in connections if each.due >= now and each.idle_since < now - _IDLE_SECONDS)
        yield from heapq.nsmallest(beyond, idle, key=lambda connection: connection.idle_since)


async def close_slow(connections: set[Any]) -> None:
    """Looks at all connections once a second, until cancelled.

    A timer for each would cost more than the limits are worth.
    """
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(1)
        for connection in to_close(tuple(connections), loop.time()):
            connection.transport.abort()


class Acceptor:
    """Takes connections that wait, many in a turn of the loop.

    libuv accepts one in a turn, and under load a turn takes long: the last of a few thousand clients waited
    for a quarter of a minute.
    """

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._connecting: set[asyncio.Task[Any]] = set()

    def accept(self, loop: asyncio.AbstractEventLoop, protocol: Callable[[], asyncio.Protocol]) -> None:
        """Gives each of them a protocol; what fails here, libuv meets and sees to."""
        try:
            for _ in range(_ACCEPTED_TOGETHER):
                accepted, _address = self._listener.accept()
                task = loop.create_task(self._connect(loop, protocol(), accepted))
                self._connecting.add(task)
                task.add_done_callback(self._connecting.discard)
        except OSError:
            return

    @staticmethod
    async def _connect(
        loop: asyncio.AbstractEventLoop, protocol: asyncio.Protocol, accepted: socket.socket
    ) -> None:
        await loop.connect_accepted_socket(lambda: protocol, accepted)
