"""What may go wrong between this program and an S3: who was asked, what came of it, and which errors say so.

Here and not in `export`, because training data comes from an S3 too.
"""

from typing import Final, NamedTuple

from botocore import exceptions as boto
from botocore.exceptions import ClientError

from model.data.remote.s3_answers import Kind


class Fault(NamedTuple):
    """What went wrong between this program and an S3.

    Attributes:
        kind: For programs.
        sentence: For people: what happened and what to do.
    """

    kind: Kind
    sentence: str


class Asked(NamedTuple):
    """What a sentence says of the S3 that was asked.

    Attributes:
        url: What was to be read or written, `s3://bucket/prefix`.
        endpoint: Where requests went.
        temporary: Whether the credentials are of a session, with a token.
        encryption: What each write asks for, in words; empty for nothing.
    """

    url: str
    endpoint: str
    temporary: bool = False
    encryption: str = ""


class CutShortError(boto.HTTPClientError):  # type: ignore[misc]
    """An answer ended early, in a way that the HTTP client takes for its end: within the headers, say."""

    fmt = "The answer was cut short"


class SessionEndedError(boto.BotoCoreError):  # type: ignore[misc]
    """The credentials say themselves that they have run out, and nothing renews them."""

    fmt = "The credentials have expired, and what gives them out gives no newer ones"


FAULTS: Final = (boto.BotoCoreError, ClientError, ValueError)
"""What boto3's client raises for a fault of an S3, of the way to it or, all three, of its settings."""


def code_of(error: ClientError) -> str:
    """S3's error code; the HTTP status of an answer without one: to HEAD, or a proxy's page."""
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", "")
    return str(error.response.get("Error", {}).get("Code") or status)
