"""Sessions: a real MinIO's temporary credentials, handed out as Amazon hands them out, renewed and ended."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from machine import wait_until
from minio_server import Minio
from s3_wire import Answer, Request, Wire, refusal, wire

from export.errors import SessionError
from export.store.blobs import Blobs
from export.store.lease import Lease
from export.store.s3 import S3Blobs
from export.store.versions import open_store
from jobs.errors import Exit, exit_code
from model.data.remote import s3_client

pytestmark = pytest.mark.slow

ROLE = "arn:aws:iam::111122223333:role/train"
EVERYTHING = {"Effect": "Allow", "Action": ["s3:*"], "Resource": ["arn:aws:s3:::*"]}


class Giver:
    """Hands out a new session of MinIO's at each request, to be renewed soon, as botocore asks for them.

    Attributes:
        given: Access keys, in order.
        tokens: The web identities that were shown.
    """

    def __init__(self, minio: Minio) -> None:
        self._minio = minio
        self.given: list[str] = []
        self.tokens: list[str] = []

    def __call__(self, request: Request) -> Answer | None:
        if request.path == "/latest/api/token":
            return Answer(200, b"imds", "text/plain")
        if request.path == "/latest/meta-data/iam/security-credentials/":
            return Answer(200, b"train", "text/plain")
        session = self._minio.session(EVERYTHING)
        self.given.append(session["AWS_ACCESS_KEY_ID"])
        # Within ten minutes of its end botocore renews a session before each request.
        soon = (datetime.now(UTC) + timedelta(minutes=5)).strftime("%Y-%m-%dT%H:%M:%SZ")
        if request.method == "POST":
            asked = parse_qs(request.body.decode())
            assert asked["Action"] == ["AssumeRoleWithWebIdentity"]
            assert asked["RoleArn"] == [ROLE]
            self.tokens += asked["WebIdentityToken"]
            return Answer(200, _STS.format(soon=soon, **session).encode(), "text/xml")
        found = {
            "Code": "Success",
            "AccessKeyId": session["AWS_ACCESS_KEY_ID"],
            "SecretAccessKey": session["AWS_SECRET_ACCESS_KEY"],
            "Token": session["AWS_SESSION_TOKEN"],
            "Expiration": soon,
        }
        return Answer(200, json.dumps(found).encode(), "application/json")


_STS = (
    '<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
    "<AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>{AWS_ACCESS_KEY_ID}</AccessKeyId>"
    "<SecretAccessKey>{AWS_SECRET_ACCESS_KEY}</SecretAccessKey><SessionToken>{AWS_SESSION_TOKEN}</SessionToken>"
    "<Expiration>{soon}</Expiration></Credentials></AssumeRoleWithWebIdentityResult>"
    "<ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></AssumeRoleWithWebIdentityResponse>"
)


@pytest.fixture
def giver(minio: Minio) -> Giver:
    return Giver(minio)


@pytest.fixture
def service(giver: Giver, bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    """What hands out sessions; the environment has no credentials of its own."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with wire(decide=giver) as found:
        yield found


def used_key(wire: Wire) -> str:
    """The access key of the last request."""
    return wire.requests[-1].headers["Authorization"].partition("Credential=")[2].partition("/")[0]


def renewed(blobs: Blobs, minio: Minio, giver: Giver) -> None:
    """A client that lives for long signs each request with the session that is new then."""
    assert isinstance(blobs, S3Blobs)
    blobs.put_if_absent("first", b"")
    first = giver.given[-1]
    assert blobs.get("first") == b""
    assert giver.given[-1] != first
    who = blobs.identity()
    assert (who.temporary, who.renews) == (True, True)
    assert who.expires is not None
    assert who.expires > datetime.now(UTC)


def test_a_web_identity_is_shown_anew_and_renews_the_session(
    bucket: str, minio: Minio, giver: Giver, service: Wire, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("of the first hour")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", service.url)
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token))
    monkeypatch.setenv("AWS_ROLE_ARN", ROLE)
    blobs = open_store(bucket).blobs
    renewed(blobs, minio, giver)
    token.write_text("of the second hour")  # the kubelet changes it
    blobs.get("first")
    assert giver.tokens[0] == "of the first hour"
    assert giver.tokens[-1] == "of the second hour"
    assert blobs.identity().source == "assume-role-with-web-identity"  # type: ignore[attr-defined]


def test_an_instance_role_renews_the_session(
    bucket: str, minio: Minio, giver: Giver, service: Wire, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", service.url)
    blobs = open_store(bucket).blobs
    blobs.put_if_absent("first", b"")
    assert isinstance(blobs, S3Blobs)
    who = blobs.identity()
    assert (who.source, who.temporary, who.renews) == ("iam-role", True, True)


def test_a_pod_identity_renews_the_session(
    bucket: str, minio: Minio, giver: Giver, service: Wire, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{service.url}/v1/credentials")
    blobs = open_store(bucket).blobs
    renewed(blobs, minio, giver)
    assert blobs.identity().source == "container-role"  # type: ignore[attr-defined]


def test_a_session_from_a_secret_works_and_is_known(
    bucket: str, minio: Minio, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in minio.session(EVERYTHING).items():
        monkeypatch.setenv(name, value)
    blobs = open_store(bucket).blobs
    blobs.put_if_absent("key", b"kept")
    assert blobs.get("key") == b"kept"
    assert isinstance(blobs, S3Blobs)
    who = blobs.identity()
    assert (who.source, who.temporary, who.renews, who.expires) == ("env", True, False, None)


def test_a_session_that_ends_in_a_long_job_is_no_lost_race(
    bucket: str, minio: Minio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training holds its lease for hours; the session ends before it does."""
    monkeypatch.setattr(s3_client, "_ATTEMPTS", 1)
    for name, value in minio.session(EVERYTHING).items():
        monkeypatch.setenv(name, value)
    ended = threading.Event()

    def decide(request: Request) -> Answer | None:
        return refusal(400, "ExpiredToken", "The provided token has expired.") if ended.is_set() else None

    with wire(minio.port, decide) as amazon:
        monkeypatch.setenv("AWS_ENDPOINT_URL", amazon.url)
        with Lease(open_store(bucket).blobs, "retrain", holder="me", seconds=0.5) as lease:
            lease.check()
            ended.set()
            wait_until(lease.lost.is_set, "the loss of the lease")
            with pytest.raises(
                SessionError, match=r"session .* has ended at .*; renew the session"
            ) as caught:
                lease.check()
    assert exit_code(caught.value) == Exit.FAULT
