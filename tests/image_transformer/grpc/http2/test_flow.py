"""Windows in both directions: nothing beyond them, and everything in the end (RFC 9113, section 6.9)."""

import random
import sys

import pytest
from http2_peer import (
    CANCEL,
    DATA,
    END_HEADERS,
    END_STREAM,
    FLOW_CONTROL_ERROR,
    HEADERS,
    LIMITS,
    PADDED,
    PREFACE,
    PROTOCOL_ERROR,
    RST_STREAM,
    WINDOW_UPDATE,
    Client,
    ended,
    frame,
    only,
    reset,
    settings,
    window,
)

from image_transformer.grpc.http2.limits import Limits
from image_transformer.grpc.http2.stream import DataSent

WINDOW = 65_535
BOTH = END_HEADERS | END_STREAM


def sent(client: Client, stream: int) -> int:
    """Bytes of data that the server has sent since, in frames that a client takes."""
    frames = [one for one in only(client.hears(), DATA) if one.stream == stream]
    assert all(0 < len(one.payload) <= 16_384 for one in frames)
    return sum(len(one.payload) for one in frames)


def pumped(client: Client) -> None:
    while client.server.outflow.waits:
        client.server.pump()


def test_an_answer_waits_for_its_stream_s_window_and_ends_behind_its_data() -> None:
    client = Client(greeting=PREFACE + settings(window=10))
    stream = client.begins(1, BOTH)
    client.server.answer(stream, b"\x88", b"0123456789abcdef", b"\x88")
    assert [(one.kind, one.payload) for one in client.hears()] == [(HEADERS, b"\x88"), (DATA, b"0123456789")]
    assert client.says(window(1, 4))[0].payload == b"abcd"
    assert client.events == []
    last, trailers = client.says(window(1, 100))
    assert (last.payload, last.flags, trailers.kind, trailers.flags) == (b"ef", 0, HEADERS, BOTH)
    assert client.events == [DataSent(stream)]
    assert client.server.streams == {}
    assert client.server.outflow.unsent == 0


def test_all_streams_share_the_connection_s_window_in_turns() -> None:
    client = Client()
    streams = [client.begins(number, BOTH) for number in (1, 3, 5)]
    for stream in streams:
        client.server.answer(stream, b"\x88", bytes(60_000), b"\x88")
    frames = only(client.hears(), DATA)
    assert sum(len(one.payload) for one in frames) == WINDOW
    assert client.server.outflow.unsent == 180_000 - WINDOW
    got = dict.fromkeys((1, 3, 5), 0)
    for one in frames:
        got[one.stream] += len(one.payload)
    for _ in range(20):
        for one in only(client.says(window(0, 10_000)), DATA):
            got[one.stream] += len(one.payload)
    assert got == {1: 60_000, 3: 60_000, 5: 60_000}
    assert client.server.streams == {}


def test_one_that_may_not_send_does_not_hold_up_others() -> None:
    client = Client(greeting=PREFACE + settings(window=0))
    first, second = client.begins(1, BOTH), client.begins(3, BOTH)
    client.server.answer(first, b"\x88", bytes(100), b"\x88")
    client.server.answer(second, b"\x88", bytes(100), b"\x88")
    assert only(client.hears(), DATA) == []
    assert [one.stream for one in only(client.says(window(3, 100)), DATA)] == [3]


def test_what_goes_with_another_s_data_is_told_too() -> None:
    """A large answer is written in turns; who sends meanwhile must not swallow that it has gone."""
    client = Client(greeting=PREFACE + settings(window=10_000_000) + window(0, 10_000_000))
    large, small = client.begins(1, BOTH), client.begins(3, BOTH)
    client.server.answer(large, b"\x88", bytes(400_000), b"\x88")
    assert client.server.outflow.waits
    client.server.send_data(small, b"x")
    assert not large.unsent
    assert client.server.pump() == [DataSent(large)]
    assert client.server.pump() == []


def test_settings_change_the_windows_of_open_streams_below_zero_too() -> None:
    client = Client()
    stream = client.begins(1, BOTH)
    client.server.answer(stream, b"\x88", bytes(60_000), b"\x88")
    client.hears()
    other = client.begins(3, BOTH)
    client.server.answer(other, b"\x88", bytes(100_000), b"\x88")
    assert sent(client, 3) == WINDOW - 60_000
    client.says(window(0, 1_000_000))
    assert other.send_window == 0
    client.says(settings(window=100))
    assert other.send_window == 100 - WINDOW
    client.says(window(3, WINDOW - 100))
    assert (other.send_window, sent(client, 3)) == (0, 0)
    assert sum(len(one.payload) for one in only(client.says(window(3, 1)), DATA)) == 1
    grown = only(client.says(settings(window=50_100)), DATA)
    assert sum(len(one.payload) for one in grown) == 100_000 - WINDOW - 1
    assert client.server.streams == {}


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (window(0, 0), PROTOCOL_ERROR),
        (window(0, 2**31 - 1), FLOW_CONTROL_ERROR),
        (settings(window=2**31), FLOW_CONTROL_ERROR),
        (window(1, 1) + settings(window=2**31 - 1), FLOW_CONTROL_ERROR),
    ],
)
def test_windows_that_there_are_not(said: bytes, code: int) -> None:
    client = Client()
    client.begins(1)
    assert ended(client.says(said))[0] == code


def test_a_stream_s_window_that_there_is_not_ends_the_stream() -> None:
    client = Client()
    client.begins(1)
    client.begins(3)
    assert client.says(window(1, 0)) == [(RST_STREAM, 0, 1, PROTOCOL_ERROR.to_bytes(4))]
    assert client.says(window(3, 2**31 - 1)) == [(RST_STREAM, 0, 3, FLOW_CONTROL_ERROR.to_bytes(4))]


def test_a_transport_that_takes_no_more_holds_data_up() -> None:
    client = Client()
    stream = client.begins(1, BOTH)
    client.server.outflow.paused = True
    client.server.answer(stream, b"\x88", b"body", b"\x88")
    assert [one.kind for one in client.hears()] == [HEADERS]
    client.server.outflow.paused = False
    client.server.pump()
    assert [one.kind for one in client.hears()] == [DATA, HEADERS]


def test_what_is_given_up_is_forgotten() -> None:
    client = Client(greeting=PREFACE + settings(window=0))
    for number, end in (
        (1, lambda stream: client.says(reset(1))),
        (3, lambda s: client.server.reset(s, CANCEL)),
    ):
        stream = client.begins(number, BOTH)
        client.server.answer(stream, b"\x88", bytes(1000), b"\x88")
        assert client.server.outflow.unsent == 1000
        end(stream)
        assert client.server.outflow.unsent == 0
        assert not stream.unsent


# ---- what the client may send


def test_more_than_a_stream_s_window_ends_the_stream() -> None:
    client = Client()
    client.begins(1)
    for _ in range(3):
        assert only(client.says(frame(DATA, 0, 1, bytes(16_384))), RST_STREAM) == []
    heard = client.says(frame(DATA, 0, 1, bytes(16_384)))
    assert [one.number for one in only(heard, RST_STREAM)] == [FLOW_CONTROL_ERROR]


def test_data_of_closed_streams_counts_for_the_connection_and_is_given_back() -> None:
    client = Client()
    client.begins(1)
    client.says(reset(1))
    back = 0
    for _ in range(200):
        back += sum(one.number for one in only(client.says(frame(DATA, 0, 1, bytes(16_384))), WINDOW_UPDATE))
        client.now += 1
    assert 200 * 16_384 - 2**19 <= back <= 200 * 16_384
    assert not client.server.over


def test_more_than_the_connection_s_window_ends_it() -> None:
    """The server gives it back by half; a client that uses more than it was given at once is cut off."""
    client = Client()
    client.server._intake._window = 100
    client.begins(1)
    assert ended(client.says(frame(DATA, 0, 1, bytes(101))))[0] == FLOW_CONTROL_ERROR


def test_padding_counts_and_is_given_back() -> None:
    client = Client()
    stream = client.begins(1)
    heard = []
    for _ in range(600):
        heard += client.says(frame(DATA, PADDED, 1, b"\xff" + b"x" + bytes(255)))
        client.server.keeps(stream, 0, 0, 0)
        heard += client.hears()
    given = sum(one.number for one in only(heard, WINDOW_UPDATE) if one.stream == 1)
    assert stream.receive_window == WINDOW + given - 600 * 257
    assert stream.receive_window > WINDOW // 2


def test_what_is_kept_is_not_given_back() -> None:
    client = Client()
    stream = client.begins(1)
    client.says(frame(DATA, 0, 1, bytes(16_384)), frame(DATA, 0, 1, bytes(16_384)))
    client.server.keeps(stream, 32_768, 0, 0)
    assert only(client.hears(), WINDOW_UPDATE) == []
    client.server.keeps(stream, 0, 0, 0)
    (given,) = client.hears()
    assert (given.stream, given.number, stream.receive_window) == (1, 32_768, WINDOW)


def test_a_long_message_is_let_in_whole_or_waits_for_its_turn() -> None:
    client = Client()
    streams = [client.begins(number) for number in (1, 3, 5)]
    for stream in streams:
        client.server.keeps(stream, 0, 500_000, 500_000)
    given = {one.stream: one.number for one in client.hears()}
    assert given == {1: 500_000 - WINDOW, 3: 500_000 - WINDOW}, "and the third waits"
    small = client.begins(7)
    client.server.keeps(small, 40_000, 0, 0)
    client.server.keeps(small, 0, 0, 0)
    client.says(reset(1))
    assert {one.stream: one.number for one in client.hears()} == {}
    assert streams[2].receive_window == 500_000, "its turn has come"


def test_a_turn_comes_with_the_end_of_another_and_nobody_s_is_lost() -> None:
    """Streams that come and go in any order: whoever waits is let in, and all room is back at the end."""
    rng = random.Random(5)
    client = Client()
    intake = client.server._intake
    open_streams, number = [], 1
    for _ in range(2000):
        client.now += 1
        if len(open_streams) < LIMITS.streams - 1 and rng.random() < 0.5:
            stream = client.begins(number)
            number += 2
            size = rng.randrange(1, LIMITS.message_bytes)
            client.server.keeps(stream, 0, size, size)
            open_streams.append(stream)
        elif open_streams:
            stream = open_streams.pop(rng.randrange(len(open_streams)))
            client.says(reset(stream.id)) if rng.random() < 0.5 else client.server.keeps(stream, 0, 0, 0)
            if not stream.closed:
                client.server.reset(stream, CANCEL)
        reserved = sum(stream.reserved for stream in open_streams)
        assert intake._free + reserved == LIMITS.message_bytes
        waiting = list(intake._asking)
        assert all(
            stream.receive_window >= stream.missing for stream in open_streams if stream not in waiting
        )
        assert not waiting or intake._asking[waiting[0]] > intake._free
    for stream in open_streams:
        client.server.reset(stream, CANCEL)
    assert intake._free == LIMITS.message_bytes
    assert not intake._asking


def test_a_frame_costs_the_same_however_many_wait_for_their_turn() -> None:
    def function_calls(waiting: int) -> int:
        client = Client(Limits(streams=200, message_bytes=1_000_000, ping_seconds=5))
        streams = [client.begins(2 * number + 1) for number in range(waiting)]
        for stream in streams:
            client.server.keeps(stream, 0, 1_065_000, 1_065_000)
        count = 0

        def counted(_frame: object, event: str, _argument: object) -> None:
            nonlocal count
            count += event in ("call", "c_call")

        sys.setprofile(counted)
        try:
            client.server.receive(frame(DATA, 0, streams[-1].id, b"x"))
            client.server.keeps(streams[-1], 1, 1_065_000, 1_064_999)
        finally:
            sys.setprofile(None)
        return count

    assert function_calls(150) == function_calls(2)
