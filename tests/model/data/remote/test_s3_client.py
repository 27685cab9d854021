"""Listing a bucket, where the answers are not what they should be: a real S3 cannot be made to give these."""

from typing import Any

import pytest
from botocore.exceptions import PaginationError
from botocore.utils import parse_timestamp

from model.data.remote.patience import Patience
from model.data.remote.s3_client import _timestamp, list_sizes
from model.data.remote.s3_data import _list
from model.data.remote.s3_errors import Asked, CutShortError


class Client:
    """Answers each request for a page with the next answer, and keeps the tokens that it was asked by."""

    def __init__(self, *answers: dict[str, Any]) -> None:
        self._answers = list(answers)
        self.tokens: list[str | None] = []

    def list_objects_v2(self, **asked: str) -> dict[str, Any]:
        self.tokens.append(asked.pop("ContinuationToken", None))
        assert asked == {"Bucket": "bucket", "Prefix": "data/"}
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


FIRST = {"IsTruncated": True, "NextContinuationToken": "a", "Contents": [{"Key": "data/a", "Size": 1}]}
LAST = {"IsTruncated": False, "Contents": [{"Key": "data/b", "Size": 2}]}
SIZES = {"data/a": 1, "data/b": 2}


def test_all_pages_are_listed_and_an_empty_bucket_is_empty() -> None:
    assert list_sizes(Client(FIRST, LAST), "bucket", "data/") == SIZES
    assert list_sizes(Client({"IsTruncated": False}), "bucket", "data/") == {}


def test_an_answer_without_a_body_is_no_empty_bucket_and_its_page_alone_is_asked_for_again() -> None:
    client = Client(FIRST, {}, LAST)
    assert list_sizes(client, "bucket", "data/") == SIZES
    assert client.tokens == [None, "a", "a"]
    with pytest.raises(CutShortError):
        list_sizes(Client({}), "bucket", "data/")


def test_a_listing_that_does_not_go_on_ends() -> None:
    with pytest.raises(PaginationError, match="does not go on after 'a'"):
        list_sizes(Client(FIRST, FIRST), "bucket", "data/")


def test_a_page_that_breaks_is_asked_for_again_where_an_address_is_looked_at(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("model.data.remote.patience.time.sleep", lambda seconds: None)
    monkeypatch.setattr("model.data.remote.told._LINE_EVERY", 0)
    caplog.set_level("INFO")
    client = Client(FIRST, {}, {}, {}, {}, {}, LAST)
    patience = Patience(Asked("s3://bucket/data", "http://127.0.0.1:9000"))
    assert {
        key: found.size for key, found in _list(client, "bucket", "data/", patience, "s3://b").items()
    } == SIZES
    assert client.tokens == [None, *["a"] * 6]
    assert [record.message for record in caplog.records] == ["s3://b: 1 objects are listed so far."]


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-29T12:00:49.397Z",
        "2026-11-29T12:00:49Z",
        "Sun, 29 Nov 2026 12:00:49 GMT",
        "2026-11-29T12:00:49+01:00",
        "1764417649",
        1764417649.5,
    ],
)
def test_a_date_is_what_botocore_makes_of_it(text: object) -> None:
    assert _timestamp(text) == parse_timestamp(text)
    assert _timestamp(text).utcoffset() == parse_timestamp(text).utcoffset()
