"""The doctor's look at an S3: encryption, lock, session and rights, tried on a real one and broken once."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from minio_server import KMS_KEY, Minio
from s3_wire import Answer, Request, Wire, refusal, wire

from export.errors import AccessError, ExportError, SessionError, StoreError
from export.store.s3 import Encryption
from export.store.versions import open_store
from jobs.errors import Exit, FaultError, MistakeError, exit_code
from jobs.settings import load_settings
from jobs.store_doctor import store_links
from model.data.remote import s3_client

pytestmark = pytest.mark.slow


def look(bucket: str, link: str, encryption: Encryption | None = None) -> str:
    return store_links(open_store(f"{bucket}/store", encryption))[f"store, {link}"]()


@pytest.fixture
def become(bucket: str, minio: Minio, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Takes a session that may do some things."""

    def become(*actions: str) -> None:
        arn = f"arn:aws:s3:::{bucket.removeprefix('s3://')}"
        may = {"Effect": "Allow", "Action": list(actions), "Resource": [arn, f"{arn}/*"]}
        for name, value in minio.session(may).items():
            monkeypatch.setenv(name, value)

    return become


@pytest.fixture
def amazon(minio: Minio, bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    """MinIO, which refuses what the test says as Amazon would."""
    monkeypatch.setattr(s3_client, "_ATTEMPTS", 1)
    with wire(minio.port) as found:
        monkeypatch.setenv("AWS_ENDPOINT_URL", found.url)
        yield found


def test_nothing_is_left_of_the_look(bucket: str, minio: Minio) -> None:
    for link in ("session", "reading", "writing", "lock"):
        look(bucket, link)
    assert "Contents" not in minio.client().list_objects_v2(Bucket=bucket.removeprefix("s3://"))


def test_a_folder_has_neither_session_nor_lock(tmp_path: Path) -> None:
    links = store_links(open_store(str(tmp_path)))
    assert links.keys() == {"store, reading", "store, writing", "store, way back"}
    assert links["store, writing"]().endswith("an object was written, read, replaced, listed and removed")


@pytest.mark.parametrize(
    ("encryption", "text"),
    [
        (None, "an object was written, read,"),
        (Encryption("AES256"), "an object was written, encrypted with AES256, read,"),
        (Encryption("aws:kms", KMS_KEY), f"encrypted with aws:kms and the key arn:aws:kms:{KMS_KEY}, read,"),
    ],
    ids=["none", "SSE-S3", "SSE-KMS"],
)
def test_how_an_object_lies_there(bucket: str, encryption: Encryption | None, text: str) -> None:
    assert text in look(bucket, "writing", encryption)


def test_a_key_that_cannot_be_used(bucket: str) -> None:
    with pytest.raises(StoreError, match=r"encryption key of .* cannot be used .*; ask the key's owner"):
        look(bucket, "writing", Encryption("aws:kms", "missing"))


def test_an_s3_that_takes_the_wish_and_does_not_encrypt(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # As if the S3 did not know the header.
    monkeypatch.setattr(Encryption, "parameters", {})
    with pytest.raises(MistakeError, match=r"did not encrypt it with AES256 as it was asked: ask its owner"):
        look(bucket, "writing", Encryption("AES256"))


def test_every_right_that_is_missing_is_named_at_once(bucket: str, become: Callable[..., None]) -> None:
    become("s3:PutObject", "s3:GetObject")
    with pytest.raises(MistakeError) as caught:
        look(bucket, "writing")
    assert "s3:ListBucket on the bucket" in str(caught.value)
    assert "s3:DeleteObject on it, which prune needs" in str(caught.value)
    with pytest.raises(AccessError, match="s3:ListBucket"):
        look(bucket, "reading")


@pytest.mark.parametrize("missing", ["s3:GetObject", "s3:PutObject", "s3:ListBucket", "s3:DeleteObject"])
def test_a_right_that_is_missing(bucket: str, become: Callable[..., None], missing: str) -> None:
    become(*{"s3:GetObject", "s3:PutObject", "s3:ListBucket", "s3:DeleteObject"} - {missing})
    with pytest.raises(ExportError, match=f"ask the bucket's owner .* allow it in their policy: {missing}"):
        look(bucket, "writing")


def test_a_lock(bucket: str, minio: Minio, become: Callable[..., None]) -> None:
    assert look(bucket, "lock").startswith("none; each write carries Content-MD5")
    name = minio.make_bucket(ObjectLockEnabledForBucket=True)
    rule = {"DefaultRetention": {"Mode": "COMPLIANCE", "Years": 1}}
    minio.client().put_object_lock_configuration(
        Bucket=name, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule}
    )
    assert look(f"s3://{name}", "lock").startswith("it keeps COMPLIANCE for 1 year: what prune removes is")
    become("s3:ListBucket")
    assert "s3:GetBucketObjectLockConfiguration" in look(bucket, "lock")


def test_sessions(bucket: str, become: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    assert look(bucket, "session") == "a key that lasts, from env"
    become("s3:*")
    assert look(bucket, "session").startswith("a session from env, without a date, which nothing renews")
    later = datetime.now(UTC) + timedelta(hours=3)
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", later.isoformat())
    assert f"a session from env until {later:%Y-%m-%d %H:%M} UTC, which nothing renews" in look(
        bucket, "session"
    )
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", "2026-01-01T00:00:00Z")
    with pytest.raises((SessionError, FaultError), match="renew") as caught:
        look(bucket, "session")
    assert exit_code(caught.value) == Exit.FAULT


def test_a_session_that_ended(bucket: str, amazon: Wire) -> None:
    amazon.decide = lambda request: refusal(400, "ExpiredToken", "The provided token has expired.")
    for link in ("reading", "writing"):
        with pytest.raises(SessionError, match="renew the session"):
            look(bucket, link)


def test_a_proxy_that_takes_the_checksum_off(bucket: str, amazon: Wire) -> None:
    def decide(request: Request) -> Answer | None:
        lost = refusal(400, "InvalidRequest", "Content-MD5 OR x-amz-checksum- HTTP header is required")
        return lost if request.method == "PUT" else None

    amazon.decide = decide
    with pytest.raises(
        StoreError, match=r"InvalidRequest: Content-MD5 .* is required\); show this to its owner"
    ):
        look(bucket, "writing")


def test_settings_that_do_not_fit_together() -> None:
    with pytest.raises(
        MistakeError, match="CNN_IMAGE_STORE_KMS_KEY goes with CNN_IMAGE_STORE_ENCRYPTION=aws:kms"
    ):
        load_settings(store="s3://bucket", store_kms_key="key").open_store()
    with pytest.raises(MistakeError, match="--store-encryption is 'aws'"):
        load_settings(store_encryption="aws")
