"""What an S3 refuses with, code by code: what is at fault, and a sentence that says what to ask for.

The codes are Amazon's (Amazon S3 API Reference, "Error responses") and, with XMinio, MinIO's.
"""

from typing import Final, Literal

Kind = Literal["access", "bucket", "clock", "credentials", "proxy", "session", "tls", "unreachable", "other"]
"""What is at fault; `other` is what none of the names fits."""

Answer = tuple[Kind, str]
"""A kind, and a sentence to be filled in with what `model.data.remote.s3_errors` knows of the request."""

UNKNOWN_KEY: Final[Answer] = (
    "credentials",
    "The S3 at {endpoint} does not know the access key ({code}); check AWS_ACCESS_KEY_ID or the profile, or"
    " ask its owner whether the key was switched off.",
)
LOST_TOKEN: Final[Answer] = (
    "credentials",
    "The S3 at {endpoint} does not know the access key ({code}), for it belongs to temporary credentials; set"
    " their AWS_SESSION_TOKEN too.",
)
WRONG_TOKEN: Final[Answer] = (
    "credentials",
    "The S3 at {endpoint} does not take the session token ({why}); renew the session, and set"
    " AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN of the same one.",
)
ENDED: Final[Answer] = (
    "session",
    "The session of these temporary credentials has ended at {endpoint} ({why}); renew the session (log in"
    " again, or put new AWS_* values into the Secret), then start again.",
)
FORBIDDEN: Final[Answer] = (
    "access",
    "These credentials may not do {operation} on {what!r} in {url} ({why}); ask the bucket's owner at"
    " {endpoint} to allow it in their policy: {right}.",
)
KEY_FORBIDDEN: Final[Answer] = (
    "access",
    "These credentials may not use the encryption key of {url} ({why}); ask the key's owner to allow"
    " {right} on it.",
)
NO_ROLE: Final[Answer] = (
    "access",
    "This identity may not take its role ({operation}: {why}); ask the role's owner to name it in the role's"
    " trust policy, for a pod by the namespace and name of its ServiceAccount.",
)
NO_SESSION: Final[Answer] = (
    "credentials",
    "No session is given to this identity ({operation}: {why}); ask the account's owner to mend its role,"
    " its identity provider and its token.",
)
NO_ENCRYPTION: Final[Answer] = (
    "other",
    "The S3 at {endpoint} cannot encrypt as CNN_IMAGE_STORE_ENCRYPTION says ({why}); ask its owner for a KMS"
    " there, or leave the setting out.",
)
REDIRECTED: Final[Answer] = (
    "other",
    "{endpoint} sends requests on to another address ({location}); write that one in AWS_ENDPOINT_URL.",
)
REFUSED: Final[Answer] = (
    "other",
    "The S3 at {endpoint} refused {operation} on {what!r} in {url} ({why}); show this to its owner.",
)

_BAD_SIGNATURE: Final[Answer] = (
    "credentials",
    "The S3 at {endpoint} refuses the signature ({code}); check AWS_SECRET_ACCESS_KEY and AWS_REGION.",
)
_ELSEWHERE: Final[Answer] = (
    "bucket",
    "The bucket of {url} is in another region than {endpoint} serves ({why}); set AWS_REGION{region}.",
)
_FULL: Final[Answer] = (
    "other",
    "The S3 at {endpoint} has no room left for {what!r} in {url} ({why}); make room, or ask its owner to"
    " raise the quota.",
)
_BUSY: Final[Answer] = (
    "unreachable",
    "The S3 at {endpoint} cannot answer at present ({code}); try again later, and ask its owner if it stays"
    " so.",
)
_GARBLED: Final[Answer] = (
    "unreachable",
    "What the S3 at {endpoint} got of {what!r} is not what was sent ({why}); try again, and ask who runs the"
    " proxies in between if it stays so.",
)
_ACCOUNT: Final[Answer] = (
    "access",
    "The account of {url} is closed to everyone ({why}); ask its owner to settle it with who runs"
    " {endpoint}.",
)
KEY_BROKEN: Final[Answer] = (
    "other",
    "The encryption key of {url} cannot be used ({why}); ask the key's owner to enable it, or name another"
    " in CNN_IMAGE_STORE_KMS_KEY.",
)

ANSWERS: Final[dict[str, Answer]] = {
    "InvalidAccessKeyId": UNKNOWN_KEY,
    "InvalidToken": WRONG_TOKEN,
    "InvalidTokenId": WRONG_TOKEN,
    "ExpiredToken": ENDED,
    "ExpiredTokenException": ENDED,
    "RequestExpired": ENDED,
    "TokenRefreshRequired": ENDED,
    "SignatureDoesNotMatch": _BAD_SIGNATURE,
    "RequestTimeTooSkewed": (
        "clock",
        "This machine's clock is {skew} the one of the S3 at {endpoint}; set it by NTP.",
    ),
    "NoSuchBucket": (
        "bucket",
        "There is no bucket for {url} at {endpoint}; make it, or check its name and AWS_ENDPOINT_URL.",
    ),
    "AccessDenied": FORBIDDEN,
    "403": FORBIDDEN,
    "AccountProblem": _ACCOUNT,
    "AllAccessDisabled": _ACCOUNT,
    "NotSignedUp": _ACCOUNT,
    "AuthorizationHeaderMalformed": _ELSEWHERE,
    "IllegalLocationConstraintException": _ELSEWHERE,
    "PermanentRedirect": _ELSEWHERE,
    "301": _ELSEWHERE,
    "XMinioStorageFull": _FULL,
    "XMinioAdminBucketQuotaExceeded": _FULL,
    "QuotaExceeded": _FULL,
    "507": _FULL,
    "EntityTooLarge": (
        "other",
        "The S3 at {endpoint} takes no object as large as {what!r} in {url} ({why}); ask its owner, or who"
        " runs a proxy in front of it, to raise that limit.",
    ),
    "MethodNotAllowed": (
        "access",
        "The S3 at {endpoint} allows nobody {operation} on {what!r} in {url} ({why}); ask its owner whether a"
        " lock or a gateway forbids it, and for a bucket where it is allowed.",
    ),
    "InvalidObjectState": (
        "other",
        "{what!r} in {url} was moved into an archive ({why}); ask the bucket's owner to restore it, and to"
        " keep lifecycle rules off this prefix.",
    ),
    "InvalidBucketState": (
        "other",
        "The state of the bucket of {url} does not allow {operation} ({why}); ask its owner what its lock or"
        " versioning forbids.",
    ),
    "ServerSideEncryptionConfigurationNotFoundError": NO_ENCRYPTION,
    "InvalidEncryptionAlgorithmError": NO_ENCRYPTION,
    "407": (
        "proxy",
        "The S3 at {endpoint} was not reached: the proxy wants a user and a password ({code}); write them "
        "into its address, as http://USER:PASSWORD@HOST:PORT.",
    ),
    "NotImplemented": (
        "other",
        "The S3 at {endpoint} does not know conditional writes, which keep publishers apart ({why}); use"
        " another.",
    ),
    "BadDigest": _GARBLED,
    "XAmzContentSHA256Mismatch": _GARBLED,
    "IncompleteBody": _GARBLED,
    "404": (
        "unreachable",
        "{endpoint} does not answer {operation} as an S3 does ({code}, and no reason); check"
        " AWS_ENDPOINT_URL, and try again if the S3 there is just starting.",
    ),
    "SlowDown": _BUSY,
    "Throttling": _BUSY,
    "ThrottlingException": _BUSY,
    "TooManyRequests": _BUSY,
    "429": _BUSY,
    "OperationAborted": _BUSY,
    "XMinioServerNotInitialized": _BUSY,
    "XMinioIAMNotInitialized": _BUSY,
    "ServiceUnavailable": _BUSY,
    "InternalError": _BUSY,
    "RequestTimeout": _BUSY,
    "500": _BUSY,
    "502": _BUSY,
    "503": _BUSY,
    "504": _BUSY,
}

RIGHTS: Final = {
    "ListObjectsV2": "s3:ListBucket on the bucket, for this prefix",
    "GetObject": "s3:GetObject on it, and s3:ListBucket on the bucket, without which one that is absent is"
    " refused too",
    "HeadObject": "s3:GetObject on it, and s3:ListBucket on the bucket",
    "PutObject": "s3:PutObject on it",
    "DeleteObject": "s3:DeleteObject on it, which prune needs",
}
"""The right that an operation needs, by Amazon's names."""

STS_OPERATIONS: Final = frozenset(
    {"AssumeRole", "AssumeRoleWithWebIdentity", "AssumeRoleWithSAML", "GetRoleCredentials", "CreateToken"}
)
"""What is asked of a token service, by boto3 itself, before the S3 is asked anything."""
