"""Who waits for an S3, for how long, and what is said of it."""

import logging
from collections.abc import Callable

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from model.data.errors import DataAwayError
from model.data.remote import patience
from model.data.remote.patience import Patience
from model.data.remote.s3_errors import Asked

ASKED = Asked("s3://bucket/photos", "http://127.0.0.1:9000")
AWAY = EndpointConnectionError(endpoint_url=ASKED.endpoint)


def refused(code: str, status: int) -> ClientError:
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "GetObject")


class Clock:
    """Time as it is waited for."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.waits: list[float] = []

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.waits.append(seconds)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("model.data.remote.patience.time.monotonic", lambda: clock.now)
    monkeypatch.setattr("model.data.remote.patience.time.sleep", clock.wait)
    return clock


def answers(*given: Exception | str) -> Callable[[], str]:
    """Raises or gives one after the other, the last one again and again."""
    left = list(given)

    def act() -> str:
        one = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(one, Exception):
            raise one
        return one

    return act


def test_an_address_that_leads_nowhere_is_not_waited_for(clock: Clock) -> None:
    with pytest.raises(EndpointConnectionError):
        Patience(ASKED).ask("photos", answers(AWAY))
    assert clock.now - 1000 < 1


@pytest.mark.parametrize(
    "fault", [AWAY, refused("SlowDown", 503), refused("503", 503), refused("InternalError", 500)]
)
def test_one_that_was_there_is_waited_for(
    clock: Clock, fault: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    asked = Patience(ASKED)
    assert asked.ask("photos", answers("there")) == "there"
    assert asked.ask("photos", answers(*[fault] * 20, "back")) == "back"
    assert 60 < clock.now - 1000 < 300
    assert max(clock.waits) <= 10
    waited, back = (record.message for record in caplog.records)
    assert waited.startswith("The S3 at http://127.0.0.1:9000 ")
    assert waited.endswith("; it is waited for, 5 minutes at most.")
    assert back == f"The S3 at http://127.0.0.1:9000 answers again, after {clock.now - 1000:.0f} s."


def test_five_minutes_without_an_answer_are_the_end(clock: Clock) -> None:
    asked = Patience(ASKED)
    asked.ask("photos", answers("there"))
    with pytest.raises(DataAwayError, match=r"then try again; it was waited for 5 minutes\.$"):
        asked.ask("photos", answers(AWAY))
    assert 300 <= clock.now - 1000 < 311


def test_an_answer_to_someone_begins_the_waiting_anew(clock: Clock) -> None:
    asked = Patience(ASKED)
    asked.ask("photos", answers("there"))
    tries = 0

    def act() -> str:
        nonlocal tries
        tries += 1
        if tries % 20 == 0:
            asked.answered()
        if tries < 100:
            raise AWAY
        return "back"

    assert asked.ask("photos", act) == "back"
    assert clock.now - 1000 > 600


def test_of_what_is_soon_over_nothing_is_said(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    asked = Patience(ASKED)
    asked.ask("photos", answers("there"))
    for _ in range(10):
        asked.ask("photos", answers(refused("SlowDown", 503), refused("SlowDown", 503), "back"))
    assert [record for record in caplog.records if record.levelno >= logging.INFO] == []


@pytest.mark.parametrize("fault", [refused("AccessDenied", 403), refused("ExpiredToken", 400)])
def test_a_refusal_is_an_answer(clock: Clock, fault: ClientError) -> None:
    asked = Patience(ASKED)
    asked.ask("photos", answers("there"))
    with pytest.raises(ClientError):
        asked.ask("photos", answers(fault))
    assert clock.waits == []


def test_waits_are_bounded_however_often() -> None:
    patience._wait(10_000, None)
