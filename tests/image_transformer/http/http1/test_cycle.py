"""An answer in one piece is what uvicorn makes of ASGI's two messages, byte for byte."""

from typing import Any

import pytest
from wire import Server, Wire

HEADERS = ((b"content-type", b"text/plain"), (b"content-length", b"4"), (b"x-request-id", b"mine"))
DATE = (b"date", b"Sun, 29 Nov 2026 20:00:00 GMT")
CLOSE = (b"connection", b"close")
REQUESTS = {
    "GET": b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
    "HEAD": b"HEAD / HTTP/1.1\r\nhost: x\r\n\r\n",
    "POST": b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nhi",
    "close": b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    "HTTP/1.0": b"GET / HTTP/1.0\r\n\r\n",
}


async def by_messages(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 429, "headers": HEADERS})
    await send({"type": "http.response.body", "body": b"body"})


async def at_once(scope: Any, receive: Any, send: Any) -> None:
    assert send.__self__.answer(429, HEADERS, b"body")


async def exchange(app: Any, request: bytes, always: list[tuple[bytes, bytes]]) -> Wire:
    server = Server(app)
    server.state.default_headers = always
    protocol, wire = server.connect()
    for _ in range(2):
        if not wire.is_closing():
            protocol.data_received(request)
            await server.settle()
    assert not server.state.tasks
    return wire


@pytest.mark.parametrize("always", [[], [DATE], [DATE, CLOSE]], ids=["nothing", "date", "the service ends"])
@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
async def test_one_piece_is_what_two_messages_make(
    request_: bytes, always: list[tuple[bytes, bytes]]
) -> None:
    expected = await exchange(by_messages, request_, always)
    wire = await exchange(at_once, request_, always)
    assert wire.writes == expected.writes
    assert wire.closed_after == expected.closed_after


async def test_what_may_not_stand_in_a_header_is_not_written() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        with pytest.raises(RuntimeError, match="Invalid HTTP header value"):
            send.__self__.answer(200, ((b"x-request-id", b"a\r\nb: c"), *HEADERS), b"body")
        await by_messages(scope, receive, send)

    wire = await exchange(app, REQUESTS["close"], [])
    assert b"b: c" not in wire.writes[0]


async def test_where_the_client_takes_nothing_an_answer_is_left_to_messages() -> None:
    """Which wait for it; to one that hung up nothing is said."""
    taken = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        send.__self__.flow.write_paused = True
        taken.append(send.__self__.answer(200, HEADERS, b"body"))
        send.__self__.flow.write_paused = False
        send.__self__.disconnected = True
        taken.append(send.__self__.answer(200, HEADERS, b"body"))

    server = Server(app)
    protocol, wire = server.connect()
    protocol.data_received(REQUESTS["GET"])
    await server.settle()
    assert taken == [False, True]
    assert wire.writes == []


@pytest.mark.parametrize("whole", [True, False])
async def test_a_body_that_came_with_its_head_is_there_at_once(whole: bool) -> None:
    bodies = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        bodies.append(receive.__self__.whole_body() or (await receive())["body"])
        await by_messages(scope, receive, send)

    server = Server(app)
    protocol, _ = server.connect()
    request = REQUESTS["POST"]
    protocol.data_received(request if whole else request[:-1])
    if not whole:
        await server.settle()
        protocol.data_received(request[-1:])
    await server.settle()
    assert b"".join(bodies) == (b"hi" if whole else b"h")
