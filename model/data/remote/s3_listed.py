"""Takes the objects out of an answer to ListObjectsV2 before boto3 reads it.

Botocore reads such an answer twice into trees of a dozen objects a key, and takes them apart by its shapes:
half the time that an S3 nearby needs to write it. Amazon and those that follow it write every object alike,
so that one expression takes them all; the rest of the answer is botocore's to read, and so is the whole of
one that is written in another way.
"""

import re
from typing import Any, Final, NamedTuple
from urllib.parse import unquote_plus

EVENT: Final = "before-parse.s3.*"
"""Botocore emits it in the thread that asked, with an answer's body that it has not read yet. Of the handlers
of this very name the first comes first; those for one operation alone come after all of them."""

OPERATION: Final = "ListObjectsV2"

OBJECTS: Final = "Objects"
"""Under this name an answer has the objects that were taken out of it, in place of `Contents`."""

_OBJECT: Final = re.compile(
    rb"<Contents><Key>([^<&]+)</Key><LastModified>[^<&]*</LastModified>"
    rb'<ETag>(?:"|&#34;|&quot;)?([^<&"]*)(?:"|&#34;|&quot;)?</ETag>'
    rb"(?:<Checksum\w+>[^<&]*</Checksum\w+>)*<Size>(\d+)</Size>"
    rb"<StorageClass>[^<&]*</StorageClass></Contents>"
)
_BEGINS: Final = b"<Contents"
_URL: Final = b"<EncodingType>url</EncodingType>"
_SPELT: Final = frozenset(b"%+")
_OK: Final = 200


class Listed(NamedTuple):
    """What a listing says of an object.

    Attributes:
        size: In bytes.
        etag: Differs where the object's bytes do.
    """

    size: int
    etag: str


def take_objects(
    operation_model: Any, response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: object
) -> None:
    """A handler of `EVENT`.

    Args:
        operation_model: Which operation is answered.
        response_dict: The answer; botocore gets its body without the objects.
        customized_response_dict: Gets them, `Listed` by key.
    """
    if operation_model.name != OPERATION or response_dict["status_code"] != _OK:
        return
    head, *parts = _OBJECT.split(response_dict["body"])
    tail = parts[-1] if parts else b""
    if not parts or any(parts[3:-1:4]) or _BEGINS in head or _BEGINS in tail:
        return
    keys = parts[::4]
    spelt = (_URL in head or _URL in tail) and not _SPELT.isdisjoint(b"".join(keys))
    try:
        names = [unquote_plus(key.decode()) if spelt else key.decode() for key in keys]
    except UnicodeDecodeError:
        return
    listed = map(Listed, map(int, parts[2::4]), [etag.decode() for etag in parts[1::4]])
    customized_response_dict[OBJECTS] = dict(zip(names, listed, strict=True))
    response_dict["body"] = head + tail
