"""Python's clients with their defaults.

Arguments: a client, an address, then `length:FILE` or `stream:FILE`; prints each answer's body.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

# Each client is imported where it is used: the others would only cost time.
HEADERS = {"Content-Type": "image/*"}
PIECE = 65_536


def pieces(content: bytes) -> Iterator[bytes]:
    """A body whose length nobody knows."""
    return (content[start : start + PIECE] for start in range(0, len(content), PIECE))


def by_requests(address: str, sent: list[tuple[str, bytes]]) -> None:
    import requests

    with requests.Session() as session:
        for kind, content in sent:
            body = content if kind == "length" else pieces(content)
            print(session.post(address, data=body, headers=HEADERS).text)


def by_httpx(address: str, sent: list[tuple[str, bytes]]) -> None:
    import httpx

    with httpx.Client(timeout=60) as client:
        for kind, content in sent:
            body = content if kind == "length" else pieces(content)
            print(client.post(address, content=body, headers=HEADERS).text)


def by_urllib3(address: str, sent: list[tuple[str, bytes]]) -> None:
    import urllib3

    with urllib3.PoolManager() as pool:
        for kind, content in sent:
            body = content if kind == "length" else pieces(content)
            print(pool.request("POST", address, body=body, headers=HEADERS).data.decode())


def by_aiohttp(address: str, sent: list[tuple[str, bytes]]) -> None:
    import aiohttp

    async def stream(content: bytes) -> AsyncIterator[bytes]:
        for piece in pieces(content):
            yield piece

    async def send() -> None:
        async with aiohttp.ClientSession() as session:
            for kind, content in sent:
                body = content if kind == "length" else stream(content)
                async with session.post(address, data=body, headers=HEADERS) as answer:
                    print(await answer.text())

    asyncio.run(send())


if __name__ == "__main__":
    bodies = [(kind, Path(file).read_bytes()) for kind, file in (part.split(":") for part in sys.argv[3:])]
    globals()[f"by_{sys.argv[1]}"](sys.argv[2], bodies)
