"""Objects of a real MinIO asked for without most of boto3: the same bytes, and the same refusals."""

from collections.abc import Iterator

import pytest
from botocore.exceptions import ClientError
from minio_server import Minio
from s3_wire import Request, Wire, wire

from model.data.remote.s3_client import connect
from model.data.remote.s3_direct import Direct
from model.data.remote.s3_errors import code_of

pytestmark = pytest.mark.slow

ODD = [
    "a b+c.png",
    "ü/é?#%41.png",
    "x//y.png",
    "~&=:@,;!'()*$.png",
    "tab\tnew\nline.png",
    "[b]/\\.png",
    "猫.png",
]


@pytest.fixture
def wired(bucket: str, minio: Minio, monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    """What is said to the bucket."""
    with wire(minio.port) as between:
        monkeypatch.setenv("AWS_ENDPOINT_URL", between.url)
        yield between


def by_boto3(request: Request) -> bool:
    return "amz-sdk-invocation-id" in {name.lower() for name in request.headers}


def put(minio: Minio, bucket: str, key: str, data: bytes) -> str:
    etag: str = minio.client().put_object(Bucket=bucket, Key=key, Body=data)["ETag"]
    return etag


def test_every_key_is_asked_for_as_boto3_does(bucket: str, minio: Minio, wired: Wire) -> None:
    name = bucket.removeprefix("s3://")
    keys = [key for key in ODD if put_if_it_can_be(minio, name, key)]
    assert len(keys) > 4
    client = connect()
    direct = Direct(client)
    for key in ("a b+c.png", *keys):
        assert direct.get_object(Bucket=name, Key=key)["Body"].read() == key.encode()
    assert [by_boto3(request) for request in wired.requests] == [True] + [False] * len(keys)
    paths = [request.path for request in wired.requests[1:]]
    wired.requests.clear()
    for key in keys:
        client.get_object(Bucket=name, Key=key)["Body"].read()
    assert [request.path for request in wired.requests] == paths


def put_if_it_can_be(minio: Minio, bucket: str, key: str) -> bool:
    try:
        put(minio, bucket, key, key.encode())
    except ClientError:  # a name that no file of its disk can have
        return False
    return True


def test_parts_conditions_and_refusals(bucket: str, minio: Minio, wired: Wire) -> None:
    name = bucket.removeprefix("s3://")
    etag = put(minio, name, "a", b"0123456789")
    direct = Direct(connect())
    direct.get_object(Bucket=name, Key="a")["Body"].read()
    part = direct.get_object(Bucket=name, Key="a", IfMatch=etag, Range="bytes=4-")
    assert (part["Body"].read(), part["ContentLength"], part["ETag"]) == (b"456789", 6, etag)
    assert part["ContentRange"] == "bytes 4-9/10"
    for asked, code in (
        ({"Key": "a", "IfMatch": '"other"'}, "PreconditionFailed"),
        ({"Key": "b"}, "NoSuchKey"),
        ({"Key": "a", "Range": "bytes=10-"}, "InvalidRange"),
    ):
        wired.requests.clear()
        with pytest.raises(ClientError) as caught:
            direct.get_object(Bucket=name, **asked)
        assert code_of(caught.value) == code
        assert [by_boto3(request) for request in wired.requests] == [False, True]
    other = minio.make_bucket()
    put(minio, other, "a", b"another")
    assert direct.get_object(Bucket=other, Key="a")["Body"].read() == b"another"
    assert direct.get_object(Bucket=name, Key="a")["Body"].read() == b"0123456789"


def test_connections_are_kept(bucket: str, minio: Minio) -> None:
    name = bucket.removeprefix("s3://")
    put(minio, name, "a", b"0123456789")
    client = connect()
    direct = Direct(client)
    for asked in ({"Key": "a"}, {"Key": "a"}, {"Key": "b"}, {"Key": "a"}):
        try:
            body = direct.get_object(Bucket=name, **asked)["Body"]
        except ClientError:
            continue
        assert b"".join(body.iter_chunks(4)) == b"0123456789"
        body.close()
    (pool,) = [client._endpoint.http_session._manager.connection_from_url(minio.url)]
    assert (pool.num_connections, pool.num_requests) == (1, 5)
