"""A bucket of any S3 as a place for objects.

Address, credentials and certificates are boto3's own: AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and
AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_CA_BUNDLE, profiles, a service account's token.
"""

import contextlib
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from botocore.exceptions import ClientError

from export.errors import (
    AbsentError,
    AccessError,
    BucketError,
    ChangedError,
    ClockSkewError,
    CredentialsError,
    ExistsError,
    ProxyError,
    StoreError,
    TlsError,
    UnreachableError,
)
from export.store.blobs import Blob, check_key
from model.data.s3_client import again, connect, list_sizes, whole_answer
from model.data.s3_errors import FAULTS, CutShortError, Kind, code_of, explain

# Marks each write, so that a writer knows its own object again when the answer to its write was lost.
_WRITER: Final = "writer"


_KINDS: Final[dict[Kind, type[StoreError]]] = {
    "access": AccessError,
    "bucket": BucketError,
    "clock": ClockSkewError,
    "credentials": CredentialsError,
    "tls": TlsError,
    "unreachable": UnreachableError,
    "proxy": ProxyError,
    "other": StoreError,
}


class S3Blobs:
    """Objects in a bucket, below a prefix; implements `export.store.blobs.Blobs`.

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
            self._client = connect()
        self._endpoint = str(self._client.meta.endpoint_url)

    @property
    def url(self) -> str:
        """`s3://bucket/prefix`."""
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    def put_if_absent(self, key: str, data: bytes) -> str:
        """See `export.store.blobs.Blobs.put_if_absent`."""
        refusal = ExistsError(f"{key} is already in {self.url} and is never overwritten.")
        return self._write(key, data, refusal, IfNoneMatch="*")

    def read(self, key: str) -> Blob:
        """See `export.store.blobs.Blobs.read`."""
        with self._explained(key):
            try:
                return self._read(self._key(key))[0]
            except ClientError as error:
                if code_of(error) not in {"NoSuchKey", "404"}:
                    raise
                raise AbsentError(f"There is no {key} in {self.url}.") from None

    def get(self, key: str) -> bytes:
        """See `export.store.blobs.Blobs.get`."""
        return self.read(key).data

    def replace(self, key: str, data: bytes, tag: str) -> str:
        """See `export.store.blobs.Blobs.replace`."""
        refusal = ChangedError(f"{key} in {self.url} was changed by someone else; read it again.")
        return self._write(key, data, refusal, IfMatch=tag)

    def list(self, prefix: str) -> list[str]:
        """See `export.store.blobs.Blobs.list`."""
        with self._explained(prefix):
            keys = list_sizes(self._client, self._bucket, f"{self._prefix}{prefix}")
        return sorted(key.removeprefix(self._prefix) for key in keys)

    def delete(self, key: str) -> None:
        """See `export.store.blobs.Blobs.delete`."""
        with self._explained(key):
            self._client.delete_object(Bucket=self._bucket, Key=self._key(key))

    def _key(self, key: str) -> str:
        return self._prefix + check_key(key)

    @again
    def _read(self, full_key: str) -> tuple[Blob, str]:
        """An object and its writer's mark."""
        with whole_answer():
            answer = self._client.get_object(Bucket=self._bucket, Key=full_key)
            data = answer["Body"].read()
        if (
            not {"ETag", "LastModified", "ContentLength"} <= answer.keys()
            or len(data) != answer["ContentLength"]
        ):
            raise CutShortError
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

    @again
    def _put(self, full_key: str, data: bytes, mark: str, condition: dict[str, str]) -> str:
        with whole_answer():
            answer = self._client.put_object(
                Bucket=self._bucket, Key=full_key, Body=data, Metadata={_WRITER: mark}, **condition
            )
        if "ETag" not in answer:
            raise CutShortError
        return str(answer["ETag"])

    @contextlib.contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        """Turn what botocore says into a sentence that says what to do."""
        try:
            yield
        except (*FAULTS, OSError) as error:
            fault = explain(error, self.url, self._endpoint, what)
            raise _KINDS[fault.kind](fault.sentence) from error
