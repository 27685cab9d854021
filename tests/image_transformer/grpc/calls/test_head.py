"""What a call's fields say, and what is said to those that are no call's."""

import pytest
from grpc import StatusCode

from image_transformer.grpc.calls.head import Head
from image_transformer.grpc.calls.status import Status
from image_transformer.grpc.http2.headers import Block

FIELDS = {
    b":method": b"POST",
    b":scheme": b"http",
    b":path": b"/s/M",
    b"te": b"trailers",
    b"content-type": b"application/grpc",
}


def head(**changes: bytes) -> Head:
    fields = {**FIELDS, **{name.replace("_", "-").encode(): value for name, value in changes.items()}}
    return Head(Block(tuple(fields.items()), 100))


def refused(made: Head) -> dict[str, str]:
    """The fields of a refusal, which are literals after the first."""
    assert made.refusal is not None
    block = made.refusal.alone()
    found = {}
    if block[0] == 0x88:
        found[":status"], block = "200", block[1:]
    while block:
        assert block[0] == 0
        name = block[2 : 2 + block[1]]
        block = block[2 + block[1] :]
        length, block = block[0], block[1:]
        if length == 127:
            shift = 0
            while True:
                byte, block = block[0], block[1:]
                length += (byte & 127) << shift
                shift += 7
                if byte < 128:
                    break
        found[name.decode()], block = block[:length].decode(), block[length:]
    return found


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (b"1H", 3600),
        (b"2M", 120),
        (b"99999999S", 99999999),
        (b"250m", 0.25),
        (b"7u", 7e-6),
        (b"0n", 0),
    ],
)
def test_timeouts(given: bytes, seconds: float) -> None:
    made = head(grpc_timeout=given)
    assert made.refusal is None
    assert made.timeout == pytest.approx(seconds)


@pytest.mark.parametrize("given", [b"", b"1", b"S", b"123456789S", b"1.5S", b"-1S", b"1s", b"1S "])
def test_what_is_no_timeout(given: bytes) -> None:
    told = refused(head(grpc_timeout=given))
    assert told["grpc-status"] == "3"
    assert told["code"] == "invalid_request"
    assert "send up to 8 digits and one of HMSmun" in told["grpc-message"]


@pytest.mark.parametrize(
    "kind", [b"application/grpc", b"application/grpc+proto", b"application/grpc;charset=x"]
)
def test_content_types(kind: bytes) -> None:
    assert head(content_type=kind).refusal is None


@pytest.mark.parametrize("kind", [b"application/json", b"application/grpc-web", b"application/grpcx", b""])
def test_other_content_types_are_415(kind: bytes) -> None:
    told = refused(head(content_type=kind))
    assert (told[":status"], told["grpc-status"], told["code"]) == ("415", "3", "unsupported_media_type")


def test_another_method_is_405() -> None:
    told = refused(Head(Block(tuple({**FIELDS, b":method": b"GET"}.items()), 100)))
    assert (told[":status"], told["grpc-status"], told["code"]) == ("405", "12", "method_not_allowed")


@pytest.mark.parametrize(
    ("encoding", "word"), [(b"gzip", "disabled."), (b"deflate", "disabled."), (b"x", "unknown")]
)
def test_compression_is_refused_in_the_words_of_before(encoding: bytes, word: str) -> None:
    told = refused(head(grpc_encoding=encoding))
    assert told["grpc-status"] == "12"
    assert told["grpc-message"].startswith(f"Compression algorithm '{encoding.decode()}' is {word}")
    assert told["grpc-accept-encoding"] == "identity"
    assert head(grpc_encoding=b"identity").refusal is None


def test_too_many_fields_are_told() -> None:
    told = refused(Head(Block(tuple(FIELDS.items()), 16_385)))
    assert (told["grpc-status"], told["code"]) == ("8", "head_too_long")
    assert Head(Block(tuple(FIELDS.items()), 16_384)).refusal is None


def test_metadata_are_the_client_s_own_fields() -> None:
    made = head(
        x_request_id=b"mine",
        user_agent=b"\xff",
        a_bin=b"AAE",
        b_bin=b"AAE=,/w",
        c_bin=b"!",
        grpc_timeout=b"1S",
    )
    assert made.metadata == (
        ("x-request-id", "mine"),
        ("user-agent", "\xff"),
        ("a-bin", b"\0\1"),
        ("b-bin", b"\0\1"),
        ("b-bin", b"\xff"),
    )


def test_a_status_is_written_so_that_it_may_stand_in_a_header() -> None:
    written = Status(StatusCode.NOT_FOUND, "50 % of\n„Häuser“", (("x-bin", b"\0\xff"), ("x", "y"))).trailers()
    assert b"grpc-status\x015" in written
    assert b"50 %25 of%0A%E2%80%9EH%C3%A4user%E2%80%9C" in written
    assert written.endswith(b"\0\x05x-bin\x03AP8" + b"\0\x01x\x01y")
    long = Status(StatusCode.UNKNOWN, "ä" * 5000).trailers()
    assert long.count(b"%C3%A4") == 682
    assert long.endswith(b"%A4"), "no sign is cut through"
    long = Status(StatusCode.UNKNOWN, "a" + "€" * 5000).trailers()
    assert long.endswith(b"%82%AC")
