"""What an S3 or the way to it may say, each fault as one sentence that says what to do.

Here and not in `export`, because training data comes from an S3 too.
"""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, Literal, NamedTuple
from urllib.parse import urlsplit

from botocore import exceptions as boto
from botocore.exceptions import ClientError

from model.data.proxies import ProxySettingError, proxy_for

Kind = Literal["access", "bucket", "clock", "credentials", "proxy", "tls", "unreachable", "other"]
"""What is at fault; `other` is what none of the names fits."""


class Fault(NamedTuple):
    """What went wrong between this program and an S3.

    Attributes:
        kind: For programs.
        sentence: For people: what happened and what to do.
    """

    kind: Kind
    sentence: str


class CutShortError(boto.HTTPClientError):  # type: ignore[misc]
    """An answer ended early, in a way that the HTTP client takes for its end: within the headers, say."""

    fmt = "The answer was cut short"


FAULTS: Final = (boto.BotoCoreError, ClientError, ValueError)
"""What boto3's client raises for a fault of an S3, of the way to it or, all three, of its settings."""

_UNKNOWN_KEY: Final = (
    "credentials",
    "The S3 at {endpoint} does not know the access key ({code}); check AWS_ACCESS_KEY_ID or the profile.",
)
_BAD_SIGNATURE: Final = (
    "credentials",
    "The S3 at {endpoint} refuses the signature ({code}); check AWS_SECRET_ACCESS_KEY and AWS_REGION.",
)
_FORBIDDEN: Final = (
    "access",
    "These credentials may not do {operation} on {what!r} in {url}; allow it in their policy at {endpoint}.",
)
_ELSEWHERE: Final = (
    "bucket",
    "The bucket of {url} is in another region than {endpoint} serves; set AWS_REGION.",
)
_FULL: Final = (
    "other",
    "The S3 at {endpoint} has no room left for {what!r} in {url}; make room or raise the quota.",
)
_BUSY: Final = (
    "unreachable",
    "The S3 at {endpoint} cannot answer at present ({code}); try again later.",
)

_ANSWERS: Final[dict[str, tuple[Kind, str]]] = {
    "InvalidAccessKeyId": _UNKNOWN_KEY,
    "InvalidToken": _UNKNOWN_KEY,
    "ExpiredToken": _UNKNOWN_KEY,
    "SignatureDoesNotMatch": _BAD_SIGNATURE,
    "AuthorizationHeaderMalformed": _BAD_SIGNATURE,
    "RequestTimeTooSkewed": (
        "clock",
        "This machine's clock is {skew} the one of the S3 at {endpoint}; set it by NTP.",
    ),
    "NoSuchBucket": (
        "bucket",
        "There is no bucket for {url} at {endpoint}; make it, or check its name and AWS_ENDPOINT_URL.",
    ),
    "AccessDenied": _FORBIDDEN,
    "AllAccessDisabled": _FORBIDDEN,
    "403": _FORBIDDEN,
    "PermanentRedirect": _ELSEWHERE,
    "301": _ELSEWHERE,
    "XMinioStorageFull": _FULL,
    "XMinioAdminBucketQuotaExceeded": _FULL,
    "QuotaExceeded": _FULL,
    "507": _FULL,
    "407": (
        "proxy",
        "The S3 at {endpoint} was not reached: the proxy wants a user and a password ({code}); write them "
        "into its address, as http://USER:PASSWORD@HOST:PORT.",
    ),
    "NotImplemented": (
        "other",
        "The S3 at {endpoint} does not know conditional writes, which keep publishers apart; use another.",
    ),
    "SlowDown": _BUSY,
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

_PROXY_AWAY: Final = (boto.EndpointConnectionError, boto.ConnectTimeoutError)
"""What botocore makes of a SOCKS proxy that does not answer or refuses: it does not know it is there."""

_NO_CREDENTIALS: Final = (
    boto.NoCredentialsError,
    boto.PartialCredentialsError,
    boto.CredentialRetrievalError,
    boto.TokenRetrievalError,
    boto.ProfileNotFound,
)


def code_of(error: ClientError) -> str:
    """S3's error code; the HTTP status of an answer without one: to HEAD, or a proxy's page."""
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", "")
    return str(error.response.get("Error", {}).get("Code") or status)


def explain(error: Exception, url: str, endpoint: str, what: str) -> Fault:
    """Say what one of `FAULTS` means.

    Args:
        error: botocore's, or what it lets through of Python's.
        url: What was to be read or written, `s3://bucket/prefix`.
        endpoint: Where requests went.
        what: The object or prefix in question.
    """
    if isinstance(error, ProxySettingError):
        return Fault("proxy", str(error))
    proxy = proxy_for(endpoint) if endpoint else None
    if proxy and isinstance(error, _PROXY_AWAY if proxy.is_socks else boto.ProxyConnectionError):
        reason = str(error.kwargs["error"]).rpartition(": ")[2].strip("\"')")
        host = urlsplit(endpoint).hostname
        return Fault(
            "proxy",
            f"The proxy {proxy} on the way to the S3 at {endpoint} cannot be used ({reason}); correct or "
            f"unset {proxy.variable}, or add {host} to NO_PROXY.",
        )
    if proxy:  # whatever was answered, it may have been the proxy's answer
        endpoint = f"{endpoint} (through the proxy {proxy})"
    if isinstance(error, ClientError):
        return _explain_answer(error, url, endpoint, what)
    return _explain_silence(error, url, endpoint)


def _explain_answer(error: ClientError, url: str, endpoint: str, what: str) -> Fault:
    code = code_of(error)
    message = str(error.response.get("Error", {}).get("Message", ""))
    if "HTTP request to an HTTPS server" in message:
        return Fault("tls", f"The S3 at {endpoint} speaks TLS; write https:// in AWS_ENDPOINT_URL.")
    kind, sentence = _ANSWERS.get(
        code,
        ("other", "The S3 at {endpoint} refused {operation} on {what!r} in {url} ({code}: {message})."),
    )
    return Fault(
        kind,
        sentence.format(
            endpoint=endpoint,
            url=url,
            what=what,
            code=code,
            message=message,
            operation=error.operation_name,
            skew=_skew(error),
        ),
    )


def _explain_silence(error: Exception, url: str, endpoint: str) -> Fault:
    text = " ".join(str(error).split()).rstrip(".")
    if isinstance(error, _NO_CREDENTIALS):
        return Fault(
            "credentials",
            f"There are no credentials for {url} ({text}); set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
        )
    if isinstance(error, boto.SSLError):
        return _explain_tls(text, endpoint)
    if isinstance(error, boto.ConnectionClosedError) and endpoint.startswith("http://"):
        return Fault(
            "unreachable",
            f"The S3 at {endpoint} closed the connection; try again, or write https:// in AWS_ENDPOINT_URL"
            " if it speaks TLS.",
        )
    if isinstance(error, CutShortError | boto.ResponseStreamingError | boto.IncompleteReadError):
        return Fault(
            "unreachable",
            f"The S3 at {endpoint} broke off in the middle of an answer, again and again; check the network,"
            " then try again.",
        )
    if isinstance(error, boto.ConnectionError | boto.HTTPClientError):
        return Fault(
            "unreachable",
            f"The S3 at {endpoint} does not answer ({type(error).__name__.lstrip('_')});"
            " check AWS_ENDPOINT_URL and the network, then try again.",
        )
    return Fault("other", f"The address {url} or the AWS_* variables make no sense ({text}); check them.")


def _explain_tls(text: str, endpoint: str) -> Fault:
    reason = text.rpartition("certificate verify failed: ")[2].partition(" (_ssl")[0]
    if "No such file" in text or "NO_CERTIFICATE_OR_CRL_FOUND" in text or "PEM lib" in text:
        return Fault(
            "tls",
            "The file that AWS_CA_BUNDLE names holds no certificate; put the authority's there, in PEM.",
        )
    if "doesn't match" in text or "mismatch" in text:
        return Fault(
            "tls",
            f"The certificate of the S3 at {endpoint} is for another name ({reason});"
            " write that one in AWS_ENDPOINT_URL.",
        )
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return Fault(
            "tls",
            f"The certificate of the S3 at {endpoint} is refused ({reason}); put its authority's certificate"
            " into a file and name that in AWS_CA_BUNDLE.",
        )
    if "WRONG_VERSION_NUMBER" in text or "RECORD_LAYER_FAILURE" in text:
        return Fault("tls", f"The S3 at {endpoint} does not speak TLS; write http:// in AWS_ENDPOINT_URL.")
    return Fault(
        "tls", f"TLS with the S3 at {endpoint} failed ({text}); check AWS_ENDPOINT_URL and AWS_CA_BUNDLE."
    )


def _skew(error: ClientError) -> str:
    date = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
    if not date:
        return "too far from"
    seconds = (datetime.now(UTC) - parsedate_to_datetime(date)).total_seconds()
    return f"{abs(seconds) / 60:.0f} minutes {'ahead of' if seconds > 0 else 'behind'}"
