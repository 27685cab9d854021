import asyncio
import os
import select
import socket
import threading
from collections.abc import AsyncIterator, Iterator

import pytest
from machine import free_port

from image_transformer.triton import pool
from image_transformer.triton.connection import Answer, NotConnectedError
from image_transformer.triton.pool import Endpoint, Endpoints
from image_transformer.triton.served import Served
from model.contract import DEFAULT_CONTRACT

SEVEN, EIGHT = (Served("cnn-image", version, DEFAULT_CONTRACT, {}) for version in ("7", "8"))


@pytest.fixture
async def three() -> Endpoints:
    """Three addresses behind one name, each with the model ready."""
    endpoints = Endpoints("127.0.0.1:8000")
    await endpoints.resolve()
    for last in (2, 3):
        endpoints.add((f"127.0.0.{last}", 8000))
    for endpoint in endpoints.all:
        endpoint.serves((SEVEN,))
    return endpoints


async def test_one_call_after_the_other_goes_round(three: Endpoints) -> None:
    picked = [three.pick(SEVEN) for _ in range(9)]
    assert len(set(picked[:3])) == 3
    assert picked[3:] == picked[:6]


async def test_the_one_with_the_fewest_calls_under_way_comes_first(three: Endpoints) -> None:
    first, second, third = three.all
    first.busy, second.busy, third.busy = 2, 1, 2
    assert [three.pick(SEVEN), three.pick(SEVEN)] == [second, second]
    assert three.pick(SEVEN, besides=second) is first
    assert three.pick(SEVEN, besides=second) is third


async def test_who_is_not_ready_is_not_picked(three: Endpoints) -> None:
    first, *others = three.all
    first.serves(())
    assert {three.pick(SEVEN) for _ in range(4)} == set(others)
    for endpoint in others:
        endpoint.serves(())
    assert three.pick(SEVEN) is None


async def test_who_asks_for_a_version_is_sent_to_a_pod_that_has_it(three: Endpoints) -> None:
    first, second, third = three.all
    changes = []
    three.on_change = lambda: changes.append(three.live)
    second.serves((SEVEN, EIGHT))
    third.serves((EIGHT,))
    assert changes == [(EIGHT, SEVEN), (EIGHT, SEVEN)]
    assert three.offered == (EIGHT, SEVEN), "the newest of each pod"
    assert {three.pick(SEVEN) for _ in range(4)} == {first, second}
    assert {three.pick(EIGHT) for _ in range(4)} == {second, third}
    first.lost("it is gone")
    assert three.offered == (EIGHT,)
    assert three.live == (EIGHT, SEVEN), "one has it still, beside its newest"
    assert three.pick(SEVEN, besides=second) is second
    second.serves((EIGHT,))
    assert three.live == (EIGHT,)
    assert three.pick(SEVEN) is None


class Peer:
    """A server in a thread of its own: reads one request of a known length, and answers when told to."""

    def __init__(self, length: int) -> None:
        self.read, self.may_answer, self.answered = (threading.Event() for _ in range(3))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, args=(length,))
        self._thread.start()

    def _serve(self, length: int) -> None:
        connection, _ = self._listener.accept()
        with connection:
            while length > 0 and (data := connection.recv(65_536)):
                length -= len(data)
            self.read.set()
            self.may_answer.wait(30)
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
            self.answered.set()

    def close(self) -> None:
        self.may_answer.set()
        self._thread.join(30)
        self._listener.close()


REQUEST = b"POST / HTTP/1.1\r\ncontent-length: 16777216\r\n\r\n" + bytes(16_777_216)


@pytest.fixture
def peer() -> Iterator[Peer]:
    server = Peer(len(REQUEST))
    yield server
    server.close()


async def test_an_answer_is_taken_in_the_middle_of_a_turn(peer: Peer) -> None:
    """The request is larger than any socket's buffer, so that it goes out in many parts."""
    endpoints = Endpoints(f"127.0.0.1:{peer.port}")
    await endpoints.resolve()
    (endpoint,) = endpoints.all
    answers: list[Answer | OSError] = []
    endpoint.ask(REQUEST, 30, answers.append)
    assert await asyncio.to_thread(peer.read.wait, 30)
    peer.may_answer.set()
    assert peer.answered.wait(30)
    # The event loop has had no turn since; a request of a client in sixteen has a look.
    for _ in range(16):
        assert endpoint.busy == 1
        endpoints.receive_between()
    assert answers == [Answer(200, None, b"{}")]
    assert endpoint.busy == 0
    endpoints.close()


@pytest.fixture
async def listening() -> AsyncIterator[tuple[int, set[asyncio.StreamWriter]]]:
    """A server that answers each request, and the connections that are open to it."""
    open_now: set[asyncio.StreamWriter] = set()

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_now.add(writer)
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        except asyncio.IncompleteReadError:
            open_now.remove(writer)
            writer.close()

    async with await asyncio.start_server(connection, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1], open_now


GET = b"GET / HTTP/1.1\r\n\r\n"


async def asked(endpoint: Endpoint, *requests: bytes) -> list[Answer | OSError]:
    """Sends requests side by side, each over a connection of its own."""
    answers: asyncio.Queue[Answer | OSError] = asyncio.Queue()
    for request in requests:
        endpoint.ask(request, 20, answers.put_nowait)
    return [await asyncio.wait_for(answers.get(), 20) for _ in requests]


async def test_an_address_that_leaves_keeps_no_connection(
    listening: tuple[int, set[asyncio.StreamWriter]],
) -> None:
    port, open_now = listening
    endpoint = Endpoint(("127.0.0.1", port))
    await asked(endpoint, *[GET] * 5)
    assert len(open_now) == 5
    endpoint.close()
    async with asyncio.timeout(20):
        while open_now:  # noqa: ASYNC110
            await asyncio.sleep(0.001)


async def test_a_connection_that_nobody_takes_says_nothing_about_who_has_just_answered(
    listening: tuple[int, set[asyncio.StreamWriter]],
) -> None:
    """A server that is busy lets its queue of connections fill up."""
    endpoint = Endpoint(("127.0.0.1", listening[0]))
    await asked(endpoint, GET)
    endpoint.serves((SEVEN,))
    endpoint.close()  # no connection is left that could be used again
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        endpoint.address = full.getsockname()
        with socket.create_connection(endpoint.address):
            (late,) = await asked(endpoint, GET)
            assert isinstance(late, NotConnectedError)
            assert str(late).endswith("no connection in time")
            assert endpoint.served == (SEVEN,)
            endpoint.answered_at -= 2
            await asked(endpoint, GET)
            assert endpoint.served == ()


async def test_what_came_in_time_counts_though_this_process_had_none(
    listening: tuple[int, set[asyncio.StreamWriter]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event loop finds the connection made, and later the answer there, and the time for each over."""
    endpoint = Endpoint(("127.0.0.1", listening[0]))
    monkeypatch.setattr(pool, "_CONNECT_SECONDS", 0)
    (answer,) = await asked(endpoint, GET)
    assert answer == Answer(200, None, b"{}")
    (connection,) = endpoint._all
    answers: list[Answer | OSError] = []
    endpoint.ask(GET, 1, answers.append)
    with socket.socket(fileno=os.dup(connection._socket.fileno())) as same:
        asyncio.get_running_loop().remove_reader(connection._socket)
        async with asyncio.timeout(20):
            await asyncio.get_running_loop().run_in_executor(None, select.select, [same], [], [])
    connection._out_of_time(1)
    assert answers == [answer]
    endpoint.close()


async def test_who_refuses_a_connection_serves_nothing(
    listening: tuple[int, set[asyncio.StreamWriter]],
) -> None:
    endpoint = Endpoint(("127.0.0.1", listening[0]))
    await asked(endpoint, GET)
    endpoint.serves((SEVEN,))
    endpoint.close()
    endpoint.address = ("127.0.0.1", free_port())
    (refused,) = await asked(endpoint, GET)
    assert isinstance(refused, NotConnectedError)
    assert endpoint.served == ()
