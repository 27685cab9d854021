"""Listing a bucket, where the answers are not what they should be: a real S3 cannot be made to give these."""

from typing import Any

import pytest

from model.data.remote.s3_client import list_sizes
from model.data.remote.s3_errors import CutShortError


class Client:
    """Answers each listing with the next pages."""

    def __init__(self, *answers: list[dict[str, Any]]) -> None:
        self._answers = list(answers)

    def get_paginator(self, operation: str) -> "Client":
        assert operation == "list_objects_v2"
        return self

    def paginate(self, **asked: str) -> list[dict[str, Any]]:
        assert asked == {"Bucket": "bucket", "Prefix": "data/"}
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


WHOLE = [
    {"IsTruncated": True, "Contents": [{"Key": "data/a", "Size": 1}]},
    {"IsTruncated": False, "Contents": [{"Key": "data/b", "Size": 2}]},
]
SIZES = {"data/a": 1, "data/b": 2}


def test_all_pages_are_listed_and_an_empty_bucket_is_empty() -> None:
    assert list_sizes(Client(WHOLE), "bucket", "data/") == SIZES
    assert list_sizes(Client([{"IsTruncated": False}]), "bucket", "data/") == {}


def test_an_answer_without_a_body_is_no_empty_bucket_and_asked_for_again() -> None:
    assert list_sizes(Client([{}], WHOLE), "bucket", "data/") == SIZES
    with pytest.raises(CutShortError):
        list_sizes(Client([{}]), "bucket", "data/")
