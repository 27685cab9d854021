"""Messages come out whole, wherever they were cut."""

import random

import pytest
from grpc import StatusCode
from http2_peer import message

from image_transformer.grpc.calls.messages import Messages
from image_transformer.grpc.calls.status import CallError


def popped(messages: Messages) -> list[bytes]:
    found = []
    while (one := messages.pop()) is not None:
        found.append(one)
    return found


def test_wherever_they_are_cut() -> None:
    rng = random.Random(3)
    sent = [rng.randbytes(rng.choice((0, 1, 4, 5, 300))) for _ in range(40)]
    whole = b"".join(message(one) for one in sent)
    for size in (1, 2, 3, 4, 5, 6, 7, 64, len(whole)):
        messages, found = Messages(1000), []
        for at in range(0, len(whole), size):
            messages.feed(memoryview(whole[at : at + size]))
            found += popped(messages)
        assert found == sent
        assert (messages.held, messages.coming, messages.ready) == (0, 0, False)


def test_what_is_known_of_the_first() -> None:
    messages = Messages(1000)
    messages.feed(memoryview(message(b"x" * 100)[:4]))
    assert (messages.held, messages.coming) == (4, 0)
    messages.feed(memoryview(message(b"x" * 100)[4:50]))
    assert (messages.held, messages.coming, messages.ready) == (50, 105, False)
    messages.feed(memoryview(message(b"x" * 100)[50:] + b"\0"))
    assert (messages.held, messages.coming, messages.ready, messages.more) == (106, 0, True, True)


def test_one_that_came_whole_is_not_collected() -> None:
    messages = Messages(1000)
    assert messages.whole(memoryview(message(b"abc"))) == b"abc"
    assert messages.whole(memoryview(message(b"abc") + b"\0")) is None
    assert messages.whole(memoryview(message(b"abc")[:-1])) is None
    assert messages.whole(memoryview(b"\0\0")) is None
    messages.feed(memoryview(b"\0"))
    assert messages.whole(memoryview(message(b"abc"))) is None


@pytest.mark.parametrize(
    ("prefix", "code", "sentence"),
    [
        (b"\1\0\0\0\1", StatusCode.INTERNAL, "A message is marked as compressed"),
        (b"\2\0\0\0\1", StatusCode.INTERNAL, "A message begins with 2"),
        (
            b"\0\0\0\3\xe9",
            StatusCode.RESOURCE_EXHAUSTED,
            "SERVER: Received message larger than max (1001 vs. 1000)",
        ),
        (
            b"\0\xff\xff\xff\xff",
            StatusCode.RESOURCE_EXHAUSTED,
            "SERVER: Received message larger than max (4294967295 vs. 1000)",
        ),
    ],
)
def test_what_is_refused_by_its_prefix(prefix: bytes, code: StatusCode, sentence: str) -> None:
    messages = Messages(1000)
    messages.feed(memoryview(prefix[:4]))
    with pytest.raises(CallError) as raised:
        messages.feed(memoryview(prefix[4:]))
    assert raised.value.status.code is code
    assert raised.value.status.details.startswith(sentence)
    messages = Messages(1000)
    messages.feed(memoryview(message(b"good") + prefix))
    assert messages.pop() == b"good", "which came before it"
    with pytest.raises(CallError):
        messages.pop()
