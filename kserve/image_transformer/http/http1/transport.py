"""A transport that sends a response's head and body together, and is closed so that it arrives."""

import asyncio
from typing import Any, Final

_LINGER_SECONDS: Final = 5.0


class Joining:
    """Puts a response's head and body into one write, and lingers where the client is still speaking.

    uvicorn writes them one after the other, and each write is a packet, a wake-up of the client and a few
    hundredths of what a request costs here. A head that no body follows at once, as in a stream, goes alone.
    What is written to a closed connection goes nowhere, as asyncio has it; uvloop raises, and uvicorn writes
    where a client hung up that had sent more than one request (it tells the last of them alone).

    A socket that is closed with something unread resets the connection, and takes the response from a client
    that is sending. There, only writing ends (RFC 9112, section 9.6), and what still comes is not looked at.

    Attributes:
        unread: Whether more of a request is to come.
        closing: Whether nothing is written any more.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held = b""
        self.unread = False
        self.closing = False

    def is_closing(self) -> bool:
        """Tells whether nothing is written any more."""
        return self.closing or self._transport.is_closing()

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
        if not self.unread or self.is_closing():
            self._transport.close()
        else:
            self._transport.write_eof()
            self._transport.resume_reading()  # to learn of the client's end
            self._loop.call_later(_LINGER_SECONDS, self._transport.abort)
        self.closing = True

    def _flush(self) -> None:
        if self._held:
            self.write_whole(b"")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
