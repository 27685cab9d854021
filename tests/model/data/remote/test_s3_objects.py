"""An object as other S3s than MinIO, and proxies before them, may give it."""

import io
from typing import Any

import pytest
from botocore.exceptions import ClientError
from botocore.response import StreamingBody

from model.data.remote.s3_errors import CutShortError
from model.data.remote.s3_listed import Listed
from model.data.remote.s3_objects import ChangedError, RemovedError, go_on

DATA = b"0123456789"
LISTED = Listed(10, "e")


class S3:
    """Answers each GET with the next answer."""

    def __init__(self, *answers: dict[str, Any]) -> None:
        self._answers = list(answers)
        self.asked: list[dict[str, str]] = []

    def get_object(self, **asked: str) -> dict[str, Any]:
        self.asked.append(asked)
        answer = self._answers.pop(0)
        return answer | {"Body": StreamingBody(io.BytesIO(answer["Body"]), None)}


def read(s3: S3, sink: io.BytesIO, listed: Listed = LISTED) -> bytes:
    go_on(s3, "bucket", "key", listed, sink, lambda there: None)
    return sink.getvalue()


def test_an_answer_without_a_length_is_judged_by_what_comes() -> None:
    assert read(S3({"Body": DATA, "ETag": '"e"', "ContentLength": None}), io.BytesIO()) == DATA
    sink = io.BytesIO()
    s3 = S3({"Body": DATA[:4], "ETag": '"e"'}, {"Body": DATA[4:], "ContentRange": "bytes 4-9/10"})
    with pytest.raises(CutShortError):
        read(s3, sink)
    assert read(s3, sink) == DATA
    assert [asked.get("Range") for asked in s3.asked] == [None, "bytes=4-"]


def test_a_listing_without_etags_is_believed_by_its_lengths() -> None:
    s3 = S3({"Body": DATA, "ETag": '"e"', "ContentLength": 10})
    assert read(s3, io.BytesIO(), Listed(10, "")) == DATA
    assert s3.asked == [{"Bucket": "bucket", "Key": "key"}]
    with pytest.raises(ChangedError):
        read(S3({"Body": DATA, "ContentLength": 10}), io.BytesIO(), Listed(11, ""))


@pytest.mark.parametrize("said", [{"ETag": '"other"', "ContentLength": 10}, {"ContentLength": 9}])
def test_what_is_of_another_state_is_not_read(said: dict[str, Any]) -> None:
    sink = io.BytesIO()
    with pytest.raises(ChangedError):
        read(S3({"Body": DATA} | said), sink)
    assert sink.getvalue() == b""


def test_whoever_knows_no_ranges_is_read_from_the_beginning() -> None:
    sink = io.BytesIO(DATA[:4])
    sink.seek(4)
    assert read(S3({"Body": DATA, "ETag": '"e"', "ContentLength": 10}), sink) == DATA


@pytest.mark.parametrize(("code", "error"), [("NoSuchKey", RemovedError), ("404", ClientError)])
def test_an_object_is_gone_by_an_s3s_own_word_alone(code: str, error: type[Exception]) -> None:
    """A MinIO that is coming up says 404 to everything."""

    class Refusing(S3):
        def get_object(self, **asked: str) -> dict[str, Any]:
            raise ClientError({"Error": {"Code": code}}, "GetObject")

    with pytest.raises(error):
        read(Refusing(), io.BytesIO())
