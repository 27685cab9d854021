"""What goes over the wire, write by write; limits on a request's head are tried in test_server.py."""

import asyncio
import math
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from wire import HEAD, Echo, Server, Wire, listening, whole


async def in_parts(scope: Any, receive: Any, send: Any) -> None:
    await send(HEAD)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await send({"type": "http.response.body", "body": b"bo", "more_body": True})
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await send({"type": "http.response.body", "body": b"dy"})


async def exchange(app: Any, request: bytes) -> Wire:
    server = Server(app)
    protocol, wire = server.connect()
    protocol.data_received(request)
    await server.settle()
    return wire


async def test_head_and_body_are_one_write() -> None:
    wire = await exchange(whole, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    [written] = wire.writes
    assert written.startswith(b"HTTP/1.1 200 OK\r\n")
    assert written.endswith(b"\r\n\r\nbody")


async def test_a_stream_goes_out_as_it_comes() -> None:
    wire = await exchange(in_parts, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    assert wire.writes[0].endswith(b"\r\n\r\n")
    assert wire.writes[1:] == [b"bo", b"dy"]


@pytest.mark.parametrize("app", [whole, in_parts])
async def test_all_is_written_before_the_connection_closes(app: Any) -> None:
    wire = await exchange(app, b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    assert b"".join(wire.writes).endswith(b"\r\n\r\nbody")
    assert wire.closed_after == len(wire.writes)


POST = b"POST /predict HTTP/1.1\r\nhost: x\r\nx-request-id: mine\r\ncontent-length: 4\r\n\r\n"
AWAY = (
    b"HTTP/1.1 429 Too Many Requests\r\ncontent-type: application/json\r\ncontent-length: 107\r\n"
    b"x-request-id: mine\r\nretry-after: 1\r\n\r\n"
    b'{"error":"Too many requests are under way; try again in a second.",'
    b'"code":"overloaded","request_id":"mine"}'
)


class Gate:
    """An application that answers once it is told to."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["method"] == "POST":
            await self.opened.wait()
        await whole(scope, receive, send)


async def test_beyond_the_limit_a_request_is_turned_away_from_its_head_alone() -> None:
    gate = Gate()
    server = Server(gate, max_requests=2)
    taken = [server.connect() for _ in range(2)]
    for protocol, _ in taken:
        protocol.data_received(POST + b"body")
    protocol, wire = server.connect()
    protocol.data_received(POST)
    assert wire.writes == [AWAY]
    assert server.turned_away == 1

    # Its body is not wanted, and the connection is as good as new.
    protocol.data_received(b"body")
    protocol.data_received(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert wire.writes[1].startswith(b"HTTP/1.1 200 OK\r\n"), "health is told under any load"
    gate.opened.set()
    await server.settle()
    for _, served in taken:
        assert served.writes[0].endswith(b"\r\n\r\nbody")
    protocol.data_received(POST + b"body")
    await server.settle()
    assert wire.writes[2].endswith(b"\r\n\r\nbody")
    assert wire.closed_after is None


async def test_while_the_queue_takes_no_more_a_request_is_turned_away_from_its_head_alone() -> None:
    server = Server(whole)
    server.saturated = True
    protocol, wire = server.connect()
    protocol.data_received(POST + b"body")
    protocol.data_received(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
    await server.settle()
    await asyncio.sleep(0)
    written = b"".join(wire.writes)
    assert written.startswith(AWAY)
    assert written[len(AWAY) :].startswith(b"HTTP/1.1 200 OK\r\n"), "health is told under any load"
    server.saturated = False
    protocol.data_received(POST + b"body")
    await server.settle()
    assert wire.writes[-1].startswith(b"HTTP/1.1 200 OK\r\n")
    assert server.turned_away == 1


async def test_the_first_answer_goes_out_before_the_refusal_of_the_second() -> None:
    """A stream's last part may still be held for a write together with what follows."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await in_parts(scope, receive, send)
        server.saturated = True
        protocol.data_received(POST + b"body")

    server = Server(app)
    protocol, wire = server.connect()
    protocol.data_received(POST + b"body")
    await server.settle()
    written = b"".join(wire.writes)
    assert written.endswith(b"\r\n\r\nbody" + AWAY)


CHUNKED = b"POST /predict HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"


@pytest.mark.parametrize("size", [1, 7, 1000], ids=lambda size: f"in pieces of {size}")
@pytest.mark.parametrize(
    ("sent", "refused"),
    [
        (POST + b"body", 1),
        (CHUNKED, 1),
        ((POST + b"body") * 3, 3),
        (POST + b"body" + CHUNKED + POST + b"body", 3),
        (POST.replace(b"4", b"31") + b"POST /smuggled HTTP/1.1\r\n\r\nbody", 1),
    ],
    ids=["one", "chunked", "three", "mixed", "a request as a body"],
)
async def test_every_request_is_refused_once_however_it_comes(sent: bytes, refused: int, size: int) -> None:
    server = Server(whole, max_requests=0)
    protocol, wire = server.connect()
    for start in range(0, len(sent), size):
        protocol.data_received(sent[start : start + size])
    assert b"".join(wire.writes).count(b"HTTP/1.1 429 ") == server.turned_away == refused
    protocol.data_received(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
    await server.settle()
    assert wire.writes[-1].startswith(b"HTTP/1.1 200 OK\r\n"), "what follows is read from its beginning"


SMUGGLED = b"POST /smuggled HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n"


async def test_a_body_that_comes_by_itself_is_no_request_whatever_it_looks_like() -> None:
    server = Server(whole, max_requests=0)
    protocol, wire = server.connect()
    protocol.data_received(POST.replace(b"4", b"%d" % len(SMUGGLED)))
    protocol.data_received(SMUGGLED)
    assert wire.writes == [AWAY]


async def test_what_is_no_http_behind_a_request_is_told() -> None:
    server = Server(whole, max_requests=0)
    protocol, wire = server.connect()
    protocol.data_received(POST + b"body" + b"\x00")
    assert wire.writes[0] == AWAY
    assert wire.writes[1].startswith(b"HTTP/1.1 400 ")
    assert wire.closed_after == 2


async def test_a_request_is_not_refused_ahead_of_the_answer_before_it() -> None:
    gate = Gate()
    server = Server(gate, max_requests=1)
    protocol, wire = server.connect()
    protocol.data_received(POST + b"body")
    protocol.data_received(POST + b"body")
    assert wire.writes == []
    gate.opened.set()
    await server.settle()
    await server.settle()
    assert [written[:12] for written in wire.writes] == [b"HTTP/1.1 200"] * 2


@pytest.mark.parametrize(
    ("head", "known_as"),
    [
        (b"X-REQUEST-ID:  mine \r\n", b"mine"),
        (b"x-request-id: not fit\x7f for a log\r\n", None),
        (b"x-request-identity: other\r\n", None),
        (b"", None),
    ],
    ids=["as written", "unfit", "another header", "none"],
)
async def test_a_refusal_names_the_request_that_came(head: bytes, known_as: bytes | None) -> None:
    server = Server(whole, max_requests=0)
    protocol, wire = server.connect()
    body = b"\r\nx-request-id: body\r\n"
    protocol.data_received(
        b"POST /predict HTTP/1.1\r\nhost: x\r\n" + head + b"content-length: %d\r\n\r\n" % len(body) + body
    )
    [written] = wire.writes
    identity = written.partition(b"\r\nx-request-id: ")[2].partition(b"\r\n")[0]
    assert identity
    assert identity not in {b"other", b"body"}
    assert known_as in {identity, None}
    assert written.endswith(b'"request_id":"%s"}' % identity)


@pytest.mark.parametrize("body", [b"", b"body"], ids=["head alone", "whole"])
@pytest.mark.parametrize("more", [b"connection: close\r\n", b"expect: 100-continue\r\n"])
async def test_who_is_turned_away_and_would_leave_is_let_go(more: bytes, body: bytes) -> None:
    server = Server(Gate(), max_requests=0)
    protocol, wire = server.connect()
    protocol.data_received(POST[:-2] + more + b"\r\n" + body)
    leaves = b"\r\nconnection: close\r\n\r\n{" in b"".join(wire.writes)
    # With its body, who asked for "100 Continue" has not waited for it.
    assert leaves is (not body or b"close" in more)
    assert wire.closed_after == (1 if leaves else None)


async def test_who_is_turned_away_while_the_service_ends_is_let_go() -> None:
    server = Server(Gate(), max_requests=0)
    protocol, wire = server.connect()
    server.state.default_headers = [(b"connection", b"close")]
    protocol.data_received(POST + b"body")
    assert wire.closed_after == 1


async def test_a_body_that_nobody_wants_may_not_take_for_ever() -> None:
    server = Server(Gate(), max_requests=0)
    protocol, _ = server.connect()
    protocol.data_received(POST + b"b")
    now = asyncio.get_running_loop().time()
    assert protocol.due < now + 60
    protocol.data_received(b"ody")
    assert protocol.due > now + 1


@pytest.mark.parametrize("parts", [(POST + b"body",), (POST, b"body")], ids=["whole", "in parts"])
async def test_who_was_turned_away_and_stays_idle_is_disconnected(parts: tuple[bytes, ...]) -> None:
    server = Server(whole, max_requests=0)
    protocol, _ = server.connect()
    for part in parts:
        protocol.data_received(part)
    now = asyncio.get_running_loop().time()
    assert protocol.due > now + server.config.timeout_keep_alive - 1
    assert protocol.due < now + server.config.timeout_keep_alive + 1
    protocol.data_received(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
    assert protocol.due > now + 60, "the answer is awaited"
    await server.settle()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        yield listening


async def test_connections_that_wait_are_taken_together(listener: socket.socket) -> None:
    """uvloop takes one in a turn of the event loop."""
    server = Server(whole, listener=listener)
    clients = [await asyncio.open_connection(*listener.getsockname()) for _ in range(20)]
    server.connect()
    for reader, writer in clients:
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert (await reader.read()).endswith(b"\r\n\r\nbody")
        writer.close()


@pytest.mark.parametrize("before", [0, 1], ids=["before the head", "between head and body"])
async def test_to_a_client_that_hung_up_nothing_is_written(before: int) -> None:
    """Of two requests on one connection, uvicorn tells only the second that the client is gone."""
    gone, caught = asyncio.Event(), []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            for message in (HEAD, {"type": "http.response.body", "body": b"body"}):
                if message is not HEAD or not before:
                    await gone.wait()
                await send(message)
        except Exception as error:
            caught.append(error)

    server = Server(app)
    protocol, wire = server.connect()
    protocol.data_received(b"GET / HTTP/1.1\r\nhost: x\r\n\r\nGET / HTTP/1.1\r\nhost: x\r\n\r\n")
    for _ in range(before):
        await asyncio.sleep(0)
    wire.close()
    protocol.connection_lost(None)
    gone.set()
    await server.settle()
    assert not caught
    assert wire.writes == []


UPGRADE = b"connection: upgrade\r\nupgrade: h2c\r\n"


async def test_an_upgrade_is_turned_away_once_with_its_body() -> None:
    server = Server(whole, max_requests=0)
    protocol, wire = server.connect()
    upgrade = POST[:-2] + UPGRADE + b"\r\n"
    protocol.data_received(upgrade.replace(b"4", b"%d" % len(SMUGGLED)) + SMUGGLED + upgrade + b"body")
    assert wire.writes == [AWAY, AWAY]
    assert server.turned_away == 2


@pytest.mark.parametrize("more", [b"connection: close\r\n", b"expect: 100-continue\r\n"])
async def test_what_follows_one_that_is_let_go_is_not_even_begun(more: bytes) -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["path"])
        await whole(scope, receive, send)

    server = Server(app, max_requests=0)
    protocol, wire = server.connect()
    protocol.data_received(b"GET /first HTTP/1.1\r\nhost: x\r\n\r\n")
    await server.settle()
    protocol.data_received(POST[:-2] + more + b"\r\nbody" + b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
    await server.settle()
    assert seen == ["/first"]
    assert b"".join(wire.writes).count(b"HTTP/1.1 ") == 2


async def test_a_trailer_is_no_header() -> None:
    headers: list[tuple[bytes, bytes]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        headers.extend(scope["headers"])
        await whole(scope, receive, send)

    server = Server(app)
    protocol, _ = server.connect()
    protocol.data_received(CHUNKED[:-2] + b"Authorization: Bearer other\r\n\r\n")
    await server.settle()
    assert headers == [(b"host", b"x"), (b"transfer-encoding", b"chunked")]


async def test_who_waits_for_a_body_that_cannot_be_read_waits_no_longer() -> None:
    app = Echo()
    server = Server(app)
    protocol, wire = server.connect()
    protocol.data_received(CHUNKED[:-7])
    for _ in range(5):  # what came is taken, and more awaited
        await asyncio.sleep(0)
    protocol.data_received(b"no chunk")
    await server.settle()
    assert app.understood == []
    assert [written[:12] for written in wire.writes] == [b"HTTP/1.1 400"]


async def no_body_wanted(scope: Any, receive: Any, send: Any) -> None:
    await send({**HEAD, "status": 404})
    await send({"type": "http.response.body", "body": b"none"})


async def test_what_was_answered_ahead_of_its_body_is_not_answered_again() -> None:
    server = Server(no_body_wanted)
    protocol, wire = server.connect()
    protocol.data_received(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n4\r\n")
    await server.settle()
    protocol.data_received(b"body, and more")
    assert [written[:12] for written in wire.writes] == [b"HTTP/1.1 404"]
    assert wire.closed_after == 1


@pytest.mark.parametrize("begun", [False, True])
async def test_who_asks_first_and_is_refused_is_let_go_unless_the_body_comes(*, begun: bool) -> None:
    """Nobody can tell whether a body that was not asked for still comes (RFC 9110, section 10.1.1)."""
    server = Server(no_body_wanted)
    protocol, wire = server.connect()
    protocol.data_received(POST[:-2] + b"expect: 100-continue\r\n\r\n" + (b"b" if begun else b""))
    await server.settle()
    assert (b"connection: close" in wire.writes[0]) is not begun
    assert wire.closed_after == (None if begun else 1)
    if begun:
        protocol.data_received(b"ody" + POST + b"body")
        await server.settle()
        assert len(wire.writes) == 2


async def test_only_who_understands_it_is_told_to_go_on() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await whole(scope, receive, send)

    for version, told in ((b"1.1", True), (b"1.0", False)):
        server = Server(app)
        protocol, wire = server.connect()
        protocol.data_received(POST.replace(b"1.1", version)[:-2] + b"expect: 100-continue\r\n\r\n")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert (wire.writes == [b"HTTP/1.1 100 Continue\r\n\r\n"]) is told
        protocol.data_received(b"body")
        await server.settle()
        assert wire.writes[-1].startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(
    "endless",
    [b"x: " + b"y" * 100, b"1;" + b"y" * 100 + b"\r\nB\r\n", b"0\r\nx: " + b"y" * 100],
    ids=["head", "extensions", "trailer"],
)
async def test_what_is_no_body_is_bounded(endless: bytes) -> None:
    server = Server(whole)
    protocol, wire = server.connect()
    head = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n"
    protocol.data_received(head + (b"\r\n" if endless[:1] != b"x" else b""))
    protocol.data_received(endless)
    for _ in range(1000):
        protocol.data_received(endless if endless[:1] == b"1" else b"y" * 100)
    assert [written[:12] for written in wire.writes] == [b"HTTP/1.1 431"]
    assert wire.closed_after == 1
    await server.settle()
    assert len(wire.writes) == 1, "what was under way has nobody to answer"


async def test_small_chunks_are_taken_however_many() -> None:
    app = Echo()
    server = Server(app)
    protocol, _ = server.connect()
    protocol.data_received(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
    for _ in range(2_000):
        protocol.data_received(b"8\r\nchunkful\r\n" * 10)
    protocol.data_received(b"0\r\n\r\n")
    await server.settle()
    assert app.understood == [("POST", "/", b"chunkful" * 20_000)]


async def test_a_refusal_reaches_a_client_that_is_still_sending() -> None:
    """A connection that is closed with something unread takes the answer with it."""
    async with listening(whole) as (_, port):

        def send() -> bytes:
            with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
                client.sendall(b"POST / HTTP/1.1\r\ncontent-length: 8000000\r\n\r\n")
                for _ in range(80):
                    client.sendall(bytes(100_000))
                heard = b""
                while some := client.recv(65_536):
                    heard += some
                return heard

        assert (await asyncio.to_thread(send)).startswith(b"HTTP/1.1 400 ")


async def test_an_idle_connection_is_closed_when_its_time_is_over() -> None:
    server = Server(whole)
    protocol, _ = server.connect()
    loop = asyncio.get_running_loop()
    assert protocol.due < loop.time() + 60, "who says nothing at first is not waited for"
    protocol.data_received(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    assert protocol.due == math.inf
    await server.settle()
    wait = pytest.approx(server.config.timeout_keep_alive)
    assert protocol.due - protocol.idle_since == wait
    protocol.data_received(b"\r\n\r\n")
    assert protocol.due - protocol.idle_since == wait, "nothing was asked"
    protocol.data_received(b"GET / HT")
    assert (protocol.due < loop.time() + 60, protocol.idle_since) == (True, math.inf)
