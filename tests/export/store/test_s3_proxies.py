"""A store behind a proxy: a real MinIO by a name that only the proxy knows, over HTTP, CONNECT and SOCKS."""

from collections.abc import Iterator

import pytest
from forward_proxy import GATEWAY_PAGE, ForwardProxy, http_answer
from minio_server import Minio, minios

from export.errors import ProxyError, UnreachableError
from export.store.versions import open_store
from model.data.remote import s3_client

pytestmark = pytest.mark.slow

PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(scope="module")
def tls_minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Minio]:
    with minios(tmp_path_factory) as start:
        yield start(tls=True)


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[ForwardProxy]:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setattr(s3_client, "_ATTEMPTS", 1)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "some")
    proxy = ForwardProxy()
    yield proxy
    proxy.close()


def use(minio: Minio, monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in minio.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", minio.url.replace("127.0.0.1", "store.example"))
    return f"s3://{minio.make_bucket()}"


@pytest.mark.parametrize("kind", ["http", "socks"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_store_is_read_and_written_through_a_proxy(
    kind: str,
    scheme: str,
    proxy: ForwardProxy,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    minio = request.getfixturevalue("minio" if scheme == "http" else "tls_minio")
    place = use(minio, monkeypatch)
    monkeypatch.setenv(f"{scheme}_proxy" if kind == "http" else "ALL_PROXY", getattr(proxy, kind))
    blobs = open_store(place).blobs
    blobs.put_if_absent("key", b"by a proxy" * 100_000)
    assert blobs.get("key") == b"by a proxy" * 100_000
    assert blobs.list("") == ["key"]
    how = "SOCKS" if kind == "socks" else "CONNECT" if scheme == "https" else "PUT"
    host = f"store.example:{minio.port}"
    assert proxy.asked[0].startswith(f"{how} http://{host}/" if how == "PUT" else f"{how} {host}")


def test_a_store_on_this_machine_is_reached_without(
    proxy: ForwardProxy, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy.answer = http_answer("502 Bad Gateway", GATEWAY_PAGE)
    monkeypatch.setenv("http_proxy", proxy.http)
    blobs = open_store(bucket).blobs
    blobs.put_if_absent("key", b"straight")
    assert blobs.get("key") == b"straight"
    assert proxy.asked == []


@pytest.mark.parametrize("named", ["http://127.0.0.1:9", "socks5://127.0.0.1:9"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_is_away(
    named: str, scheme: str, proxy: ForwardProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"{scheme}://store.example")
    monkeypatch.setenv("all_proxy", named)
    due = (
        rf"^The proxy {named} \(all_proxy\) on the way to the S3 at {scheme}://store.example cannot be used "
    )
    with pytest.raises(ProxyError, match=rf"{due}\([^'\"]*Connection refused\); correct"):
        open_store("s3://models").numbers()


def test_a_proxy_that_wants_a_password_and_one_that_finds_no_store(
    proxy: ForwardProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://store.example")
    monkeypatch.setenv("http_proxy", proxy.http)
    proxy.answer = http_answer("407 Proxy Authentication Required", b"<html>who are you?</html>")
    with pytest.raises(ProxyError, match=rf"through the proxy {proxy.http} .*wants a user and a password"):
        open_store("s3://models").numbers()
    proxy.answer = http_answer("502 Bad Gateway", GATEWAY_PAGE)
    with pytest.raises(UnreachableError, match=rf"through the proxy {proxy.http} .*cannot answer at present"):
        open_store("s3://models").numbers()
    assert proxy.asked[0].startswith("GET http://store.example/models")


def test_a_kind_of_proxy_that_is_not_known(proxy: ForwardProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://store.example")
    monkeypatch.setenv("http_proxy", "socks4://127.0.0.1:9")
    with pytest.raises(ProxyError, match=r"^http_proxy names no proxy that can be used"):
        open_store("s3://models")
