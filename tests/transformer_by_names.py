"""The transformer as ever, but that the name `pods` leads to the addresses in the file POD_NAMES names.

As a cluster's DNS says for a headless Service; a test that is not root can give no name several addresses.
"""

import os
import socket
import sys
from functools import partial
from pathlib import Path
from typing import Any

import uvloop

NAME = "pods"


def _addresses() -> list[str]:
    return Path(os.environ["POD_NAMES"]).read_text().split()


class _Loop(uvloop.Loop):
    """An event loop for which one name leads elsewhere."""

    async def getaddrinfo(self, host: Any, port: Any, **kind: Any) -> Any:
        """See `asyncio.loop.getaddrinfo`."""
        if host != NAME:
            return await super().getaddrinfo(host, port, **kind)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in _addresses()]


def main() -> None:
    """Starts the transformer."""
    from image_transformer import __main__ as transformer

    uvloop.run = partial(uvloop.run, loop_factory=_Loop)
    transformer.main()


if __name__ == "__main__":
    del sys.path[0]  # the folder of this file, which has rooms of the same names
    main()
