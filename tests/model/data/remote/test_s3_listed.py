"""The objects taken out of a listing's answer are those that botocore reads in it, whoever wrote it."""

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from model.data.remote.s3_client import Page, connect, list_page
from model.data.remote.s3_listed import OBJECTS, Listed, take_objects

AMAZON = (
    "<Contents><Key>{key}</Key><LastModified>2026-11-29T12:00:49.000Z</LastModified>"
    "<ETag>&quot;{etag}&quot;</ETag><ChecksumAlgorithm>CRC32</ChecksumAlgorithm>"
    "<ChecksumType>FULL_OBJECT</ChecksumType><Size>{size}</Size><StorageClass>STANDARD</StorageClass></Contents>"
)
MINIO = (
    "<Contents><Key>{key}</Key><LastModified>2026-11-29T12:00:49.397Z</LastModified>"
    "<ETag>&#34;{etag}&#34;</ETag><Size>{size}</Size><StorageClass>STANDARD</StorageClass></Contents>"
)
OTHER = "<Contents>\n<Size>{size}</Size><Key>{key}</Key><ETag>{etag}</ETag></Contents>"
ODD = ["a/b+c%0A%2F%25.jpg", "a/d%2Be.jpg", "f/"]
PLAIN = ["a/1.jpg", "a/2.jpg", "a/ü.jpg"]


def body(*objects: str, encoded: bool = True, more: bool = True) -> bytes:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name><Prefix></Prefix>'
        f"{'<NextContinuationToken>to&amp;ken=</NextContinuationToken>' * more}"
        f"<IsTruncated>{str(more).lower()}</IsTruncated>{''.join(objects)}"
        f"{'<EncodingType>url</EncodingType>' * encoded}</ListBucketResult>"
    ).encode()


def written(form: str, keys: list[str]) -> list[str]:
    return [form.format(key=key, etag=f"e{at}", size=at) for at, key in enumerate(keys)]


Ask = Callable[[bytes], Page]


@pytest.fixture(scope="module")
def ways() -> tuple[Ask, Ask]:
    """What a page of a listing has of an answer: ours, and botocore's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "someone")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        clients = [connect(), connect()]
    clients[1].meta.events.unregister("before-parse.s3.*", take_objects)
    content = b""

    def answer(**_: object) -> Any:
        return SimpleNamespace(status_code=200, headers={}, content=content, raw=None)

    def ask(client: Any, body: bytes) -> Page:
        nonlocal content
        content = body
        return list_page(client, "bucket", "")

    for client in clients:
        client.meta.events.register("before-send.s3.ListObjectsV2", answer)
    return partial(ask, clients[0]), partial(ask, clients[1])


@pytest.mark.parametrize("encoded", [True, False])
@pytest.mark.parametrize("form", [AMAZON, MINIO, OTHER])
@pytest.mark.parametrize("keys", [PLAIN, ODD, PLAIN[:1], []])
def test_the_same_is_read(ways: tuple[Ask, Ask], keys: list[str], form: str, encoded: bool) -> None:
    content = body(*written(form, keys), encoded=encoded, more=bool(keys))
    ours, theirs = (ask(content) for ask in ways)
    assert ours == theirs
    assert len(ours.objects) == len(keys)
    assert ours.next == ("to&ken=" if keys else "")


def test_two_ways_of_writing_in_one_answer_are_left_to_botocore(ways: tuple[Ask, Ask]) -> None:
    parts = [*written(MINIO, ["a"]), *written(OTHER, ["b"]), *written(MINIO, ["c"])]
    for mixed in (parts, parts[::-1], parts[:2], parts[1:]):
        ours, theirs = (ask(body(*mixed)) for ask in ways)
        assert ours == theirs
        assert len(ours.objects) == len(mixed)


def test_most_of_an_answer_is_not_read_by_botocore() -> None:
    response: dict[str, Any] = {"status_code": 200, "headers": {}, "body": body(*written(AMAZON, PLAIN))}
    taken: dict[str, Any] = {}
    take_objects(SimpleNamespace(name="ListObjectsV2"), response, taken)
    assert taken == {OBJECTS: {key: Listed(at, f"e{at}") for at, key in enumerate(PLAIN)}}
    assert response["body"] == body()
    for name, status in (("ListObjectsV2", 500), ("GetObject", 200)):
        whole = {"status_code": status, "headers": {}, "body": body(*written(AMAZON, PLAIN))}
        take_objects(SimpleNamespace(name=name), whole, untouched := {})
        assert not untouched
        assert whole["body"] == body(*written(AMAZON, PLAIN))
