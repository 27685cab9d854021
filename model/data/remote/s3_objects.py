"""An object's bytes, all of one state: from where they broke off, or word that it is another by now."""

from collections.abc import Callable
from typing import Any, BinaryIO, Final

from botocore.exceptions import ClientError

from model.data.remote.s3_client import whole_answer
from model.data.remote.s3_errors import CutShortError, code_of
from model.data.remote.s3_listed import Listed

_BLOCK_BYTES: Final = 1 << 20

_OTHER: Final = {"PreconditionFailed", "412", "InvalidRange", "416"}
_GONE: Final = {"NoSuchKey", "NoSuchVersion"}


class ChangedError(Exception):
    """The object was written again since it was listed."""


class RemovedError(Exception):
    """The object is not there any more."""


def go_on(
    s3: Any, bucket: str, key: str, listed: Listed, sink: BinaryIO, moved: Callable[[int], None]
) -> None:
    """Read what of an object is not in `sink` yet, and write it there.

    Where the connection breaks, what came stays in `sink`, and the next call asks for the rest alone
    (`Range`), of the same state (`If-Match`).

    Args:
        s3: Has boto3's `get_object`.
        bucket: Where it lies.
        key: The object's.
        listed: The state that is wanted.
        sink: Holds its first bytes, up to where it stands.
        moved: Is told how many bytes are there, after each block.

    Raises:
        ChangedError: It is in another state by now.
        RemovedError: It is gone.
        One of `model.data.remote.s3_errors.FAULTS`: There is no whole answer.
    """
    begun = sink.tell()
    if begun and begun == listed.size:
        return
    asked = {"Bucket": bucket, "Key": key}
    if listed.etag:
        asked["IfMatch"] = f'"{listed.etag}"'
    if begun:
        asked["Range"] = f"bytes={begun}-"
    try:
        with whole_answer():
            answer = s3.get_object(**asked)
    except ClientError as error:
        if code_of(error) in _OTHER:
            raise ChangedError from error
        if code_of(error) in _GONE:
            raise RemovedError from error
        raise
    body = answer["Body"]
    try:
        if begun and not str(answer.get("ContentRange", "")).startswith(f"bytes {begun}-"):
            sink.seek(begun := 0)  # it knows no ranges
            sink.truncate()
        etag, length = _etag_in(answer), answer.get("ContentLength")
        # Not every S3 knows If-Match; a proxy in between may leave the length out.
        if (listed.etag and etag and etag != listed.etag) or length not in {None, listed.size - begun}:
            raise ChangedError
        with whole_answer():
            for block in body.iter_chunks(_BLOCK_BYTES):
                sink.write(block)
                moved(sink.tell())
    finally:
        body.close()  # one that was not read to its end would keep its connection
    if sink.tell() != listed.size:
        raise CutShortError


def look_again(s3: Any, bucket: str, key: str) -> Listed:
    """The state that an object is in by now.

    Raises:
        RemovedError: It is gone.
        One of `model.data.remote.s3_errors.FAULTS`: There is no whole answer.
    """
    try:
        with whole_answer():
            answer = s3.head_object(Bucket=bucket, Key=key)
            return Listed(answer["ContentLength"], _etag_in(answer))
    except ClientError as error:
        if code_of(error) in {*_GONE, "404"}:  # to HEAD there are no words
            raise RemovedError from error
        raise


def _etag_in(answer: dict[str, Any]) -> str:
    return str(answer.get("ETag", "")).strip('"')
