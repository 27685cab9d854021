"""A client for any S3, and what is done again where an answer of it breaks off.

Address, credentials and certificates are boto3's own: AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and
AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION, AWS_CA_BUNDLE, profiles, a service account's token, a
machine's role. A client is kept as long as its user lives: it asks for new credentials by itself, before each
request that needs them, where what gave out the old ones gives out new ones. The proxy is the one that every
client of ours takes; credentials that are asked for elsewhere (STS, SSO) go as botocore itself sends, through
HTTP proxies alone.
"""

import contextlib
import os
from collections.abc import Iterator
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import boto3
import botocore.handlers
import botocore.session
from botocore.config import Config
from botocore.credentials import RefreshableCredentials
from botocore.exceptions import (
    ClientError,
    IncompleteReadError,
    NoCredentialsError,
    PaginationError,
    ReadTimeoutError,
    ResponseStreamingError,
)
from botocore.parsers import ResponseParserError
from botocore.utils import parse_timestamp
from tenacity import retry, retry_if_exception, stop_after_attempt, wait_random_exponential
from urllib3.contrib.socks import SOCKSProxyManager

from model.data.remote.proxies import proxy_for
from model.data.remote.s3_errors import CutShortError, SessionEndedError, code_of
from model.data.remote.s3_listed import EVENT, OBJECTS, Listed, take_objects

# One call takes at most about a minute and a half, and half a minute where nobody answers the connection.
_TIMEOUTS: Final = {"connect_timeout": 5, "read_timeout": 15}
_ATTEMPTS: Final = 4


def _goes_away(error: BaseException) -> bool:
    """What botocore does not try again by itself: an answer that breaks off, two writes at once."""
    if isinstance(error, ClientError):
        return code_of(error) == "ConditionalRequestConflict"
    return isinstance(error, CutShortError | ResponseStreamingError | IncompleteReadError)


def read_body(answer: Any) -> bytes:
    """Reads the whole body of an object's answer.

    Raises:
        CutShortError: It stops coming. botocore calls that as it calls an S3 that never answers, for which it
            has waited four times by then.
    """
    try:
        data: bytes = answer["Body"].read()
    except ReadTimeoutError as error:
        raise CutShortError from error
    return data


@contextlib.contextmanager
def whole_answer() -> Iterator[None]:
    """What botocore cannot read of an answer was cut: a CutShortError in place of a dozen others.

    Credentials that have run out, and that nothing renews, become a SessionEndedError.
    """
    try:
        yield
    except (ResponseParserError, ValueError) as error:
        raise CutShortError from error
    except RuntimeError as error:  # botocore's RefreshableCredentials (1.44) has no class of its own for it
        if "still expired" not in str(error):
            raise
        raise SessionEndedError from error


# Decorates a function that reads or writes one whole answer.
again = retry(
    retry=retry_if_exception(_goes_away),
    stop=stop_after_attempt(_ATTEMPTS),
    wait=wait_random_exponential(multiplier=0.1, max=2),
    reraise=True,
)


def connect(connections: int = 10, attempts: int | None = None) -> Any:
    """Makes a client; nothing is sent yet.

    Args:
        connections: How many threads ask by it side by side.
        attempts: How often each request is sent at most, by who asks again himself; None for the usual.

    Raises:
        One of `model.data.remote.s3_errors.FAULTS`: The environment's settings make no sense.
    """
    session = boto3.session.Session(botocore_session=_parsing_fast())
    config = Config(
        proxies={},  # not the environment's: `_proxied` knows which addresses are this machine's
        **_TIMEOUTS,
        max_pool_connections=connections,
        retries={"mode": "standard", "total_max_attempts": min(attempts or _ATTEMPTS, _ATTEMPTS)},
        # The newer checksum trailers are refused by some S3 that are not Amazon's; the store has sha256.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        # An endpoint of one's own seldom has a DNS name for every bucket; Amazon's endpoint takes both.
        s3={"addressing_style": "path"},
        # boto3 itself reads AWS_DEFAULT_REGION and the profile, Amazon's other clients AWS_REGION.
        region_name=session.region_name or os.environ.get("AWS_REGION") or "us-east-1",
    )
    client = _proxied(session, session.client("s3", config=config), config)
    # botocore asks before it sends a body, and waits for ever where the connection ends within "100 Continue"
    # (AWSConnection._consume_headers, 1.44); objects are small, so nothing is lost by sending them at once.
    client.meta.events.register_last("before-call.s3", _without_expect)
    # Where a request is redirected, botocore asks for the bucket's region, and where that is redirected too
    # it asks again, until Python's stack is full (S3RegionRedirectorv2, 1.44).
    client.meta.events.register("before-call.s3.HeadBucket", _not_redirected)
    _taking_objects_first(client.meta.events)
    return client


def _parsing_fast() -> Any:
    """A session of botocore's that does not take most of a listing's time for the objects' dates.

    dateutil, which botocore asks, takes 50 µs for each, two thirds of all that a listing costs.
    """
    session = botocore.session.Session()
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_timestamp)
    return session


def _timestamp(value: Any) -> datetime:
    """The same as botocore's own parser."""
    with contextlib.suppress(ValueError):
        if isinstance(value, str) and value[4:5] == "-" and value.endswith("Z"):
            return datetime.fromisoformat(value)  # in a body
        if isinstance(value, str) and value[3:4] == "," and value.endswith("GMT"):
            return parsedate_to_datetime(value)  # in a header
    parsed: datetime = parse_timestamp(value)
    return parsed


def _proxied(session: boto3.session.Session, client: Any, config: Config) -> Any:
    """The client, sending through the proxy that leads to its endpoint, if one does."""
    endpoint = str(client.meta.endpoint_url)
    proxy = proxy_for(endpoint)
    if proxy is None:
        return client
    if not proxy.is_socks:
        through = Config(proxies={urlsplit(endpoint).scheme: proxy.url})
        return session.client("s3", config=config.merge(through))
    # botocore knows proxies that speak HTTP alone. urllib3, on which it sends, knows SOCKS: its manager takes
    # the place of the plain one in botocore's session. A private affair of botocore's: its version is locked,
    # and a test sends through a SOCKS proxy.
    http = client._endpoint.http_session
    # socks5h: names are looked up by the proxy, as httpx has it; behind one there is often no other way.
    address = proxy.url.replace("socks5://", "socks5h://", 1)
    http._manager = SOCKSProxyManager(address, **http._get_pool_manager_kwargs())
    return client


class Identity(NamedTuple):
    """What a client signs with.

    Attributes:
        source: Where it comes from, by botocore's name: `env`, `assume-role-with-web-identity`, `iam-role`, …
        temporary: Whether it is a session, with a token.
        renews: Whether new credentials are asked for by themselves before these end.
        expires: When these end, where that is known.
    """

    source: str
    temporary: bool
    renews: bool
    expires: datetime | None


def identity(client: Any) -> Identity:
    """Who a client is; what gives out its credentials may be asked for them.

    Raises:
        One of `model.data.remote.s3_errors.FAULTS`: There are no credentials.
    """
    credentials = client._get_credentials()
    if credentials is None:
        raise NoCredentialsError
    with whole_answer():
        token = credentials.get_frozen_credentials().token
    refreshable = isinstance(credentials, RefreshableCredentials)
    return Identity(
        source=credentials.method,
        temporary=bool(token),
        renews=refreshable and credentials.method != "env",  # a process does not see a new environment
        expires=getattr(credentials, "_expiry_time", None),
    )


def is_temporary(client: Any) -> bool:
    """Whether a client signs with a session's credentials; asks nobody."""
    credentials = client._get_credentials()
    return isinstance(credentials, RefreshableCredentials) or bool(getattr(credentials, "token", None))


def _without_expect(params: dict[str, Any], **_: object) -> None:
    params["headers"].pop("Expect", None)


def _taking_objects_first(events: Any) -> None:
    """Have objects taken out of listings before botocore looks whether an answer with 200 is an error.

    It looks by reading all of it as XML. A private affair of botocore's: where it has no such look by that
    name, listing takes longer and gives the same.
    """
    looks = getattr(botocore.handlers, "_handle_200_error", None)
    if looks is not None:
        events.unregister(EVENT, looks)
    events.register_first(EVENT, take_objects)
    if looks is not None:
        events.register_first(EVENT, looks)


def _not_redirected(params: dict[str, Any], **_: object) -> None:
    params["context"].setdefault("s3_redirect", {})["redirected"] = True


def list_sizes(client: Any, bucket: str, prefix: str) -> dict[str, int]:
    """Lists the objects whose keys begin with a prefix: their sizes by key, in the keys' order.

    Raises:
        One of `model.data.remote.s3_errors.FAULTS`: There is no whole answer.
    """
    return {key: listed.size for key, listed in list_objects(client, bucket, prefix).items()}


def list_objects(client: Any, bucket: str, prefix: str) -> dict[str, Listed]:
    """Lists the objects whose keys begin with a prefix, in the keys' order.

    Raises:
        One of `model.data.remote.s3_errors.FAULTS`: There is no whole answer.
    """
    objects: dict[str, Listed] = {}
    after = ""
    while True:
        page = again(list_page)(client, bucket, prefix, after)
        objects |= page.objects
        if not page.next:
            return objects
        after = page.next


class Page(NamedTuple):
    """A part of a listing, a thousand objects at most.

    Attributes:
        objects: In the keys' order.
        next: What the next one is asked for by; empty after the last.
    """

    objects: dict[str, Listed]
    next: str


def list_page(client: Any, bucket: str, prefix: str, token: str = "") -> Page:
    """Lists some of the objects whose keys begin with a prefix.

    Args:
        client: Asks the S3.
        bucket: Its name.
        prefix: What the keys begin with.
        token: `Page.next` of the page before; empty for the first.

    Raises:
        One of `model.data.remote.s3_errors.FAULTS`: There is no whole answer.
    """
    on = {"ContinuationToken": token} if token else {}
    with whole_answer():
        page = client.list_objects_v2(Bucket=bucket, Prefix=prefix, **on)
    # Without this, an answer that lost its body would look like an empty bucket.
    if "IsTruncated" not in page:
        raise CutShortError
    following = page.get("NextContinuationToken", "") if page["IsTruncated"] else ""
    if page["IsTruncated"] and following in {"", token}:
        raise PaginationError(message=f"the listing of {prefix!r} does not go on after {token!r}")
    objects = page.get(OBJECTS) or {
        item["Key"]: Listed(item["Size"], item.get("ETag", "").strip('"'))
        for item in page.get("Contents", ())
    }
    return Page(objects, following)
