"""Many objects of one bucket, each asked for as boto3 asked for the first.

boto3 takes more than a millisecond for each, in one thread at a time whatever the cores: more than decoding a
small picture. Half of that goes into working out anew where the bucket is and what to make of the answer.
"""

from typing import Any, Final, NamedTuple

from botocore.awsrequest import AWSRequest
from botocore.response import StreamingBody
from botocore.utils import percent_encode

_WHOLE_OR_PART: Final = {200, 206}
_PLAIN: Final = {"region", "signing_name", "disableDoubleEncoding"}
"""What botocore says of a signature that is like that of every other object."""


class _Way(NamedTuple):
    """What boto3 found out for an object.

    Attributes:
        base: The object's URL up to its key.
        agent: How boto3 calls itself.
        signing: Name, region and version of the signature.
    """

    base: str
    agent: str
    signing: tuple[str, str, str]


class Direct:
    """Has boto3's `get_object`, for any number of threads.

    What it sends goes through botocore's own signer, connections, proxies and certificates. Whatever is
    answered but the object, boto3 asks again, and says what it means.
    """

    def __init__(self, client: Any) -> None:
        """Nothing is sent yet.

        Args:
            client: boto3's.
        """
        self._client = client
        self._ways: dict[str, _Way] = {}
        client.meta.events.register_last("before-sign.s3.GetObject", self._learn)

    def get_object(self, **asked: str) -> dict[str, Any]:
        """See boto3's.

        Args:
            asked: `Bucket` and `Key`, perhaps `IfMatch` and `Range`.

        Returns:
            `Body`, `ContentLength` (None where the answer has none), `ETag` and, of a part, `ContentRange`.
        """
        way = self._ways.get(asked["Bucket"])
        if way and (answer := self._ask(way, asked)):
            return answer
        answered: dict[str, Any] = self._client.get_object(**asked)
        return answered

    def _ask(self, way: _Way, asked: dict[str, str]) -> dict[str, Any] | None:
        headers = {"User-Agent": way.agent}
        for name, header in (("IfMatch", "If-Match"), ("Range", "Range")):
            if name in asked:
                headers[header] = asked[name]
        request = AWSRequest("GET", way.base + _encoded(asked["Key"]), headers, stream_output=True)
        self._client._request_signer.get_auth_instance(*way.signing).add_auth(request)
        answer = self._client._endpoint.http_session.send(request.prepare())
        if answer.status_code not in _WHOLE_OR_PART:
            _ = answer.content  # else its connection is lost
            return None
        said = answer.headers.get("Content-Length")
        length = int(said) if said else None
        return {
            "Body": StreamingBody(answer.raw, length),
            "ContentLength": length,
            "ETag": answer.headers.get("ETag", ""),
            "ContentRange": answer.headers.get("Content-Range", ""),
        }

    def _learn(self, request: AWSRequest, signature_version: object, **_: object) -> None:
        """Keep what boto3 has found out, whenever it asks by itself: another region, say."""
        context = request.context
        told, signing = context.get("input_params", {}), context.get("signing", {})
        key = _encoded(told.get("Key", ""))
        if signature_version != "s3v4" or not {*signing} <= _PLAIN or not request.url.endswith(f"/{key}"):
            return
        self._ways[told["Bucket"]] = _Way(
            request.url.removesuffix(key),
            request.headers["User-Agent"],
            (signing.get("signing_name", "s3"), signing["region"], signature_version),
        )


def _encoded(key: str) -> str:
    """As botocore writes it into a URL."""
    return str(percent_encode(key, safe="/~"))
