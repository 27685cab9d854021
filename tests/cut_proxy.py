"""A TCP proxy that cuts the wire at a point of a conversation, in the middle of whatever is being said."""

import contextlib
import selectors
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Cut:
    """A point of a conversation: so many bytes into the turn of that number.

    A turn is what one side says until the other one speaks; turns are counted over all connections.
    """

    turn: int
    after: int = 0


class CutProxy:
    """Forwards connections to a server on this machine, and cuts where it is told to.

    Attributes:
        port: Where it listens.
        turns: Bytes of each turn since it was armed.
        cuts: Cuts since it was armed.
        connections: All that were made.
    """

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._cut: Cut | None = None
        self._for_good = False
        self._speaker = ""
        self.turns: list[int] = []
        self.cuts = 0
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def arm(self, cut: Cut | None, *, for_good: bool = False) -> None:
        """Count afresh, and cut there: once, or from then on until armed again."""
        with self._lock:
            self._cut, self._for_good = cut, for_good
            self._speaker, self.turns, self.cuts = "", [], 0

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._forward, args=(client,), daemon=True).start()

    def _forward(self, client: socket.socket) -> None:
        with (
            client,
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", self._server_port)) as server,
            selectors.DefaultSelector() as selector,
        ):
            selector.register(client, selectors.EVENT_READ, server)
            selector.register(server, selectors.EVENT_READ, client)
            while True:
                for key, _ in selector.select():
                    source = client if key.fileobj is client else server
                    data = source.recv(65536)
                    allowed = self._allow("client" if source is client else "server", len(data))
                    key.data.sendall(data[:allowed])
                    if not data or allowed < len(data):
                        return

    def _allow(self, speaker: str, size: int) -> int:
        """How many of the next bytes may pass."""
        with self._lock:
            if size and speaker != self._speaker:
                self._speaker = speaker
                self.turns.append(0)
            if not size or (self.cuts and self._for_good):
                return 0
            said = self.turns[-1]
            self.turns[-1] += size
            if (
                self._cut
                and not self.cuts
                and len(self.turns) == self._cut.turn
                and said + size > self._cut.after
            ):
                self.cuts += 1
                return self._cut.after - said
            return size


def every_cut(proxy: CutProxy, act: Callable[[], object]) -> list[Cut]:
    """Where to cut what `act` says: before each turn, in its middle and near its end."""
    proxy.arm(None)
    act()
    return [
        Cut(turn, after) for turn, size in enumerate(proxy.turns, 1) for after in (0, size // 2, size - 8)
    ]
