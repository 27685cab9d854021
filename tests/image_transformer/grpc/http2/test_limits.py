"""Floods end the connection, and what real clients do never does."""

import struct
from collections.abc import Callable

import pytest
from http2_peer import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    GOAWAY,
    HEADERS,
    LIMITS,
    PING,
    PREFACE,
    PRIORITY,
    SETTINGS,
    Client,
    ended,
    frame,
    only,
    reset,
    settings,
    window,
)

BOTH = END_HEADERS | END_STREAM
MORE_THAN_ENOUGH = 30_000


def test_too_many_pings_are_gRPC_s_own() -> None:  # noqa: N802
    client = Client()
    answered = 0
    while not client.server.over:
        heard = client.says(frame(PING, payload=answered.to_bytes(8)))
        answered += len(only(heard, PING))
    assert ended(heard) == (ENHANCE_YOUR_CALM, b"too_many_pings")
    assert answered == 3


def test_a_ping_whenever_it_may_come_is_answered() -> None:
    client = Client()
    for number in range(1000):
        (pong,) = client.says(frame(PING, payload=number.to_bytes(8)))
        assert (pong.kind, pong.flags, pong.payload) == (PING, ACK, number.to_bytes(8))
        client.now += LIMITS.ping_seconds


def test_a_ping_for_each_frame_of_an_answer_is_answered() -> None:
    """Clients measure the bandwidth with them; a burst of frames may be read, and pinged about, later."""
    client = Client()
    stream = client.begins(1, BOTH)
    for burst in (1, 1, 1, 50, 90, 1):
        for _ in range(burst):
            client.server.send_data(stream, b"x")
        client.hears()
        for _ in range(burst):
            assert [one.kind for one in client.says(frame(PING, payload=bytes(8)))] == [PING]
        client.says(window(0, burst) + window(1, burst))


def test_an_answer_makes_early_pings_good() -> None:
    client = Client()
    stream = client.begins(1, BOTH)
    for _ in range(50):
        for _ in range(3):  # one for the frame, and two that come too early
            assert only(client.says(frame(PING, payload=bytes(8))), PING)
        client.server.send_data(stream, b"x")
        client.hears()


FLOODS: dict[str, Callable[[int], bytes]] = {
    "SETTINGS": lambda _: settings(window=5),
    "acknowledgements of none": lambda _: frame(SETTINGS, ACK),
    "pings' answers": lambda _: frame(PING, ACK, 0, bytes(8)),
    "priorities": lambda number: frame(PRIORITY, 0, 2 * number + 1, bytes(5)),
    "windows": lambda _: window(1, 1),
    "the connection's windows": lambda _: window(0, 1),
    "empty data": lambda _: frame(DATA, 0, 1),
    "data byte by byte": lambda _: frame(DATA, 0, 1, b"x"),
    "padding alone": lambda _: frame(DATA, 8, 1, b"\0"),
    "ends of a stream that has none": lambda _: reset(3),
    "farewells": lambda _: frame(GOAWAY, 0, 0, bytes(8)),
    "frames of no kind": lambda _: frame(200, 0, 0, b""),
}


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_of_what_brings_nobody_on_ends_the_connection(name: str) -> None:
    client = Client()
    client.begins(1)
    client.begins(3)
    client.says(reset(3))
    heard = []
    for number in range(MORE_THAN_ENOUGH):
        heard = client.says(FLOODS[name](number))
        if client.server.over:
            break
    assert ended(heard) == (ENHANCE_YOUR_CALM, b"too_many_control_frames")
    assert number >= 400


@pytest.mark.parametrize("way", ["windows", "SETTINGS"])
def test_windows_of_single_bytes_earn_nothing(way: str) -> None:
    """CVE-2019-9511: data that waits is dribbled out, a frame for each byte."""
    client = Client(greeting=PREFACE + settings(window=0))
    for number in range(1, 2 * LIMITS.streams, 2):
        client.server.send_data(client.begins(number, BOTH), bytes(50_000))
    for number in range(MORE_THAN_ENOUGH):
        heard = client.says(window(1, 1) if way == "windows" else settings(window=number + 1))
        if client.server.over:
            break
    assert ended(heard) == (ENHANCE_YOUR_CALM, b"too_many_control_frames")


def test_time_and_answers_bring_patience_back() -> None:
    client = Client()
    stream = client.begins(1, BOTH)
    for _ in range(60):
        client.says(window(1, 1) * 200)
        client.now += 1
    for _ in range(MORE_THAN_ENOUGH // 10):
        client.server.send_data(stream, b"x")
        client.hears()
        client.says(window(1, 1) * 5 + window(0, 1) * 5)
    assert not client.server.over


def resets(client: Client, count: int, first: int) -> int:
    """Opens calls and gives them up; returns how many until the connection ended."""
    for number in range(count):
        client.says(client.call(first + 2 * number, BOTH), reset(first + 2 * number))
        if client.server.over:
            return number
    return count


def test_calls_that_are_given_up_at_once_and_on_end_the_connection() -> None:
    """CVE-2023-44487."""
    client = Client()
    assert resets(client, 5000, 1) == 1000
    assert client.server.streams == {}


@pytest.mark.parametrize(("timeout", "waited"), [(None, 1.0), (5.0, 1.0), (0.3, 0.28), (0.01, 0.1)])
def test_who_gives_up_after_a_while_stays(timeout: float | None, waited: float) -> None:
    """As all calls of a client do at once where a service is slow."""
    client = Client()
    for first in range(1, 5000, 40):
        numbers = range(first, first + 40, 2)
        for number in numbers:
            stream = client.begins(number, BOTH)
            if timeout is not None:
                stream.timeout = timeout
        client.now += waited
        client.says(*map(reset, numbers))
    assert not client.server.over
    assert client.server._patience._resets._left == 1000


@pytest.mark.parametrize(("timeout", "waited"), [(None, 0.99), (0.3, 0.26), (0.01, 0.02), (0, 0)])
def test_who_gives_up_before_that_goes(timeout: float | None, waited: float) -> None:
    """A deadline that is over at once is no way around the limit."""
    client = Client()
    client.server._patience._resets._a_second = 0
    for number in range(1, 5000, 2):
        stream = client.begins(number, BOTH)
        if timeout is not None:
            stream.timeout = timeout
        client.now += waited
        heard = client.says(reset(number))
        if client.server.over:
            break
    assert ended(heard) == (ENHANCE_YOUR_CALM, b"too_many_resets")
    assert number == 2001


def test_streams_that_a_client_has_the_server_reset_are_such() -> None:
    """CVE-2025-8671."""
    client = Client()
    for number in range(1, 5000, 2):
        heard = client.says(client.call(number), window(number, 0))
        if client.server.over:
            break
    assert ended(heard) == (ENHANCE_YOUR_CALM, b"too_many_resets")
    assert number == 2001


def test_who_gives_up_as_many_as_are_answered_stays() -> None:
    client = Client()
    for number in range(1, 20_000, 4):
        client.server.answer(client.begins(number, BOTH), b"\x88", b"", b"\x88")
        client.says(client.call(number + 2, BOTH), reset(number + 2))
    assert not client.server.over


def test_what_is_refused_earns_nothing() -> None:
    client = Client()
    for number in range(1, 20_000, 4):
        client.server.send_trailers(client.begins(number, BOTH), b"\x88", served=False)
        client.says(client.call(number + 2, BOTH), reset(number + 2))
        if client.server.over:
            break
    assert number == 4001


def test_what_is_remembered_of_blocks_is_bounded() -> None:
    client = Client()
    blocks = client.server._blocks
    for number in range(1, 4000, 2):
        head = client.encoder.encode([(":method", "POST"), (":scheme", "http"), (":path", "/")])
        literal = b"\0\1x" + struct.pack(">B", 100) + f"{number:0100}".encode()
        client.says(frame(HEADERS, BOTH, number, head + literal))
        client.server.reset(client.server.streams[number], 8)
        client.hears()
        assert len(blocks._met) <= 64
        assert blocks._met_bytes <= 65_536


def test_a_block_means_what_the_table_says_now() -> None:
    """The same bytes, after an entry was put before the one that they name, are another field."""
    client = Client()
    indexed = b"\xbe"  # the newest entry of the table

    def path(number: int, block: bytes) -> bytes:
        client.says(frame(HEADERS, BOTH, number, b"\x83\x86" + block))
        return dict(client.events[0].block.fields)[b":path"]

    assert path(1, b"\x44\x02/a") == b"/a"
    assert path(3, indexed) == b"/a"
    assert path(5, indexed) == b"/a"
    assert path(7, b"\x44\x02/b") == b"/b"
    assert path(9, indexed) == b"/b"
    resized = b"\x20\x3f\xe1\x1f\x83\x86\x44\x02/c"  # the table emptied, and as large as before
    client.says(frame(HEADERS, BOTH, 13, resized))
    assert path(15, indexed) == b"/c"
