"""Connections to Triton's pods: one pool an address, addresses resolved again and again.

Pods are kept by the versions they serve: who asks for one is never sent to a pod that has another.
"""

import asyncio
import logging
import select
import socket
from collections.abc import Callable
from functools import partial
from typing import Final

from image_transformer.triton.connection import Answer, Connection, Done, NotConnectedError
from image_transformer.triton.served import Served

_CONNECT_SECONDS: Final = 1.0
# Behind a Service's one address, connections that end give a new pod its share, and are gone before a pod
# that was told to end has drained (the chart's serving.drainSeconds).
_CONNECTION_AGE_SECONDS: Final = 5.0
_RESOLVE_SECONDS: Final = 2.0
_ALIVE_SECONDS: Final = 2.0
_REQUESTS_BETWEEN: Final = 16

log = logging.getLogger(__name__)


class Endpoint:
    """One address of Triton.

    Attributes:
        address: Host and port.
        busy: Requests under way.
        served: The versions that it last said are ready, the newest last; none while it is away.
        read: What is known of its versions since it was last lost; None of one that cannot be used.
        unusable: Why such a one cannot be used; empty where there is none.
        answered_at: When it last answered anything, by the event loop's clock.
    """

    def __init__(self, address: tuple[str, int], on_change: Callable[[], None] = lambda: None) -> None:
        self.address = address
        self.busy = 0
        self.served: tuple[Served, ...] = ()
        self.read: dict[str, Served | None] = {}
        self.unusable = ""
        self.answered_at = 0.0
        self._on_change = on_change
        self._loop = asyncio.get_running_loop()
        self._idle: list[Connection] = []
        self._all: set[Connection] = set()
        self._closed = False

    @property
    def alive(self) -> bool:
        """Whether it answered a moment ago: if it does not now, it is busy, or this process is."""
        return self._loop.time() - self.answered_at < _ALIVE_SECONDS

    def serves(self, served: tuple[Served, ...]) -> None:
        """Notes which versions it has ready now."""
        if served != self.served:
            log.info(
                "what Triton has ready has changed",
                extra={
                    "address": self.address,
                    "before": [one.version for one in self.served],
                    "now": [one.version for one in served],
                },
            )
            self.served = served
            self._on_change()

    def lost(self, reason: str) -> None:
        """Notes that nobody answers: whoever does next may be another Triton."""
        if self.served:
            log.warning("Triton does not answer", extra={"address": self.address, "reason": reason})
        self.read = {}
        self.unusable = ""
        self.serves(())

    def ask(self, request: bytes, seconds: float, done: Done) -> None:
        """Sends a request over an idle connection, or a new one."""
        self.busy += 1
        answered = partial(self._answered, done)
        now = self._loop.time()
        while self._idle:
            connection = self._idle.pop()
            if now - connection.opened > _CONNECTION_AGE_SECONDS:
                connection.close()
                continue
            connection.ask(request, seconds, answered)
            return
        task = self._loop.create_task(self._connect())
        task.add_done_callback(partial(self._connected, request, seconds, answered))

    def close(self) -> None:
        """Closes idle connections now, others when they are done."""
        self._closed = True
        while self._idle:  # one that is closed takes itself out of the list
            self._idle.pop().close()

    def receive(self) -> None:
        """Takes what has come over its connections, if anything has."""
        for connection in list(self._all):
            connection.receive()

    def drop(self) -> None:
        """Breaks off all connections: the server behind them does not answer."""
        for connection in list(self._all):
            connection.close()

    def _answered(self, done: Done, result: Answer | OSError) -> None:
        self.busy -= 1
        if isinstance(result, Answer):
            self.answered_at = self._loop.time()
        done(result)

    async def _connect(self) -> Connection:
        family = socket.AF_INET6 if ":" in self.address[0] else socket.AF_INET
        connecting = socket.socket(family, socket.SOCK_STREAM)
        try:
            connecting.setblocking(False)
            connecting.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                async with asyncio.timeout(_CONNECT_SECONDS):
                    await self._loop.sock_connect(connecting, self.address)
            except TimeoutError:
                if not _is_connected(connecting):  # else in time: it is this process that had none
                    raise
        except BaseException:
            connecting.close()
            raise
        connection = Connection(connecting, self._is_idle, self._is_lost)
        self._all.add(connection)
        return connection

    def _connected(self, request: bytes, seconds: float, done: Done, task: asyncio.Task[Connection]) -> None:
        if task.cancelled():
            done(ConnectionError("the transformer is shutting down"))
        elif (error := task.exception()) is None:
            task.result().ask(request, seconds, done)
        else:
            reason = str(error) or "no connection in time"
            if not (isinstance(error, TimeoutError) and self.alive):
                self.lost(reason)
            done(NotConnectedError(f"{self.address[0]}:{self.address[1]}: {reason}"))

    def _is_idle(self, connection: Connection) -> None:
        if self._closed:
            connection.close()
        else:
            self._idle.append(connection)

    def _is_lost(self, connection: Connection) -> None:
        self._all.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)


def _is_connected(connecting: socket.socket) -> bool:
    poll = select.poll()
    poll.register(connecting, select.POLLOUT)
    return bool(poll.poll(0)) and not connecting.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


class Endpoints:
    """All addresses behind Triton's name.

    Attributes:
        live: The versions that any address has ready, the newest first.
        offered: Of these the newest of each address: what answers who asks for none in particular.
        on_change: Called when one of them came or went, at any address.
    """

    def __init__(self, host: str) -> None:
        name, _, port = host.rpartition(":") if host.rpartition(":")[2].isdigit() else (host, "", "80")
        self._name, self._port = name.strip("[]"), int(port)
        self._endpoints: dict[tuple[str, int], Endpoint] = {}
        self._by_version: dict[Served, list[Endpoint]] = {}
        self._resolved_at = 0.0
        self._between = 0
        self.live: tuple[Served, ...] = ()
        self.offered: tuple[Served, ...] = ()
        self.on_change: Callable[[], None] = lambda: None

    @property
    def all(self) -> list[Endpoint]:
        """Every address, whether it has a version ready or not."""
        return list(self._endpoints.values())

    def count(self, served: Served) -> int:
        """How many addresses have a version ready."""
        return len(self._by_version.get(served, ()))

    def pick(self, served: Served, besides: Endpoint | None = None) -> Endpoint | None:
        """Returns that version's address with the fewest requests under way, if possible not `besides`.

        Of several such, the one that was picked the longest ago: a quiet service shares its load too.
        """
        candidates = self._by_version.get(served)
        if candidates is None:
            return None
        if len(candidates) == 1:
            return candidates[0]
        picked = min(
            (endpoint for endpoint in candidates if endpoint is not besides), key=lambda one: one.busy
        )
        candidates.remove(picked)
        candidates.append(picked)
        return picked

    def add(self, address: tuple[str, int]) -> Endpoint:
        """Takes an address in; what it serves is not known yet."""
        endpoint = self._endpoints[address] = Endpoint(address, self._regroup)
        return endpoint

    async def resolve(self) -> None:
        """Looks the name up, unless that was done a moment ago: new addresses join, vanished ones leave.

        While no version is ready, at every look: one may be ready at an address that is not known yet.
        """
        loop = asyncio.get_running_loop()
        if self.live and loop.time() - self._resolved_at < _RESOLVE_SECONDS:
            return
        self._resolved_at = loop.time()
        try:
            found = await loop.getaddrinfo(self._name, self._port, type=socket.SOCK_STREAM)
        except OSError as error:  # keep what is known: a name server that is away is no reason to stop
            log.warning("Triton's name does not resolve", extra={"host": self._name, "reason": str(error)})
            return
        addresses = {(str(address[0]), int(address[1])) for *_, address in found}
        for address in addresses - self._endpoints.keys():
            self.add(address)
        if gone := self._endpoints.keys() - addresses:
            for address in gone:
                self._endpoints.pop(address).close()
            self._regroup()

    def receive_between(self) -> None:
        """Takes what has been answered, now and then; to be called for each request of a client.

        Under overload a turn of the event loop has thousands of sockets to serve. Triton's answers would
        wait for its end, and Triton for its next calls.
        """
        self._between = (self._between + 1) % _REQUESTS_BETWEEN
        if self._between == 0:
            for endpoint in self.all:
                endpoint.receive()

    def close(self) -> None:
        """Closes every connection."""
        for endpoint in self._endpoints.values():
            endpoint.close()

    def _regroup(self) -> None:
        before, self._by_version = self._by_version, {}
        for endpoint in self._endpoints.values():
            for served in endpoint.served:
                self._by_version.setdefault(served, []).append(endpoint)
        newest = {endpoint.served[-1] for endpoint in self._endpoints.values() if endpoint.served}
        self.live = tuple(sorted(self._by_version, key=lambda served: int(served.version), reverse=True))
        self.offered = tuple(served for served in self.live if served in newest)
        if before != self._by_version:
            self.on_change()
