"""A bucket of any S3 as a place for objects.

Address, credentials and certificates are boto3's own: AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and
AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_CA_BUNDLE, profiles, a service account's token.
"""

import contextlib
import os
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    IncompleteReadError,
    ReadTimeoutError,
    ResponseStreamingError,
)
from botocore.parsers import ResponseParserError
from tenacity import retry, retry_if_exception, stop_after_attempt, wait_random_exponential

from export.blobs import Blob, check_key
from export.errors import AbsentError, ChangedError, ExistsError, StoreError
from export.s3_errors import code_of, explain

# One call takes at most about a minute and a half, and half a minute where nobody answers the connection.
_TIMEOUTS: Final = {"connect_timeout": 5, "read_timeout": 15}
_ATTEMPTS: Final = 4

# Marks each write, so that a writer knows its own object again when the answer to its write was lost.
_WRITER: Final = "writer"


class _CutShortError(HTTPClientError):  # type: ignore[misc]
    """An answer ended early, in a way that the HTTP client takes for its end: within the headers, say."""

    fmt = "The answer was cut short"


def _goes_away(error: BaseException) -> bool:
    """What botocore does not try again by itself: an answer that breaks off, two writes at once."""
    if isinstance(error, ClientError):
        return code_of(error) == "ConditionalRequestConflict"
    return isinstance(error, _CutShortError | ResponseStreamingError | IncompleteReadError | ReadTimeoutError)


@contextlib.contextmanager
def _whole_answer() -> Iterator[None]:
    """What botocore cannot read of an answer was cut."""
    try:
        yield
    except (ResponseParserError, ValueError) as error:
        raise _CutShortError from error


_again = retry(
    retry=retry_if_exception(_goes_away),
    stop=stop_after_attempt(_ATTEMPTS),
    wait=wait_random_exponential(multiplier=0.1, max=2),
    reraise=True,
)


class S3Blobs:
    """Objects in a bucket, below a prefix; implements `export.blobs.Blobs`.

    A write is conditional (`If-None-Match: *`, `If-Match`), decided by the store atomically. botocore sends
    a write again when its answer was lost; the store then refuses it, because the object is there: the
    writer's own mark on it says that this was a success. An error after the last attempt leaves open whether
    the object was written, whole; what is built on this (claims, the manifest last) holds either way.
    """

    def __init__(self, bucket: str, prefix: str = "") -> None:
        """Prepare the client; nothing is sent yet.

        Raises:
            StoreError: The environment's settings for S3 make no sense.
        """
        self._bucket = bucket
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._endpoint = ""
        with self._explained("its settings"):
            self._client = _client()
        self._endpoint = str(self._client.meta.endpoint_url)

    @property
    def url(self) -> str:
        """`s3://bucket/prefix`."""
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    def put_if_absent(self, key: str, data: bytes) -> str:
        """See `export.blobs.Blobs.put_if_absent`."""
        refusal = ExistsError(f"{key} is already in {self.url} and is never overwritten.")
        return self._write(key, data, refusal, IfNoneMatch="*")

    def read(self, key: str) -> Blob:
        """See `export.blobs.Blobs.read`."""
        with self._explained(key):
            try:
                return self._read(self._key(key))[0]
            except ClientError as error:
                if code_of(error) not in {"NoSuchKey", "404"}:
                    raise
                raise AbsentError(f"There is no {key} in {self.url}.") from None

    def get(self, key: str) -> bytes:
        """See `export.blobs.Blobs.get`."""
        return self.read(key).data

    def replace(self, key: str, data: bytes, tag: str) -> str:
        """See `export.blobs.Blobs.replace`."""
        refusal = ChangedError(f"{key} in {self.url} was changed by someone else; read it again.")
        return self._write(key, data, refusal, IfMatch=tag)

    def list(self, prefix: str) -> list[str]:
        """See `export.blobs.Blobs.list`."""
        with self._explained(prefix):
            keys = self._list(f"{self._prefix}{prefix}")
        return sorted(key.removeprefix(self._prefix) for key in keys)

    def delete(self, key: str) -> None:
        """See `export.blobs.Blobs.delete`."""
        with self._explained(key):
            self._client.delete_object(Bucket=self._bucket, Key=self._key(key))

    def _key(self, key: str) -> str:
        return self._prefix + check_key(key)

    @_again
    def _list(self, full_prefix: str) -> Sequence[str]:
        keys = []
        with _whole_answer():
            pages = list(
                self._client.get_paginator("list_objects_v2").paginate(
                    Bucket=self._bucket, Prefix=full_prefix
                )
            )
        for page in pages:
            # Without this, an answer that lost its body would look like an empty store.
            if "IsTruncated" not in page:
                raise _CutShortError
            keys += [item["Key"] for item in page.get("Contents", [])]
        return keys

    @_again
    def _read(self, full_key: str) -> tuple[Blob, str]:
        """An object and its writer's mark."""
        with _whole_answer():
            answer = self._client.get_object(Bucket=self._bucket, Key=full_key)
            data = answer["Body"].read()
        if (
            not {"ETag", "LastModified", "ContentLength"} <= answer.keys()
            or len(data) != answer["ContentLength"]
        ):
            raise _CutShortError
        # Both times are the store's, so this machine's clock does not matter.
        date = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
        now = parsedate_to_datetime(date) if date else datetime.now(UTC)
        blob = Blob(data, answer["ETag"], max(0.0, (now - answer["LastModified"]).total_seconds()))
        return blob, str(answer["Metadata"].get(_WRITER, ""))

    def _write(self, key: str, data: bytes, refusal: StoreError, **condition: str) -> str:
        """Write under a condition; return the new object's tag, or raise `refusal`."""
        mark = uuid.uuid4().hex
        with self._explained(key):
            try:
                return self._put(self._key(key), data, mark, condition)
            except ClientError as error:
                # A replaced object that is gone altogether is answered by NoSuchKey.
                if code_of(error) not in {"PreconditionFailed", "412", "NoSuchKey"}:
                    raise
            try:
                # Read whole and not only its head: headers may be cut, a body of the right length may not.
                there, writer = self._read(self._key(key))
            except ClientError as error:
                if code_of(error) not in {"NoSuchKey", "404"}:
                    raise
                raise refusal from None
        if writer != mark:
            raise refusal
        return there.tag

    @_again
    def _put(self, full_key: str, data: bytes, mark: str, condition: dict[str, str]) -> str:
        with _whole_answer():
            answer = self._client.put_object(
                Bucket=self._bucket, Key=full_key, Body=data, Metadata={_WRITER: mark}, **condition
            )
        if "ETag" not in answer:
            raise _CutShortError
        return str(answer["ETag"])

    @contextlib.contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        """Turn what botocore says into a sentence that says what to do."""
        try:
            yield
        except (BotoCoreError, ClientError, ValueError, OSError) as error:
            raise explain(error, self.url, self._endpoint, what) from error


def _client() -> Any:
    session = boto3.session.Session()
    config = Config(
        **_TIMEOUTS,
        retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        # The newer checksum trailers are refused by some S3 that are not Amazon's; each file has its sha256.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        # An endpoint of one's own seldom has a DNS name for every bucket; Amazon's endpoint takes both.
        s3={"addressing_style": "path"},
        # boto3 itself reads AWS_DEFAULT_REGION and the profile, Amazon's other clients AWS_REGION.
        region_name=session.region_name or os.environ.get("AWS_REGION") or "us-east-1",
    )
    client = session.client("s3", config=config)
    # botocore asks before it sends a body, and waits for ever where the connection ends within "100 Continue"
    # (AWSConnection._consume_headers, 1.44); objects are small, so nothing is lost by sending them at once.
    client.meta.events.register_last("before-call.s3", _without_expect)
    return client


def _without_expect(params: dict[str, Any], **_: object) -> None:
    params["headers"].pop("Expect", None)
