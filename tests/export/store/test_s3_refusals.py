"""What Amazon refuses with, in its own words: one sentence each, with its reason and whom to ask."""

import os
from collections.abc import Callable, Iterator

import pytest
from s3_wire import Answer, Request, Wire, refusal, wire

from export.errors import (
    AbsentError,
    AccessError,
    BucketError,
    CredentialsError,
    ExportError,
    SessionError,
    StoreError,
    UnreachableError,
)
from export.store.blobs import Blobs
from export.store.s3 import Encryption
from export.store.versions import open_store
from jobs.errors import Exit, exit_code
from model.data.remote import s3_client

ROLE = "arn:aws:sts::111122223333:assumed-role/train/1"
OBJECT = "arn:aws:s3:::models/key"
KEY = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd"

REFUSALS = {
    "right": (
        refusal(
            403,
            "AccessDenied",
            f'User: {ROLE} is not authorized to perform: s3:PutObject on "{OBJECT}" because '
            "no identity-based policy allows the s3:PutObject action",
        ),
        AccessError,
        r"may not do PutObject on 'key' in s3://models/cnn-image \(AccessDenied: User: .* because no "
        r"identity-based policy allows the s3:PutObject action\); ask the bucket's owner .* allow it in "
        "their policy: s3:PutObject on it; or, where the bucket demands encryption, set CNN_IMAGE_STORE_ENC",
    ),
    "right to the key": (
        refusal(
            403,
            "AccessDenied",
            f"User: {ROLE} is not authorized to perform: kms:GenerateDataKey on resource: {KEY} because "
            "no resource-based policy allows the kms:GenerateDataKey action",
        ),
        AccessError,
        r"may not use the encryption key of s3://models/cnn-image \(.*kms:GenerateDataKey on resource: .*\);"
        " ask the key's owner to allow kms:Decrypt and kms:GenerateDataKey on it",
    ),
    "key of another account": (
        refusal(
            403,
            "AccessDenied",
            "The ciphertext refers to a customer master key that does not exist, does not exist in this "
            "region, or you are not allowed to access.",
        ),
        AccessError,
        r"may not use the encryption key .*\(.*customer master key that .*\); ask the key's owner to allow",
    ),
    "key disabled": (
        refusal(400, "KMS.DisabledException", f"{KEY} is disabled."),
        StoreError,
        r"key of s3://models/cnn-image cannot be used \(KMS.DisabledException: .* is disabled\); ask the",
    ),
    "key unknown": (
        refusal(400, "KMS.NotFoundException", f"Key '{KEY}' does not exist"),
        StoreError,
        r"KMS.NotFoundException: Key '.*' does not exist\); ask .* another in CNN_IMAGE_STORE_KMS_KEY",
    ),
    "key being deleted": (
        refusal(400, "KMS.KMSInvalidStateException", f"{KEY} is pending deletion."),
        StoreError,
        "KMS.KMSInvalidStateException: .* is pending deletion",
    ),
    "session ended": (
        refusal(400, "ExpiredToken", "The provided token has expired."),
        SessionError,
        r"session of these temporary credentials has ended at .* \(ExpiredToken: The provided token has "
        r"expired\); renew the session",
    ),
    "session to be refreshed": (
        refusal(400, "TokenRefreshRequired", "The provided token must be refreshed."),
        SessionError,
        "renew the session",
    ),
    "wrong token": (
        refusal(400, "InvalidToken", "The provided token is malformed or otherwise invalid."),
        CredentialsError,
        r"does not take the session token \(InvalidToken: .* malformed .*\); renew the session, and set",
    ),
    "unknown key": (
        refusal(
            403,
            "InvalidAccessKeyId",
            "The AWS Access Key Id you provided does not exist in our records.",
            AWSAccessKeyId="AKIAEXAMPLE",
        ),
        SessionError,  # of a session: MinIO has forgotten it
        r"has ended at .* \(InvalidAccessKeyId: .*\); renew the session",
    ),
    "wrong secret": (
        refusal(403, "SignatureDoesNotMatch", "The request signature we calculated does not match."),
        CredentialsError,
        r"refuses the signature \(SignatureDoesNotMatch\); check AWS_SECRET_ACCESS_KEY and AWS_REGION",
    ),
    "wrong region": (
        refusal(
            400,
            "AuthorizationHeaderMalformed",
            "The authorization header is malformed; the region is wrong; expecting 'eu-central-1'",
            Region="eu-central-1",
        ),
        BucketError,
        r"is in another region than .* \(.*expecting 'eu-central-1'\); set AWS_REGION=eu-central-1\.$",
    ),
    "another endpoint": (
        refusal(
            301,
            "PermanentRedirect",
            "The bucket you are attempting to access must be addressed using the specified endpoint.",
            Endpoint="s3.eu-central-1.amazonaws.com",
            Bucket="models",
        ),
        BucketError,
        "is in another region than .* set AWS_REGION",
    ),
    "no bucket": (
        refusal(404, "NoSuchBucket", "The specified bucket does not exist", BucketName="models"),
        BucketError,
        "There is no bucket for s3://models/cnn-image at .*; make it",
    ),
    "account": (
        refusal(
            403, "AccountProblem", "There is a problem with your AWS account that prevents the operation."
        ),
        AccessError,
        r"account of s3://models/cnn-image is closed to everyone \(AccountProblem: There is .*\); ask",
    ),
    "all access off": (
        refusal(403, "AllAccessDisabled", "All access to this object has been disabled."),
        AccessError,
        "closed to everyone .*AllAccessDisabled",
    ),
    "forbidden to all": (
        refusal(405, "MethodNotAllowed", "The specified method is not allowed against this resource."),
        AccessError,
        "allows nobody PutObject on 'key' .* ask its owner whether a lock or a gateway forbids it",
    ),
    "lock without a checksum": (
        refusal(
            400,
            "InvalidRequest",
            "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object "
            "Lock parameters",
        ),
        StoreError,
        r"refused PutObject on 'key' in s3://models/cnn-image \(InvalidRequest: Content-MD5 .*\); show",
    ),
    "quota": (
        refusal(403, "QuotaExceeded", "The quota of the bucket is exceeded."),
        StoreError,
        r"no room left for 'key' .* \(QuotaExceeded: .*\); make room, or ask its owner to raise the quota",
    ),
    "too large": (
        refusal(400, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed size"),
        StoreError,
        "takes no object as large as 'key' .* raise that limit",
    ),
    "archived": (
        refusal(403, "InvalidObjectState", "The operation is not valid for the object's storage class"),
        StoreError,
        "was moved into an archive .* ask the bucket's owner to restore it",
    ),
    "busy": (
        refusal(503, "SlowDown", "Please reduce your request rate."),
        UnreachableError,
        r"cannot answer at present \(SlowDown\); try again later, and ask its owner",
    ),
    "slow": (
        refusal(
            400, "RequestTimeout", "Your socket connection to the server was not read from or written to."
        ),
        UnreachableError,
        r"cannot answer at present \(RequestTimeout\)",
    ),
    "garbled on its way": (
        refusal(400, "BadDigest", "The Content-MD5 you specified did not match what we received."),
        UnreachableError,
        "is not what was sent .* ask who runs the proxies",
    ),
    "no KMS": (
        refusal(501, "NotImplemented", "Server side encryption specified but KMS is not configured"),
        StoreError,
        "cannot encrypt as CNN_IMAGE_STORE_ENCRYPTION says .* ask its owner for a KMS",
    ),
    "no conditional writes": (
        refusal(
            501, "NotImplemented", "A header you provided implies functionality that is not implemented."
        ),
        StoreError,
        "does not know conditional writes",
    ),
    "a proxy that wants TLS": (
        Answer(
            301,
            b"<html><head><title>301 Moved Permanently</title></head><body><hr><center>nginx</body></html>",
            "text/html",
            {"Location": "https://s3.example.com/models/cnn-image/key"},
        ),
        StoreError,
        r"sends requests on to another address \(https://s3.example.com\); write that one in AWS_END",
    ),
    "anything else": (
        refusal(400, "SomethingNew", "Of\nseveral   lines."),
        StoreError,
        r"refused PutObject on 'key' in s3://models/cnn-image \(SomethingNew: Of several lines\); show",
    ),
}

WORTH_ANOTHER_TRY = {
    "session ended",
    "session to be refreshed",
    "unknown key",
    "busy",
    "slow",
    "garbled on its way",
}


@pytest.fixture(scope="module")
def amazon() -> Iterator[Wire]:
    with wire() as found:
        yield found


@pytest.fixture(scope="module")
def blobs(amazon: Wire) -> Iterator[Blobs]:
    """A store at the stand-in, with a session's credentials."""
    with pytest.MonkeyPatch.context() as patch:
        set_environment(amazon, patch)
        yield open_store("s3://models/cnn-image").blobs


@pytest.fixture(autouse=True)
def environment(amazon: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    set_environment(amazon, monkeypatch)


def set_environment(amazon: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(s3_client, "_ATTEMPTS", 1)
    monkeypatch.setenv("AWS_ENDPOINT_URL", amazon.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ASIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def refused(amazon: Wire, answer: Answer, blobs: Blobs) -> ExportError:
    """What a write ends with."""
    amazon.decide = lambda request: answer
    with pytest.raises(StoreError) as caught:
        blobs.put_if_absent("key", b"data")
    sentence = str(caught.value)
    assert sentence.endswith(".")
    assert "\n" not in sentence
    return caught.value


@pytest.mark.parametrize("name", REFUSALS)
def test_each_refusal_has_its_sentence(amazon: Wire, blobs: Blobs, name: str) -> None:
    answer, kind, sentence = REFUSALS[name]
    error = refused(amazon, answer, blobs)
    assert type(error) is kind
    with pytest.raises(kind, match=sentence):
        raise error
    assert exit_code(error) == (Exit.FAULT if name in WORTH_ANOTHER_TRY else Exit.MISTAKE)


def test_a_write_that_asks_for_encryption_says_which(amazon: Wire) -> None:
    denied = refusal(403, "AccessDenied", "Access Denied")
    encrypted = open_store("s3://models/cnn-image", Encryption("aws:kms", KEY)).blobs
    sentence = str(refused(amazon, denied, encrypted))
    assert f"s3:PutObject on it, with aws:kms and the key {KEY}; or set the encryption that the" in sentence


@pytest.mark.parametrize(
    ("call", "right"),
    [
        (
            lambda blobs: blobs.list("versions/"),
            "ListObjectsV2 .*: s3:ListBucket on the bucket, for this prefix",
        ),
        (lambda blobs: blobs.get("key"), "GetObject .*: s3:GetObject on it, and s3:ListBucket on"),
        (lambda blobs: blobs.delete("key"), "DeleteObject .*: s3:DeleteObject on it, which prune needs"),
    ],
    ids=["list", "get", "delete"],
)
def test_a_right_that_is_missing_is_named(
    amazon: Wire, blobs: Blobs, call: Callable[..., object], right: str
) -> None:
    amazon.decide = lambda request: refusal(403, "AccessDenied", "Access Denied")
    with pytest.raises(AccessError, match=right):
        call(blobs)


def test_a_session_whose_token_was_lost(amazon: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_SESSION_TOKEN")
    blobs = open_store("s3://models/cnn-image").blobs
    unknown = refusal(
        403, "InvalidAccessKeyId", "It does not exist in our records.", AWSAccessKeyId="ASIAEXAMPLE"
    )
    error = refused(amazon, unknown, blobs)
    assert type(error) is CredentialsError
    assert "belongs to temporary credentials; set their AWS_SESSION_TOKEN too" in str(error)
    lasting = refusal(
        403, "InvalidAccessKeyId", "It does not exist in our records.", AWSAccessKeyId="AKIAEXAMPLE"
    )
    assert "does not know the access key (InvalidAccessKeyId); check AWS_ACCESS_KEY_ID" in str(
        refused(amazon, lasting, blobs)
    )


def sts(amazon: Wire, status: int, code: str, message: str) -> str:
    """What a write ends with where the token service refuses; Amazon's STS writes errors of another form."""
    body = (
        '<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>'
        f"<Code>{code}</Code><Message>{message}</Message></Error><RequestId>1</RequestId></ErrorResponse>"
    )

    def decide(request: Request) -> Answer | None:
        return Answer(status, body.encode(), "text/xml") if request.method == "POST" else None

    amazon.decide = decide
    with pytest.raises(StoreError) as caught:
        open_store("s3://models/cnn-image").blobs.put_if_absent("key", b"data")
    return f"{type(caught.value).__name__} {caught.value}"


def test_what_a_token_service_refuses_with(
    amazon: Wire, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    token = tmp_path_factory.mktemp("identity") / "token"
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token))
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::111122223333:role/train")
    sentence = sts(amazon, 403, "AccessDenied", "none")
    assert "CredentialsError The token that AWS_WEB_IDENTITY_TOKEN_FILE names cannot be read" in sentence
    token.write_text("a token")
    sentence = sts(amazon, 403, "AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity")
    assert (
        "AccessError This identity may not take its role (AssumeRoleWithWebIdentity: AccessDenied: Not"
        in sentence
    )
    assert "ask the role's owner to name it in the role's trust policy" in sentence
    sentence = sts(amazon, 400, "ExpiredTokenException", "Token expired: current date/time must be before")
    assert "SessionError The session of these temporary credentials has ended" in sentence
    sentence = sts(amazon, 400, "InvalidIdentityToken", "No OpenIDConnect provider found in your account")
    assert "CredentialsError No session is given to this identity" in sentence
    assert "No OpenIDConnect provider found in your account" in sentence


def test_a_session_whose_date_has_passed_sends_nothing(amazon: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", "2026-01-01T00:00:00Z")
    amazon.requests.clear()
    with pytest.raises(SessionError, match="renew the session"):
        open_store("s3://models/cnn-image").blobs.get("key")
    assert amazon.requests == []


NOT_AN_S3 = Answer(404, b"404 page not found\n")
"""What a MinIO says until it is up, and any web server by a mistyped address."""


@pytest.mark.parametrize("said", [refusal(403, "AccessDenied", "Access Denied"), NOT_AN_S3])
def test_an_absent_object_is_absent_by_the_listing(amazon: Wire, blobs: Blobs, said: Answer) -> None:
    """Amazon forbids one where s3:ListBucket is allowed for a prefix alone."""
    listing = (
        '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><IsTruncated>false</IsTruncated>'
        "<Contents><Key>cnn-image/there</Key><Size>1</Size></Contents></ListBucketResult>"
    )

    def decide(request: Request) -> Answer:
        return Answer(200, listing.encode()) if "list-type=2" in request.path else said

    amazon.decide = decide
    with pytest.raises(AbsentError, match="There is no absent in"):
        blobs.read("absent")
    kind = UnreachableError if said is NOT_AN_S3 else AccessError
    with pytest.raises(kind, match="GetObject"):
        blobs.read("there")


def test_what_is_no_s3_is_no_empty_store(amazon: Wire, blobs: Blobs) -> None:
    amazon.decide = lambda request: NOT_AN_S3
    sentence = r"does not answer GetObject as an S3 does \(404, and no reason\); check AWS_ENDPOINT_URL"
    with pytest.raises(UnreachableError, match=sentence):
        blobs.read("champion.json")
    with pytest.raises(UnreachableError, match="does not answer PutObject as an S3 does"):
        blobs.put_if_absent("key", b"data")
