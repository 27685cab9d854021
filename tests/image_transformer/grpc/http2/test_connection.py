"""What is no HTTP/2, or not in its place, ends a stream or the connection, as RFC 9113 says which."""

import struct

import pytest
from http2_peer import (
    ACK,
    CANCEL,
    COMPRESSION_ERROR,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    FRAME_SIZE_ERROR,
    GOAWAY,
    HEAD,
    HEADERS,
    LIMITS,
    NO_ERROR,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PROTOCOL_ERROR,
    PUSH_PROMISE,
    REFUSED_STREAM,
    RST_STREAM,
    SETTINGS,
    STREAM_CLOSED,
    WINDOW_UPDATE,
    WITH_PRIORITY,
    Client,
    ended,
    frame,
    only,
    reset,
    settings,
    window,
)

from image_transformer.grpc.http2.stream import RequestReceived, StreamReset

BOTH = END_HEADERS | END_STREAM


def test_the_first_frames_tell_what_a_client_has_to_know() -> None:
    client = Client(greeting=b"")
    first, more = client.hears()
    assert (first.kind, first.flags) == (SETTINGS, 0)
    assert dict(struct.iter_unpack(">HI", first.payload)) == {3: LIMITS.streams, 6: 16_384}
    assert (more.kind, more.stream, more.number) == (WINDOW_UPDATE, 0, 2**20 - 65_535)
    acknowledged = client.says(PREFACE + settings(window=1, table=0))
    assert [(one.kind, one.flags, one.payload) for one in acknowledged] == [(SETTINGS, ACK, b"")]


def test_a_request_and_its_answer() -> None:
    client = Client()
    said = client.says(client.call(1), frame(DATA, END_STREAM, 1, b"body"))
    assert said == []
    begun, data = client.events
    assert type(begun) is RequestReceived
    assert dict(begun.block.fields)[b":path"] == b"/tests.Service/Echo"
    assert (bytes(data.data), data.ended) == (b"body", True)
    client.server.answer(begun.stream, b"\x88", b"answer", b"\x88")
    assert client.hears() == [
        (HEADERS, END_HEADERS, 1, b"\x88"),
        (DATA, 0, 1, b"answer"),
        (HEADERS, BOTH, 1, b"\x88"),
    ]
    assert client.server.streams == {}
    assert client.says(window(1, 5), reset(1), frame(PRIORITY, 0, 1, bytes(5))) == [], "they may be late"


def test_an_answer_ahead_of_the_request_s_end_closes_the_stream() -> None:
    client = Client()
    stream = client.begins(1)
    client.server.send_trailers(stream, b"\x88")
    assert client.hears() == [(HEADERS, BOTH, 1, b"\x88"), (RST_STREAM, 0, 1, bytes(4))]
    assert client.says(frame(DATA, END_STREAM, 1, b"late")) == []
    assert client.events == []


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_a_header_block_in_pieces_is_one(size: int) -> None:
    client = Client()
    block = client.block(("x", "y" * 2000))
    pieces = [block[at : at + size] for at in range(0, len(block), size)][:20]
    block = b"".join(pieces) if len(pieces) < 20 else block
    pieces = [*pieces, block[sum(map(len, pieces)) :]]
    said = [frame(HEADERS, END_STREAM, 1, pieces[0])]
    said += [frame(CONTINUATION, 0, 1, piece) for piece in pieces[1:-1]]
    assert client.says(*said) == []
    assert client.events == []
    client.says(frame(CONTINUATION, END_HEADERS, 1, pieces[-1]))
    begun, data = client.events
    assert begun.block.fields[: len(HEAD)] == tuple((name.encode(), value.encode()) for name, value in HEAD)
    assert data.ended


def test_padding_and_priority_are_no_content() -> None:
    client = Client()
    block = client.block()
    padded = b"\x03" + bytes(5) + block + bytes(3)
    client.says(frame(HEADERS, END_HEADERS | PADDED | WITH_PRIORITY, 1, padded))
    client.says(frame(DATA, PADDED, 1, b"\x02body\0\0"))
    (data,) = client.events
    assert bytes(data.data) == b"body"


def test_what_is_unknown_is_passed_over() -> None:
    client = Client()
    unknown = frame(SETTINGS, 0, 0, struct.pack(">HI", 0x99, 7))
    said = client.says(frame(0x42, 0xFF, 99, bytes(30)), unknown, frame(PRIORITY, 0, 5, bytes(5)))
    assert [one.kind for one in said] == [SETTINGS]
    assert client.says(frame(GOAWAY, 0, 0, bytes(8))) == []


CONNECTION_ERRORS = {
    "HTTP/1.1": (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", PROTOCOL_ERROR),
    "no SETTINGS first": (PREFACE + frame(PING, payload=bytes(8)), PROTOCOL_ERROR),
    "a frame that is too long": (frame(DATA, 0, 1, bytes(16_385)), FRAME_SIZE_ERROR),
    "a long one's head": (b"\xff\xff\xff\0\0\0\0\0\1", FRAME_SIZE_ERROR),
    "data of stream 0": (frame(DATA, 0, 0, b"x"), PROTOCOL_ERROR),
    "data of an idle stream": (frame(DATA, 0, 5, b"x"), PROTOCOL_ERROR),
    "headers of stream 0": (frame(HEADERS, END_HEADERS, 0, b"\x82"), PROTOCOL_ERROR),
    "headers of an even stream": (frame(HEADERS, END_HEADERS, 2, b"\x82"), PROTOCOL_ERROR),
    "a push": (frame(PUSH_PROMISE, END_HEADERS, 1, bytes(4)), PROTOCOL_ERROR),
    "a CONTINUATION of nothing": (frame(CONTINUATION, END_HEADERS, 1, b""), PROTOCOL_ERROR),
    "a block that is interrupted": (
        frame(HEADERS, 0, 1, b"\x82") + frame(PING, payload=bytes(8)),
        PROTOCOL_ERROR,
    ),
    "another stream's CONTINUATION": (
        frame(HEADERS, 0, 1, b"\x82") + frame(CONTINUATION, 0, 3),
        PROTOCOL_ERROR,
    ),
    "a block that cannot be unfolded": (
        frame(HEADERS, END_HEADERS, 1, b"\xff\xff\xff\xff"),
        COMPRESSION_ERROR,
    ),
    "an entry that is not in the table": (frame(HEADERS, END_HEADERS, 1, b"\xfe"), COMPRESSION_ERROR),
    "more padding than bytes": (frame(HEADERS, END_HEADERS | PADDED, 1, b"\x05\x82"), PROTOCOL_ERROR),
    "padding without its length": (frame(HEADERS, END_HEADERS | PADDED, 1), PROTOCOL_ERROR),
    "HEADERS shorter than a priority": (
        frame(HEADERS, END_HEADERS | WITH_PRIORITY, 1, b"\x82"),
        FRAME_SIZE_ERROR,
    ),
    "a PRIORITY of stream 0": (frame(PRIORITY, 0, 0, bytes(5)), PROTOCOL_ERROR),
    "an RST_STREAM of stream 0": (reset(0), PROTOCOL_ERROR),
    "an RST_STREAM of an idle stream": (reset(7), PROTOCOL_ERROR),
    "an RST_STREAM of another length": (frame(RST_STREAM, 0, 1, bytes(5)), FRAME_SIZE_ERROR),
    "SETTINGS of a stream": (frame(SETTINGS, 0, 1), PROTOCOL_ERROR),
    "SETTINGS of another length": (frame(SETTINGS, 0, 0, bytes(5)), FRAME_SIZE_ERROR),
    "an acknowledgement with content": (frame(SETTINGS, ACK, 0, bytes(6)), FRAME_SIZE_ERROR),
    "ENABLE_PUSH of 2": (settings(push=2), PROTOCOL_ERROR),
    "frames below the least": (settings(frame=16_383), PROTOCOL_ERROR),
    "frames above the most": (settings(frame=2**24), PROTOCOL_ERROR),
    "a PING of a stream": (frame(PING, 0, 1, bytes(8)), PROTOCOL_ERROR),
    "a PING of another length": (frame(PING, 0, 0, bytes(7)), FRAME_SIZE_ERROR),
    "a GOAWAY of a stream": (frame(GOAWAY, 0, 1, bytes(8)), PROTOCOL_ERROR),
    "a window of another length": (frame(WINDOW_UPDATE, 0, 0, bytes(3)), FRAME_SIZE_ERROR),
    "an idle stream's window": (window(9, 1), PROTOCOL_ERROR),
}


@pytest.mark.parametrize("name", CONNECTION_ERRORS)
def test_what_ends_the_connection(name: str) -> None:
    said, code = CONNECTION_ERRORS[name]
    client = Client(greeting=b"" if name in ("HTTP/1.1", "no SETTINGS first") else PREFACE + frame(SETTINGS))
    heard = client.says(said)
    assert ended(heard)[0] == code
    assert heard[-1].kind == GOAWAY, "its last word"
    assert client.server.over
    assert client.says(client.call(1)) == [], "nothing is read any more"


def test_the_connection_s_end_takes_its_calls_along() -> None:
    client = Client()
    streams = [client.begins(number) for number in (1, 3)]
    heard = client.says(frame(PING, 0, 1, bytes(8)))
    assert client.events == [StreamReset(stream) for stream in streams]
    assert int.from_bytes(only(heard, GOAWAY)[0].payload[:4]) == 3, "the last that was begun"
    client.server.answer(streams[0], b"\x88", b"", b"\x88")
    assert client.hears() == []


BAD_HEADS = {
    "a capital": [*HEAD, ("X-Up", "1")],
    "a space in a name": [*HEAD, ("x y", "1")],
    "an empty name": [*HEAD, ("", "1")],
    "a line's end in a value": [*HEAD, ("x", "a\r\nb")],
    "a zero byte": [*HEAD, ("x", "a\0b")],
    "a space before a value": [*HEAD, ("x", " a")],
    "a tab behind one": [*HEAD, ("x", "a\t")],
    "a pseudo-header behind others": [*HEAD[1:], HEAD[0]],
    "an unknown pseudo-header": [(":protocol", "x"), *HEAD],
    "an answer's pseudo-header": [(":status", "200"), *HEAD],
    "one twice": [HEAD[0], *HEAD],
    "no method": HEAD[1:],
    "no scheme": [HEAD[0], *HEAD[2:]],
    "no path": [*HEAD[:2], *HEAD[3:]],
    "an empty path": [*HEAD[:2], (":path", ""), *HEAD[3:]],
    "a field about the connection": [*HEAD, ("connection", "close")],
    "chunks": [*HEAD, ("transfer-encoding", "chunked")],
    "another te": [*HEAD[:4], ("te", "gzip")],
    "a length that is no number": [*HEAD, ("content-length", "-1")],
    "two lengths": [*HEAD, ("content-length", "5"), ("content-length", "6")],
}


@pytest.mark.parametrize("name", BAD_HEADS)
def test_a_malformed_request_ends_its_stream_alone(name: str) -> None:
    client = Client()
    block = client.encoder.encode(BAD_HEADS[name])
    assert client.says(frame(HEADERS, BOTH, 1, block)) == [(RST_STREAM, 0, 1, PROTOCOL_ERROR.to_bytes(4))]
    assert client.events == []
    assert client.begins(3).id == 3, "and the table is as the client's"


def test_what_a_stream_s_state_does_not_allow() -> None:
    client = Client()
    client.begins(1, BOTH)
    assert client.says(frame(DATA, 0, 1, b"x")) == [(RST_STREAM, 0, 1, STREAM_CLOSED.to_bytes(4))]
    assert client.events == [StreamReset(client.events[0].stream)]
    client.begins(3, BOTH)
    again = client.says(frame(HEADERS, BOTH, 3, client.block()))
    assert again == [(RST_STREAM, 0, 3, STREAM_CLOSED.to_bytes(4))], (
        "half-closed is half-closed for trailers too"
    )
    client.begins(5)
    assert client.says(frame(HEADERS, END_HEADERS, 5, client.block())) == [
        (RST_STREAM, 0, 5, PROTOCOL_ERROR.to_bytes(4))
    ], "trailers that do not end the stream"
    client.begins(7)
    assert client.says(frame(HEADERS, BOTH, 7, client.block())) == [
        (RST_STREAM, 0, 7, PROTOCOL_ERROR.to_bytes(4))
    ], "trailers with a path"
    client.begins(9)
    client.says(frame(HEADERS, BOTH, 9, client.encoder.encode([("x", "y")])))
    assert [(one.data.nbytes, one.ended) for one in client.events] == [(0, True)], (
        "trailers as they should be"
    )


def test_a_length_that_is_not_kept() -> None:
    for length, data, flags in ((3, b"four", 0), (5, b"four", END_STREAM)):
        client = Client()
        client.says(client.call(1, END_HEADERS, ("content-length", str(length))))
        assert client.says(frame(DATA, flags, 1, data)) == [(RST_STREAM, 0, 1, PROTOCOL_ERROR.to_bytes(4))]
    client = Client()
    assert client.says(client.call(1, BOTH, ("content-length", "5"))) == [
        (RST_STREAM, 0, 1, PROTOCOL_ERROR.to_bytes(4))
    ]
    client.says(client.call(3, END_HEADERS, ("content-length", "4")), frame(DATA, END_STREAM, 3, b"four"))
    assert client.events[-1].ended


def test_frames_of_closed_streams() -> None:
    """Late ones are passed over; those of a client that had ended its stream itself are a fault."""
    client = Client()
    client.begins(1)
    client.says(reset(1))
    assert client.says(frame(DATA, 0, 1, b"late")) == []
    client.server.reset(client.begins(3), CANCEL)
    client.hears()
    assert (
        client.says(frame(DATA, 0, 3, b"late"), frame(HEADERS, BOTH, 3, client.encoder.encode([("x", "y")])))
        == []
    )
    client.server.send_trailers(client.begins(5, BOTH), b"\x88")
    client.hears()
    assert ended(client.says(frame(DATA, 0, 5, b"x")))[0] == STREAM_CLOSED
    client = Client()
    client.server.send_trailers(client.begins(5, BOTH), b"\x88")
    client.hears()
    assert ended(client.says(client.call(3)))[0] == STREAM_CLOSED, "streams' numbers only grow"


def test_more_streams_than_are_taken_are_refused_and_may_come_again() -> None:
    client = Client()
    for number in range(LIMITS.streams):
        client.begins(2 * number + 1)
    beyond = 2 * LIMITS.streams + 1
    assert client.says(client.call(beyond)) == [(RST_STREAM, 0, beyond, REFUSED_STREAM.to_bytes(4))]
    assert client.says(frame(DATA, END_STREAM, beyond, b"late")) == []
    client.says(reset(1))
    assert client.begins(beyond + 2).id == beyond + 2


def test_who_is_sent_away_is_told_twice() -> None:
    client = Client()
    before = client.begins(1, BOTH)
    client.server.leave()
    first, ping = client.hears()
    assert (first.kind, first.payload) == (GOAWAY, struct.pack(">II", 2**31 - 1, NO_ERROR))
    crossing = client.begins(3, BOTH)
    assert client.says(frame(PING, ACK, 0, b"another.")) == []
    (last,) = client.says(frame(PING, ACK, 0, ping.payload))
    assert (last.kind, last.payload) == (GOAWAY, struct.pack(">II", 3, NO_ERROR))
    assert client.server.left
    assert client.says(client.call(5, BOTH)) == []
    assert client.events == [], "it is asked elsewhere"
    for stream in (before, crossing):
        client.server.answer(stream, b"\x88", b"", b"\x88")
        assert [one.stream for one in client.hears()] == [stream.id] * 3
    assert client.server.streams == {}
    assert client.says(frame(DATA, END_STREAM, 5, b"late")) == [], "it is no idle stream"
    (fault,) = client.says(frame(PING, 0, 1, bytes(8)))
    assert int.from_bytes(fault.payload[:4]) == 3, "what was said of the last one stays (section 6.8)"


def test_a_small_table_is_told_before_the_next_block() -> None:
    """RFC 7541, section 4.2; of ours it is always empty."""
    client = Client()
    client.says(settings(table=100))
    client.server.answer(client.begins(1, BOTH), b"\x88", b"", b"\x88")
    assert [one.payload for one in client.hears()] == [b"\x20\x88", b"", b"\x88"]
