"""Say what an S3 or the way to it says, each fault as one sentence that says what to do."""

import os
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urlsplit

from botocore import exceptions as boto
from botocore.exceptions import ClientError

from model.data.remote import s3_answers as answers
from model.data.remote.proxies import Proxy, ProxySettingError, proxy_for
from model.data.remote.s3_answers import Answer
from model.data.remote.s3_errors import Asked, CutShortError, Fault, SessionEndedError, code_of

_LONGEST_REASON: Final = 400
_TOKEN_FILE: Final = "AWS_WEB_IDENTITY_TOKEN_FILE"  # noqa: S105  # a variable that names a file

_PROXY_AWAY: Final = (boto.EndpointConnectionError, boto.ConnectTimeoutError)
"""What botocore makes of a SOCKS proxy that does not answer or refuses: it does not know it is there."""

_DOES_NOT_ANSWER: Final[Answer] = (
    "unreachable",
    "The S3 at {endpoint} does not answer ({name}); check AWS_ENDPOINT_URL and the network, then try again.",
)
_NO_SENSE: Final[Answer] = (
    "other",
    "The address {url} or the AWS_* variables make no sense ({why}); check them.",
)
_SILENCES: Final[tuple[tuple[tuple[type[Exception], ...], Answer], ...]] = (
    (
        (
            SessionEndedError,
            boto.UnauthorizedSSOTokenError,
            boto.SSOTokenLoadError,
            boto.TokenRetrievalError,
            boto.LoginError,
        ),
        answers.ENDED,
    ),
    (
        (boto.NoCredentialsError, boto.PartialCredentialsError, boto.ProfileNotFound),
        (
            "credentials",
            "There are no credentials for {url} ({why}); set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
        ),
    ),
    (
        (boto.CredentialRetrievalError, boto.MetadataRetrievalError),
        (
            "unreachable",
            "What gives out credentials for {url} gives none ({why}); try again, and ask who runs this"
            " machine to look at its identity service.",
        ),
    ),
    (
        (CutShortError, boto.ResponseStreamingError, boto.IncompleteReadError),
        (
            "unreachable",
            "The S3 at {endpoint} broke off in the middle of an answer, again and again; check the network,"
            " then try again.",
        ),
    ),
    ((boto.ConnectionError, boto.HTTPClientError), _DOES_NOT_ANSWER),
)
"""What botocore raises where no answer was read; the first that fits."""


def explain(error: Exception, asked: Asked, what: str) -> Fault:
    """Say what one of `model.data.remote.s3_errors.FAULTS`, or an OSError of the client's, means.

    Args:
        error: botocore's, or what it lets through of Python's.
        asked: The S3 that was asked.
        what: The object or prefix in question.
    """
    if isinstance(error, ProxySettingError):
        return Fault("proxy", str(error))
    if proxy := proxy_for(asked.endpoint) if asked.endpoint else None:
        if isinstance(error, _PROXY_AWAY if proxy.is_socks else boto.ProxyConnectionError):
            return _explain_proxy(error, proxy, asked.endpoint)
        # Whatever was answered, it may have been the proxy's answer.
        asked = asked._replace(endpoint=f"{asked.endpoint} (through the proxy {proxy})")
    if isinstance(error, ClientError):
        return _explain_answer(error, asked, what)
    text = _one_line(error)
    if isinstance(error, boto.SSLError):
        return _explain_tls(text, asked.endpoint)
    kind, sentence = _silence(error, asked)
    name = type(error).__name__.lstrip("_")
    return Fault(kind, sentence.format(endpoint=asked.endpoint, url=asked.url, why=text, name=name))


def _explain_proxy(error: Any, proxy: Proxy, endpoint: str) -> Fault:
    reason = str(error.kwargs["error"]).rpartition(": ")[2].strip("\"')")
    return Fault(
        "proxy",
        f"The proxy {proxy} on the way to the S3 at {endpoint} cannot be used ({reason}); correct or "
        f"unset {proxy.variable}, or add {urlsplit(endpoint).hostname} to NO_PROXY.",
    )


def _explain_answer(error: ClientError, asked: Asked, what: str) -> Fault:
    code, said = code_of(error), error.response.get("Error", {})
    message = _one_line(said.get("Message", ""))
    if "HTTP request to an HTTPS server" in message:
        return Fault("tls", f"The S3 at {asked.endpoint} speaks TLS; write https:// in AWS_ENDPOINT_URL.")
    kind, sentence = _answer(error, message, asked)
    region = said.get("Region")
    return Fault(
        kind,
        sentence.format(
            endpoint=asked.endpoint,
            url=asked.url,
            what=what,
            code=code,
            why=f"{code}: {message}" if message else code,
            operation=error.operation_name,
            right=_right(error.operation_name, message, asked),
            region=f"={region}" if region else "",
            location=_location(error),
            skew=_skew(error),
        ),
    )


def _answer(error: ClientError, message: str, asked: Asked) -> Answer:
    """The sentence for a code, also where that depends on more than the code."""
    code = code_of(error)
    answer = answers.ANSWERS.get(code, answers.REFUSED)
    if code == "404" and error.operation_name.startswith("Head"):
        answer = answers.REFUSED  # to HEAD an S3 has no words
    elif _location(error):
        answer = answers.REDIRECTED
    elif error.operation_name in answers.STS_OPERATIONS:
        if answer is answers.FORBIDDEN:
            answer = answers.NO_ROLE
        elif answer[0] not in {"session", "unreachable"}:
            answer = answers.NO_SESSION
    elif code.lower().startswith("kms"):
        answer = answers.KEY_BROKEN
    elif answer is answers.FORBIDDEN and ("kms:" in message or "customer master key" in message):
        answer = answers.KEY_FORBIDDEN
    elif code == "NotImplemented" and ("encryption" in message or "KMS" in message):
        answer = answers.NO_ENCRYPTION
    elif answer is answers.UNKNOWN_KEY and asked.temporary:
        answer = answers.ENDED  # MinIO forgets a session that has ended
    elif answer is answers.UNKNOWN_KEY:
        # Amazon's keys of sessions begin so.
        session = str(error.response["Error"].get("AWSAccessKeyId", "")).startswith("ASIA")
        answer = answers.LOST_TOKEN if session else answer
    elif answer is answers.WRONG_TOKEN and not asked.temporary:
        answer = answers.LOST_TOKEN
    return answer


def _right(operation: str, message: str, asked: Asked) -> str:
    """The right to ask for."""
    right = answers.RIGHTS.get(operation, f"s3:{operation}")
    if named := re.findall(r"kms:[A-Z][A-Za-z]+", message):
        right = " and ".join(sorted({*named, "kms:Decrypt"}))
    elif "customer master key" in message:
        right = "kms:Decrypt and kms:GenerateDataKey"
    elif operation == "PutObject" and asked.encryption:
        right += f", with {asked.encryption}; or set the encryption that the bucket demands"
    elif operation == "PutObject":
        right += "; or, where the bucket demands encryption, set CNN_IMAGE_STORE_ENCRYPTION"
    return right


def _one_line(message: object) -> str:
    """S3's own reason, fit for the middle of a sentence."""
    text = " ".join(str(message or "").split()).rstrip(".")
    return f"{text[:_LONGEST_REASON]} …" if len(text) > _LONGEST_REASON else text


def _silence(error: Exception, asked: Asked) -> Answer:
    """The sentence where no answer was read."""
    answer = next((answer for kinds, answer in _SILENCES if isinstance(error, kinds)), _NO_SENSE)
    address = str(getattr(error, "kwargs", {}).get("endpoint_url") or "")
    if isinstance(error, OSError) and error.filename and error.filename == os.environ.get(_TOKEN_FILE):
        answer = (
            "credentials",
            "The token that AWS_WEB_IDENTITY_TOKEN_FILE names cannot be read ({why}); ask who runs the"
            " cluster to mount it into this pod.",
        )
    elif answer is _DOES_NOT_ANSWER and urlsplit(address).netloc not in {"", _place(asked)}:
        answer = (
            "unreachable",
            "What gives out credentials for {url} does not answer ({why}); check the network and"
            " AWS_ENDPOINT_URL_STS, then try again.",
        )
    elif isinstance(error, boto.ConnectionClosedError) and asked.endpoint.startswith("http://"):
        answer = (
            "unreachable",
            "The S3 at {endpoint} closed the connection; try again, or write https:// in AWS_ENDPOINT_URL"
            " if it speaks TLS.",
        )
    return answer


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


def _place(asked: Asked) -> str:
    """Host and port of the S3, without what was added for people."""
    return urlsplit(asked.endpoint.partition(" ")[0]).netloc


def _location(error: ClientError) -> str:
    """Where an answer sends the client to, without the object's own path; empty where it does not."""
    address = urlsplit(_headers(error).get("location", ""))
    return f"{address.scheme}://{address.netloc}" if address.netloc else ""


def _headers(error: ClientError) -> dict[str, str]:
    headers: dict[str, str] = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return headers


def _skew(error: ClientError) -> str:
    date = _headers(error).get("date")
    if not date:
        return "too far from"
    seconds = (datetime.now(UTC) - parsedate_to_datetime(date)).total_seconds()
    return f"{abs(seconds) / 60:.0f} minutes {'ahead of' if seconds > 0 else 'behind'}"
