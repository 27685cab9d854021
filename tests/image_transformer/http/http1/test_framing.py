"""Every row of `framings`, over a socket: answered once, or refused and the connection closed."""

import asyncio
import contextlib

import pytest
from framings import CASES, NEXT, Case
from wire import Echo, listening

PATIENCE = 30


def answers(heard: bytes, methods: list[str]) -> list[int]:
    """Takes a connection's answers apart, by their lengths alone; nothing may be left of it.

    Args:
        heard: All that was heard on it.
        methods: Of the requests that were understood; an answer to HEAD has no body.
    """
    statuses: list[int] = []
    while heard:
        head, separator, heard = heard.partition(b"\r\n\r\n")
        assert separator, head
        first, *lines = head.split(b"\r\n")
        version, status, _ = first.split(b" ", 2)
        assert version == b"HTTP/1.1"
        if status == b"100":
            continue
        headers = dict(line.lower().split(b": ", 1) for line in lines)
        assert (b"x-request-id" in headers) == (status != b"200")
        method = methods[len(statuses)] if len(statuses) < len(methods) else ""
        if method != "HEAD":
            heard = heard[int(headers[b"content-length"]) :]
        statuses.append(int(status))
    return statuses


async def converse(port: int, said: bytes, size: int) -> bytes:
    """Says it in pieces, listening meanwhile; returns all that was heard until the connection closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    heard = bytearray()

    async def listen() -> None:
        with contextlib.suppress(ConnectionError):  # it was closed, and more was sent
            while some := await reader.read(65536):
                heard.extend(some)

    listening = asyncio.create_task(listen())
    for start in range(0, len(said), size):
        if listening.done():
            break
        writer.write(said[start : start + size])
        await asyncio.sleep(0)
    await listening
    writer.transport.abort()
    return bytes(heard)


@pytest.mark.parametrize("size", [10_000, 7, 1], ids=lambda size: f"in pieces of {size}")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_a_request_is_answered_once_or_refused(case: Case, size: int) -> None:
    async with listening(Echo()) as (app, port), asyncio.timeout(PATIENCE):
        heard = await converse(port, case.sent + NEXT, size)
    expected = [*case.understood, *([("GET", "/next", b"")] if case.stays else [])]
    assert app.understood == expected
    methods = [method for method, _, _ in expected]
    if case.name == "HEAD without a host":
        methods.append("HEAD")
    assert tuple(answers(heard, methods)) == case.statuses + ((200,) if case.stays else ())
