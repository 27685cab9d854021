"""Each fault of an S3 or of the way to it has its own sentence, tried on a real MinIO."""

import contextlib
import datetime
import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import botocore.auth
import pytest
from minio_server import Minio, StartMinio, minios

from export.errors import (
    AccessError,
    BucketError,
    ClockSkewError,
    CredentialsError,
    StoreError,
    TlsError,
    UnreachableError,
)
from export.store.versions import open_store
from model.data.remote import s3_client

pytestmark = pytest.mark.slow


@pytest.fixture
def patient_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """One attempt in place of four, and a second in place of fifteen: these tests wait for failures."""
    monkeypatch.setattr(s3_client, "_ATTEMPTS", 1)
    monkeypatch.setattr(s3_client, "_TIMEOUTS", {"connect_timeout": 1, "read_timeout": 1})


def both(place: str) -> list[Callable[[], object]]:
    """A reading and a writing call."""
    return [lambda: open_store(place).numbers(), lambda: open_store(place).blobs.put_if_absent("key", b"")]


def expect(place: str, kind: type[StoreError], sentence: str) -> None:
    for call in both(place):
        with pytest.raises(kind, match=sentence) as caught:
            call()
        assert type(caught.value) is kind
        assert "\n" not in str(caught.value)


def test_an_unknown_access_key(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    expect(
        bucket, CredentialsError, r"http://127\.0\.0\.1:\d+ does not know the access key .*AWS_ACCESS_KEY_ID"
    )


def test_a_wrong_secret(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret")
    expect(bucket, CredentialsError, "refuses the signature .*AWS_SECRET_ACCESS_KEY")


def test_no_credentials_at_all(bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    expect(bucket, CredentialsError, r"There are no credentials for s3://.*; set AWS_ACCESS_KEY_ID")


def test_a_profile_that_is_not_there(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "missing")
    expect(bucket, CredentialsError, r"no credentials .*profile \(missing\)")


def test_a_wrong_bucket(bucket: str) -> None:
    expect(
        f"{bucket}-other/prefix",
        BucketError,
        r"There is no bucket for s3://.*-other/prefix at http://.*make it",
    )


def test_a_bucket_without_a_possible_name(bucket: str) -> None:
    expect(
        "s3://A_B!/prefix",
        StoreError,
        "address s3://A_B!/prefix or the AWS_. variables make no sense .*bucket name",
    )


def test_a_clock_that_is_wrong(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def late(remove_tzinfo: bool = True) -> datetime.datetime:
        now = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=2)
        return now.replace(tzinfo=None) if remove_tzinfo else now

    monkeypatch.setattr(botocore.auth, "get_current_datetime", late)
    expect(bucket, ClockSkewError, "This machine's clock is .* the one of the S3 at http://.*; set it by NTP")


def test_a_right_that_is_missing(bucket: str, minio: Minio, monkeypatch: pytest.MonkeyPatch) -> None:
    # Temporary credentials with a policy of their own, which MinIO gives to any user
    open_store(bucket).blobs.put_if_absent("there", b"")
    name = bucket.removeprefix("s3://")
    statement = {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": [f"arn:aws:s3:::{name}/*"]}
    limited = boto3.client("sts", region_name="us-east-1").assume_role(
        RoleArn="arn:minio:iam:::role/any",
        RoleSessionName="limited",
        Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
    )["Credentials"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", limited["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", limited["SecretAccessKey"])
    monkeypatch.setenv("AWS_SESSION_TOKEN", limited["SessionToken"])
    blobs = open_store(bucket).blobs
    assert blobs.get("there") == b""
    with pytest.raises(AccessError, match=r"may not do ListObjectsV2 on 'versions/' in s3://.*allow it"):
        open_store(bucket).numbers()
    with pytest.raises(AccessError, match="may not do PutObject on 'key'"):
        blobs.put_if_absent("key", b"")
    with pytest.raises(AccessError, match="may not do DeleteObject on 'there'"):
        blobs.delete("there")


def test_nobody_listens(bucket: str, monkeypatch: pytest.MonkeyPatch, patient_no_more: None) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{probe.getsockname()[1]}")
        expect(
            bucket, UnreachableError, r"does not answer \(EndpointConnectionError\); check AWS_ENDPOINT_URL"
        )


def test_a_name_that_is_none(bucket: str, monkeypatch: pytest.MonkeyPatch, patient_no_more: None) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://minio.invalid:9000")
    expect(bucket, UnreachableError, r"http://minio\.invalid:9000 does not answer")


def test_somebody_listens_and_says_nothing(
    bucket: str, monkeypatch: pytest.MonkeyPatch, patient_no_more: None
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        expect(bucket, UnreachableError, r"does not answer \(ReadTimeoutError\)")


def test_an_s3_that_says_nothing_is_asked_no_more_often_than_one_that_is_away(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_client, "_TIMEOUTS", {"connect_timeout": 1, "read_timeout": 0.05})
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        store = open_store(bucket)
        for call in (store.numbers, lambda: store.blobs.get("key")):
            with pytest.raises(UnreachableError):
                call()
        silent.setblocking(False)
        asked = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                silent.accept()[0].close()
                asked += 1
    assert asked == 2 * 4


def test_an_address_that_is_none(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "minio:9000")
    expect(bucket, StoreError, r"make no sense \(.*minio:9000\)")


def test_a_store_that_comes_back_is_used_again(
    start_minio: StartMinio, monkeypatch: pytest.MonkeyPatch, patient_no_more: None
) -> None:
    minio = start_minio()
    for name, value in minio.environment().items():
        monkeypatch.setenv(name, value)
    store = open_store(f"s3://{minio.make_bucket()}")
    store.blobs.put_if_absent("key", b"kept")
    minio.stop()
    with pytest.raises(UnreachableError):
        store.blobs.get("key")
    minio.start()
    assert store.blobs.get("key") == b"kept"


@pytest.fixture(scope="module")
def tls_minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Minio]:
    with minios(tmp_path_factory) as start:
        yield start(tls=True)


@pytest.fixture
def tls_bucket(tls_minio: Minio, monkeypatch: pytest.MonkeyPatch, patient_no_more: None) -> str:
    for name, value in tls_minio.environment().items():
        monkeypatch.setenv(name, value)
    return f"s3://{tls_minio.make_bucket()}"


def test_a_private_authority_is_trusted_when_named(tls_bucket: str) -> None:
    blobs = open_store(tls_bucket).blobs
    blobs.put_if_absent("key", b"over TLS")
    assert blobs.get("key") == b"over TLS"


def test_a_private_authority_that_is_not_named(tls_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_CA_BUNDLE")
    expect(tls_bucket, TlsError, r"certificate of the S3 at https://.* is refused \(.*\); .*AWS_CA_BUNDLE")


def test_a_certificate_of_another_name(
    tls_bucket: str, tls_minio: Minio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"https://localhost:{tls_minio.port}")
    expect(
        tls_bucket,
        TlsError,
        r"is for another name \(.*hostname 'localhost' doesn't match .*'127\.0\.0\.1'.*\)",
    )


def test_an_authority_that_is_no_file(
    tls_bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "missing.pem"))
    expect(tls_bucket, TlsError, "The file that AWS_CA_BUNDLE names holds no certificate")
    (tmp_path / "missing.pem").write_text("no certificate")
    expect(tls_bucket, TlsError, "The file that AWS_CA_BUNDLE names holds no certificate")


def test_http_to_a_server_of_https(
    tls_bucket: str, tls_minio: Minio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{tls_minio.port}")
    # MinIO sometimes says what is wrong, and sometimes hangs up before that is read
    with pytest.raises(
        UnreachableError, match=r"speaks TLS; write https://|write https:// .* if it speaks TLS"
    ):
        open_store(tls_bucket).numbers()


def test_https_to_an_http_server(bucket: str, minio: Minio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_client, "_ATTEMPTS", 1)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"https://127.0.0.1:{minio.port}")
    expect(bucket, TlsError, "does not speak TLS; write http://")
