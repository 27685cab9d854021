"""Our HTTP clients with real proxies around them, and what they say where one cannot be used."""

import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from forward_proxy import GATEWAY_PAGE, ForwardProxy, http_answer

from model.data.remote.http_client import UnusableWayError, http_client, local_client

VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ssl_cert_file", "ssl_cert_dir")


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


class Service(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.headers["Host"].encode())

    def log_message(self, *arguments: object) -> None: ...


@pytest.fixture
def port() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


@pytest.fixture
def proxy() -> Iterator[ForwardProxy]:
    proxy = ForwardProxy()
    yield proxy
    proxy.close()


@pytest.fixture
def hostile(proxy: ForwardProxy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ForwardProxy:
    """A proxy for everything, and certificates that are gone."""
    proxy.answer = http_answer("502 Bad Gateway", GATEWAY_PAGE)
    for name in ("http_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, proxy.http)
    monkeypatch.setenv("ALL_PROXY", proxy.socks)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "gone.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "gone"))
    return proxy


async def test_this_machine_is_asked_as_if_the_environment_were_empty(
    hostile: ForwardProxy, port: int
) -> None:
    url = f"http://127.0.0.1:{port}"
    with http_client(url, 5) as client:
        assert client.get("/").text == f"127.0.0.1:{port}"
    async with local_client(url) as local:
        assert (await local.get("/")).text == f"127.0.0.1:{port}"
    assert hostile.asked == []


@pytest.mark.parametrize("kind", ["http", "socks"])
def test_others_are_asked_through_the_proxy(
    kind: str, proxy: ForwardProxy, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy" if kind == "http" else "ALL_PROXY", getattr(proxy, kind))
    with http_client(f"http://remote.example:{port}", 5) as client:
        assert client.get("/x").text == f"remote.example:{port}"
    due = {"http": f"GET http://remote.example:{port}/x", "socks": f"SOCKS remote.example:{port}"}
    assert proxy.asked == [due[kind]]


def test_certificates_that_are_gone_matter_to_tls_alone(hostile: ForwardProxy, tmp_path: Path) -> None:
    with http_client("http://remote.example", 5) as client:
        assert client.get("/").status_code == 502
    with pytest.raises(UnusableWayError, match=r"^SSL_CERT_FILE names .*gone\.pem, which cannot be used"):
        http_client("https://remote.example", 5)


@pytest.mark.parametrize("url", ["http://remote.example", "https://remote.example"])
@pytest.mark.parametrize(
    "named", ["http://127.0.0.1:9", "socks5://127.0.0.1:9", "socks5://{speaks_http}", "wants 407"]
)
def test_a_proxy_that_cannot_be_used_is_one_sentence(
    named: str, url: str, proxy: ForwardProxy, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy.answer = http_answer("407 Proxy Authentication Required", b"<html>who are you?</html>")
    named = named.format(speaks_http=f"127.0.0.1:{port}").replace("wants 407", proxy.http)
    monkeypatch.setenv("all_proxy", named)
    with http_client(url, 1) as client, pytest.raises(UnusableWayError) as caught:
        client.get("/")
    said = str(caught.value)
    assert said.startswith(f"The proxy {named} (all_proxy) on the way to remote.example cannot be used (")
    assert said.endswith("correct or unset all_proxy, or add remote.example to NO_PROXY.")
    assert "\n" not in said
    assert isinstance(caught.value, httpx.TransportError)  # so that whoever asks again does here too


def test_nobody_makes_a_client_by_himself() -> None:
    """One that does would ask this machine through the environment's proxy."""
    root = Path(__file__).parents[4]
    makes = re.compile(r"httpx\.(Client|AsyncClient|get|post|put|stream|request)\(|urlopen\(|requests\.get\(")
    sources = [path for room in ("model", "export", "jobs", "kserve") for path in (root / room).rglob("*.py")]
    found = [str(path.relative_to(root)) for path in sources if makes.search(path.read_text())]
    assert found == ["model/data/remote/http_client.py"]
