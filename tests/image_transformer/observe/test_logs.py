"""Log lines are JSON, one a record, whatever a client put into them."""

import io
import json
import logging

import pytest

from image_transformer.errors import ServiceError
from image_transformer.observe.logs import JsonFormatter
from image_transformer.observe.metrics import Metrics
from image_transformer.observe.requests import Observer

HOSTILE = 'a\r\n{"level":"error","message":"forged"}\x1b[31m"\\\u2028\0'


def line(record: logging.LogRecord) -> str:
    return JsonFormatter().format(record)


@pytest.mark.parametrize("text", [HOSTILE, "", "\ud800", "x" * 100_000])
def test_a_clients_text_stays_in_its_string(text: str) -> None:
    logger = logging.Logger("image_transformer.test")
    sink = io.StringIO()
    handler = logging.StreamHandler(sink)
    handler.setFormatter(JsonFormatter())
    logger.addHandler(handler)
    logger.info("refused: %s", text, extra={"request_id": text, "route": text})
    (written,) = sink.getvalue().split("\n")[:-1]
    assert not any(ord(sign) < 32 for sign in written)
    found = json.loads(written)
    assert (found["level"], found["logger"]) == ("info", "image_transformer.test")
    assert found["message"] == f"refused: {text}"
    assert found["request_id"] == found["route"] == text


def test_a_traceback_is_one_line_too() -> None:
    try:
        raise ValueError(HOSTILE)
    except ValueError as error:
        record = logging.LogRecord(
            "x", logging.ERROR, "", 0, "failed", (), (ValueError, error, error.__traceback__)
        )
    assert "\n" not in line(record)
    assert HOSTILE in json.loads(line(record))["exception"]


def test_overload_fills_no_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    metrics = Metrics()
    observer = Observer(metrics, log_all=False)
    for code in ("overloaded", "overloaded", "broken_image", "overloaded"):
        with observer.request("/predict", "mine") as observation:
            observation.failed(ServiceError(code, "A sentence."))
    assert [record.message for record in caplog.records] == ["too many requests are under way", "A sentence."]
    assert metrics.errors == {"overloaded": 3, "broken_image": 1}
