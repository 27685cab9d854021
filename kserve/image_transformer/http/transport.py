"""A transport that sends a response's head and body together."""

import asyncio
from typing import Any


class Joining:
    """Puts a response's head and body into one write.

    uvicorn writes them one after the other, and each write is a packet, a wake-up of the client and a few
    hundredths of what a request costs here. A head that no body follows at once, as in a stream, goes alone.
    What is written to a closed connection goes nowhere, as asyncio has it; uvloop raises, and uvicorn writes
    where a client hung up that had sent more than one request (it tells the last of them alone).
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held = b""

    def write(self, data: bytes) -> None:
        """Writes a part of a response, at the latest in the loop's next turn."""
        if self._held or self._transport.is_closing():
            self.write_whole(data)
        elif data:
            self._held = data
            self._loop.call_soon(self._flush)

    def write_whole(self, data: bytes) -> None:
        """Writes a response that nothing follows."""
        if not self._transport.is_closing():
            self._transport.write(self._held + data)
        self._held = b""

    def close(self) -> None:
        """Closes once all is written."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._held:
            self.write_whole(b"")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
