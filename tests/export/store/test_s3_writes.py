"""What each write says on the wire, and buckets that ask for it: encryption, a checksum under object lock."""

import base64
import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from minio_server import KMS_KEY, Minio, StartMinio
from s3_wire import Answer, Request, Wire, refusal, wire

from export.errors import AccessError, StoreError
from export.store.lease import Lease
from export.store.s3 import Encryption, S3Blobs
from export.store.versions import KNOWN, Store, open_store

pytestmark = pytest.mark.slow

BuildOf = Callable[[bytes], Callable[[int, Path], Any]]


@pytest.fixture
def recorded(bucket: str, minio: Minio, monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    """A wire to the real MinIO that records what is said."""
    with wire(minio.port) as found:
        monkeypatch.setenv("AWS_ENDPOINT_URL", found.url)
        yield found


def write_everything(store: Store, build_of: BuildOf) -> None:
    """Each kind of object: claim, file, evidence, manifest, attachment, ledger entry, classes, lease."""
    version = store.publish(build_of(b"graph"), {KNOWN: b"a zip"}).version
    store.classes.learn(["truck"], by="me")
    store.attach(version, "verdict.json", b"{}")
    store.ledger.record("promote", version, by="me", reason="why", after=0)
    lease = Lease(store.blobs, "retrain", holder="me")
    lease.acquire()
    lease.renew()
    lease.release()
    store.verify(version)


def demanding_a_checksum(request: Request) -> Answer | None:
    """Amazon's answer to a write into a bucket with object lock; MinIO lets it pass."""
    if request.method != "PUT" or any(
        name.lower() == "content-md5" or name.lower().startswith("x-amz-checksum-")
        for name in request.headers
    ):
        return None
    return refusal(
        400,
        "InvalidRequest",
        "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object Lock "
        "parameters",
    )


def test_each_write_carries_its_content_md5(recorded: Wire, bucket: str, build_of: BuildOf) -> None:
    recorded.decide = demanding_a_checksum
    write_everything(open_store(f"{bucket}/prefix"), build_of)
    assert len(recorded.puts()) > 10
    for request in recorded.puts():
        md5 = base64.b64encode(hashlib.md5(request.body, usedforsecurity=False).digest()).decode()
        assert request.headers["Content-MD5"] == md5, request.path
        assert not any(name.lower().startswith("x-amz-server-side") for name in request.headers)


def test_a_publish_and_a_promotion_ask_no_more_than_they_must(
    recorded: Wire, bucket: str, build_of: BuildOf
) -> None:
    store = open_store(f"{bucket}/prefix", Encryption("AES256"))
    store.publish(build_of(b"graph"))
    files = len(store.manifest(1).files)
    asked = Counter(request.method for request in recorded.requests)
    # Two listings to find the number, the manifest that this test itself read; a write for each object.
    assert asked == {"GET": 3, "PUT": 1 + files + 1}
    recorded.requests.clear()
    store.ledger.record("promote", 1, by="me", reason="why", after=0)
    assert Counter(request.method for request in recorded.requests) == {"GET": 2, "PUT": 1}


@pytest.mark.parametrize(
    ("encryption", "headers"),
    [
        (Encryption("AES256"), {"x-amz-server-side-encryption": "AES256"}),
        (
            Encryption("aws:kms", KMS_KEY),
            {
                "x-amz-server-side-encryption": "aws:kms",
                "x-amz-server-side-encryption-aws-kms-key-id": KMS_KEY,
            },
        ),
    ],
    ids=["SSE-S3", "SSE-KMS"],
)
def test_a_bucket_that_demands_encryption(
    recorded: Wire,
    bucket: str,
    minio: Minio,
    build_of: BuildOf,
    monkeypatch: pytest.MonkeyPatch,
    encryption: Encryption,
    headers: dict[str, str],
) -> None:
    arn = f"arn:aws:s3:::{bucket.removeprefix('s3://')}"
    allowed = {"Effect": "Allow", "Action": ["s3:*"], "Resource": [arn, f"{arn}/*"]}
    demands = [
        {
            "Effect": "Deny",
            "Action": ["s3:PutObject"],
            "Resource": [f"{arn}/*"],
            "Condition": {"StringNotEquals": {f"s3:{name}": value}},
        }
        for name, value in headers.items()
    ]
    for name, value in minio.session(allowed, *demands).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(
        AccessError, match="where the bucket demands encryption, set CNN_IMAGE_STORE_ENCRYPTION"
    ):
        open_store(bucket).blobs.put_if_absent("key", b"")

    store = open_store(f"{bucket}/prefix", encryption)
    recorded.requests.clear()
    write_everything(store, build_of)
    for request in recorded.puts():
        sent = {name.lower(): value for name, value in request.headers.items()}
        assert headers.items() <= sent.items(), request.path
    assert isinstance(store.blobs, S3Blobs)
    for key in store.blobs.list(""):
        assert store.blobs.encryption_of(key).startswith(encryption.algorithm)


def test_another_encryption_than_the_bucket_demands(
    bucket: str, minio: Minio, monkeypatch: pytest.MonkeyPatch
) -> None:
    arn = f"arn:aws:s3:::{bucket.removeprefix('s3://')}/*"
    only_kms = {"StringEquals": {"s3:x-amz-server-side-encryption": "aws:kms"}}
    may = {"Effect": "Allow", "Action": ["s3:PutObject"], "Resource": [arn], "Condition": only_kms}
    for name, value in minio.session(may).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(
        AccessError, match=r"s3:PutObject on it, with AES256; or set the encryption that the buc"
    ):
        open_store(bucket, Encryption("AES256")).blobs.put_if_absent("key", b"")


def test_a_key_that_is_not_there(bucket: str) -> None:
    blobs = open_store(bucket, Encryption("aws:kms", "missing")).blobs
    with pytest.raises(
        StoreError, match=r"key of s3://.* cannot be used \(.*does not exist\); ask the key's own"
    ):
        blobs.put_if_absent("key", b"")


def test_an_s3_that_cannot_encrypt(start_minio: StartMinio, monkeypatch: pytest.MonkeyPatch) -> None:
    minio = start_minio(kms=False)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in minio.environment().items():
        monkeypatch.setenv(name, value)
    blobs = open_store(f"s3://{minio.make_bucket()}", Encryption("AES256")).blobs
    with pytest.raises(StoreError, match=r"KMS is not configured.*; ask its owner for a KMS there, or leave"):
        blobs.put_if_absent("key", b"")


def test_a_folder_is_not_encrypted(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"CNN_IMAGE_STORE_ENCRYPTION is for an s3:// address"):
        open_store(str(tmp_path), Encryption("AES256"))


def test_a_bucket_with_object_lock(recorded: Wire, minio: Minio, build_of: BuildOf) -> None:
    name = minio.make_bucket(ObjectLockEnabledForBucket=True)
    blobs = open_store(f"s3://{name}").blobs
    assert isinstance(blobs, S3Blobs)
    assert blobs.retention() == "nothing unless asked"
    rule = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 2}}
    minio.client().put_object_lock_configuration(
        Bucket=name, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule}
    )
    assert blobs.retention() == "GOVERNANCE for 2 days"
    recorded.decide = demanding_a_checksum
    store = Store(blobs)
    write_everything(store, build_of)
    store.delete(1)
    assert store.numbers() == []
    # Its number is not used again, though what lies under the lock is only hidden.
    assert store.publish(build_of(b"another")).version == 2
