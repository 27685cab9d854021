"""CloudEvents, binary and structured: a request that is one is answered by one, as KServe does it.

What the answer's attributes are is left to KServe (`create_response_cloudevent`): by default the type
`io.kserve.inference.response` and the source `io.kserve.inference.MODEL`; `CE_TYPE`, `CE_SOURCE` and
`CE_MERGE` in the environment change them. (https://github.com/cloudevents/spec, HTTP protocol binding and
JSON format 1.0)
"""

import binascii
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, NamedTuple

import orjson
from kserve.utils.utils import create_response_cloudevent

from image_transformer.codecs.v2 import invalid, parse_json
from image_transformer.http.request import Response

_STRUCTURED: Final = b"application/cloudevents+json"
_REQUIRED: Final = ("specversion", "id", "source", "type")
_VERSIONS: Final = ("1.0", "0.3")


class Event(NamedTuple):
    """A request's envelope.

    Attributes:
        attributes: By name, without the data.
        structured: Whether they stood in the body.
    """

    attributes: dict[str, Any]
    structured: bool


def is_event(headers: Mapping[bytes, bytes]) -> bool:
    """Tells by its headers whether a request is an event."""
    if b"ce-specversion" in headers:
        return True
    kind = headers.get(b"content-type", b"")
    return kind != b"application/json" and kind.lower().startswith(_STRUCTURED)


def unwrapped(headers: Mapping[bytes, bytes], body: bytes) -> tuple[Event, bytes]:
    """Takes an event apart.

    Args:
        headers: The request's; see `is_event`.
        body: The request's.

    Returns:
        The envelope, and the data: a body as it would be without one.

    Raises:
        ServiceError: an attribute is missing, the specification's version is not known, or there is no data.
    """
    if not headers.get(b"content-type", b"").lower().startswith(_STRUCTURED):
        attributes: dict[str, Any] = {
            name[3:].decode("latin-1"): value.decode("latin-1")
            for name, value in headers.items()
            if name.startswith(b"ce-")
        }
        _check(attributes)
        return Event(attributes, structured=False), body
    attributes = parse_json(body)
    _check(attributes)
    if "data_base64" in attributes:
        try:
            data = binascii.a2b_base64(attributes.pop("data_base64"), strict_mode=True)
        except (ValueError, TypeError):
            raise invalid("The event's `data_base64` is not base64; encode the data so.") from None
    elif "data" in attributes:
        data = orjson.dumps(attributes.pop("data"))
    else:
        raise invalid("The event has no `data`; put the request into it.")
    return Event(attributes, structured=True), data


def wrapped(event: Event, model: str, response: Response) -> Response:
    """Makes an answer the answer to an event, in the form in which that came."""
    attributes = dict(event.attributes)
    for replaced in ("id", "time"):  # KServe deletes both where it merges, whether or not they are there
        attributes.setdefault(replaced, "")
    headers, _ = create_response_cloudevent(model, {}, attributes, True)
    told = {name[3:]: value for name, value in headers.items() if name.startswith("ce-")}
    if not event.structured:
        named = tuple((b"ce-" + name.encode(), value.encode("latin-1")) for name, value in told.items())
        return replace(response, headers=(*response.headers, *named))
    told["datacontenttype"] = response.content_type.decode()
    if response.content_type == b"application/json":
        told["data"] = orjson.Fragment(response.body)
    else:
        told["data_base64"] = binascii.b2a_base64(response.body, newline=False).decode()
    return replace(response, body=orjson.dumps(told), content_type=_STRUCTURED)


def _check(attributes: Mapping[str, Any]) -> None:
    for name in _REQUIRED:
        if not isinstance(attributes.get(name), str) or not attributes[name]:
            raise invalid(f"The event has no `{name}`; CloudEvents ask for {', '.join(_REQUIRED)}.")
    if attributes["specversion"] not in _VERSIONS:
        raise invalid(
            f"The event's `specversion` is {attributes['specversion'][:20]!r}; send {' or '.join(_VERSIONS)}."
        )
