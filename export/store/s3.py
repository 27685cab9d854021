"""A bucket of any S3 as a place for objects.

Address, credentials and certificates are boto3's own; see `model.data.remote.s3_client`.
"""

import base64
import contextlib
import hashlib
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, Literal, NamedTuple

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
    SessionError,
    StoreError,
    TlsError,
    UnreachableError,
)
from export.store.blobs import Blob, check_key
from model.data.remote.s3_answers import Kind
from model.data.remote.s3_client import (
    Identity,
    again,
    connect,
    identity,
    is_temporary,
    list_sizes,
    read_body,
    whole_answer,
)
from model.data.remote.s3_errors import FAULTS, Asked, CutShortError, code_of
from model.data.remote.s3_explain import explain

# Marks each write, so that a writer knows its own object again when the answer to its write was lost.
_WRITER: Final = "writer"

_KINDS: Final[dict[Kind, type[StoreError]]] = {
    "access": AccessError,
    "bucket": BucketError,
    "clock": ClockSkewError,
    "credentials": CredentialsError,
    "session": SessionError,
    "tls": TlsError,
    "unreachable": UnreachableError,
    "proxy": ProxyError,
    "other": StoreError,
}


class Encryption(NamedTuple):
    """What each write asks the S3 for, as a bucket's policy may demand it.

    Attributes:
        algorithm: SSE-S3 (`AES256`) or SSE-KMS (`aws:kms`), as x-amz-server-side-encryption says it.
        kms_key: The key's id, ARN or alias with `aws:kms`; empty for the account's own key for S3.
    """

    algorithm: Literal["AES256", "aws:kms"]
    kms_key: str = ""

    def __str__(self) -> str:
        return f"{self.algorithm} and the key {self.kms_key}" if self.kms_key else self.algorithm

    @property
    def parameters(self) -> dict[str, str]:
        """For boto3's `put_object`."""
        key = {"SSEKMSKeyId": self.kms_key} if self.kms_key else {}
        return {"ServerSideEncryption": self.algorithm, **key}


class S3Blobs:
    """Objects in a bucket, below a prefix; implements `export.store.blobs.Blobs`.

    A write is conditional (`If-None-Match: *`, `If-Match`), decided by the store atomically. botocore sends
    a write again when its answer was lost; the store then refuses it, because the object is there: the
    writer's own mark on it says that this was a success. An error after the last attempt leaves open whether
    the object was written, whole; what is built on this (claims, the manifest last) holds either way.
    """

    def __init__(self, bucket: str, prefix: str = "", encryption: Encryption | None = None) -> None:
        """Prepare the client; nothing is sent yet.

        Args:
            bucket: Its name.
            prefix: Of all keys.
            encryption: Asked for with each write; None leaves it to the bucket.

        Raises:
            StoreError: The environment's settings for S3 make no sense.
        """
        self._bucket = bucket
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._encryption = encryption
        self._asked = Asked(self.url, "")
        with self._explained("its settings"):
            self._client = connect()
            self._asked = Asked(
                self.url,
                str(self._client.meta.endpoint_url),
                is_temporary(self._client),
                str(encryption or ""),
            )

    @property
    def encryption(self) -> Encryption | None:
        """What each write asks for."""
        return self._encryption

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
            found = self._read_if_there(self._key(key))
        if found is None:
            raise AbsentError(f"There is no {key} in {self.url}.")
        return found[0]

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
        with self._explained(key), whole_answer():
            self._client.delete_object(Bucket=self._bucket, Key=self._key(key))

    def identity(self) -> Identity:
        """Who this program is to the S3.

        Raises:
            StoreError: There are no credentials, or what gives them out does not.
        """
        with self._explained("its credentials"):
            return identity(self._client)

    def encryption_of(self, key: str) -> str:
        """How an object is encrypted where it lies: `AES256`, `aws:kms` and the key's id, or nothing."""
        with self._explained(key), whole_answer():
            head = self._client.head_object(Bucket=self._bucket, Key=self._key(key))
        algorithm = str(head.get("ServerSideEncryption", ""))
        named = head.get("SSEKMSKeyId")
        return f"{algorithm} and the key {named}" if algorithm and named else algorithm

    def retention(self) -> str | None:
        """For how long the bucket's object lock keeps each object, such as `COMPLIANCE for 30 days`.

        Returns:
            None without a lock; `nothing unless asked` for one that keeps only what is put under it by name.

        Raises:
            AccessError: These credentials may not ask.
        """
        with self._explained("its object lock"), whole_answer():
            try:
                answer = self._client.get_object_lock_configuration(Bucket=self._bucket)
            except ClientError as error:
                if code_of(error) in {"ObjectLockConfigurationNotFoundError", "NotImplemented"}:
                    return None
                raise
        rule = answer.get("ObjectLockConfiguration", {}).get("Rule", {}).get("DefaultRetention")
        if not rule:
            return "nothing unless asked"
        unit = "Years" if "Years" in rule else "Days"
        return f"{rule['Mode']} for {rule[unit]} {unit.lower() if rule[unit] > 1 else unit.lower()[:-1]}"

    def _key(self, key: str) -> str:
        return self._prefix + check_key(key)

    def _read_if_there(self, full_key: str) -> tuple[Blob, str] | None:
        """An object and its writer's mark; None where there is none."""
        try:
            return self._read(full_key)
        except ClientError as error:
            if code_of(error) == "NoSuchKey":
                return None
            # Amazon forbids an absent object to credentials whose s3:ListBucket is held to a prefix. A 404 in
            # no S3's words may be a MinIO that is coming up, or no S3 at all.
            if code_of(error) in {"AccessDenied", "404"} and self._is_absent(full_key):
                return None
            raise

    def _is_absent(self, full_key: str) -> bool:
        """Whether a listing says that there is no such object; False where there is no listing."""
        try:
            return full_key not in list_sizes(self._client, self._bucket, full_key)
        except FAULTS:
            return False

    @again
    def _read(self, full_key: str) -> tuple[Blob, str]:
        """An object and its writer's mark."""
        with whole_answer():
            answer = self._client.get_object(Bucket=self._bucket, Key=full_key)
            data = read_body(answer)
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
            # Read whole and not only its head: headers may be cut, a body of the right length may not.
            found = self._read_if_there(self._key(key))
        if found is None or found[1] != mark:
            raise refusal
        return found[0].tag

    @again
    def _put(self, full_key: str, data: bytes, mark: str, condition: dict[str, str]) -> str:
        # A bucket with object lock takes no write without a checksum; this is the one that every S3 knows.
        md5 = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
        encryption = self._encryption.parameters if self._encryption else {}
        with whole_answer():
            answer = self._client.put_object(
                Bucket=self._bucket,
                Key=full_key,
                Body=data,
                ContentMD5=md5,
                Metadata={_WRITER: mark},
                **encryption,
                **condition,
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
            fault = explain(error, self._asked, what)
            raise _KINDS[fault.kind](fault.sentence) from error
