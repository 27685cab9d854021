"""Wherever a conversation is cut and whatever is changed in it, it is understood, or ended."""

import random

from http2_peer import (
    ACK,
    CANCEL,
    COMPRESSION_ERROR,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    FRAME_SIZE_ERROR,
    HEADERS,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PROTOCOL_ERROR,
    SETTINGS,
    Client,
    ended,
    frame,
    message,
    reset,
    settings,
    window,
)

from image_transformer.grpc.http2.stream import DataReceived, RequestReceived

BOTH = END_HEADERS | END_STREAM


def conversation(client: Client) -> bytes:
    """All kinds of frames, as they should be."""
    said = [PREFACE, settings(window=1_000_000), frame(SETTINGS, ACK)]
    for number in range(1, 16, 2):
        said.append(client.call(number, END_HEADERS, ("x-request-id", f"id-{number}")))
        said.append(frame(DATA, PADDED, number, b"\x04" + message(b"a" * 40 * number)[:60] + bytes(4)))
        said.append(window(0, 10) + window(number, 10) + frame(PRIORITY, 0, number, bytes(5)))
        said.append(frame(DATA, END_STREAM, number, b"z" * number) if number % 4 == 1 else reset(number))
    block = client.block(("long", "v" * 900))
    said += [frame(HEADERS, END_STREAM, 17, block[:100]), frame(CONTINUATION, END_HEADERS, 17, block[100:])]
    return b"".join(said) + frame(PING, payload=b"12345678") + frame(77, 7, 7, b"unknown")


def told(client: Client) -> list[object]:
    made: list[object] = []
    for event in client.events:
        if type(event) is RequestReceived:
            made.append((event.stream.id, event.block.fields))
        elif type(event) is DataReceived:
            made.append((event.stream.id, bytes(event.data), event.ended))
        else:
            made.append((type(event), event.stream.id))
    return made


def test_wherever_the_bytes_are_cut_the_same_is_told() -> None:
    whole = conversation(Client(greeting=b""))
    client = Client(greeting=b"")
    answers = client.says(whole)
    expected = told(client)
    assert len(expected) == 8 * 2 + 4 + 4 + 2
    rng = random.Random(7)
    for cuts in (len(whole) - 1, *[rng.randrange(1, 60) for _ in range(60)]):
        places = sorted(rng.sample(range(1, len(whole)), cuts))
        client, heard, found = Client(greeting=b""), [], []
        for start, end in zip([0, *places], [*places, len(whole)], strict=True):
            heard += client.says(whole[start:end])
            found += told(client)
        assert found == expected
        assert heard == answers


def test_no_bytes_raise_and_what_is_kept_stays_small() -> None:
    """Each conversation with some bytes changed is taken, or ends with a GOAWAY."""
    whole = conversation(Client(greeting=b""))
    rng = random.Random(11)
    ends = set()
    for _ in range(300):
        said = bytearray(whole)
        for _ in range(rng.randrange(1, 9)):
            at = rng.randrange(len(said))
            match rng.randrange(3):
                case 0:
                    said[at] = rng.randrange(256)
                case 1:
                    del said[at : at + rng.randrange(20)]
                case 2:
                    said[at:at] = rng.randbytes(rng.randrange(20))
        client = Client(greeting=b"")
        client.hears()
        heard = client.says(bytes(said))
        if client.server.over:
            ends.add(ended(heard)[0])
            assert client.server.streams == {}
        assert len(client.server._rest) < 16_393
    assert {PROTOCOL_ERROR, FRAME_SIZE_ERROR, COMPRESSION_ERROR} <= ends
    for _ in range(300):
        client = Client()
        client.says(rng.randbytes(rng.randrange(2000)))


def test_header_lists_have_a_bound() -> None:
    client = Client()
    client.says(client.call(1, BOTH, *[(f"x-{number}", "v" * 1000) for number in range(17)]))
    assert client.events[0].block.too_long, "it is told so by the layer above"
    client.server.reset(client.events[0].stream, CANCEL)
    client.hears()
    assert not client.begins(3, BOTH).closed
    bomb = client.encoder.encode([("x", "v" * 3000)]) + b"\xbe" * 20
    assert ended(client.says(frame(HEADERS, BOTH, 5, bomb))) == (ENHANCE_YOUR_CALM, b"header list too long")


def test_a_block_without_end_is_cut_off() -> None:
    for piece, most in ((b"", 33), (b"\0\1x\1y" * 3000, 3)):
        client = Client()
        client.says(frame(HEADERS, 0, 1, b"\x82"))
        count = 0
        while not client.server.over:
            count += 1
            heard = client.says(frame(CONTINUATION, 0, 1, piece))
        assert ended(heard) == (ENHANCE_YOUR_CALM, b"a header block has no end")
        assert count == most
