"""Which proxy leads where; libraries that read the environment themselves leave this machine out too."""

import os
import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
import requests
from forward_proxy import ForwardProxy
from kubernetes import client as kubernetes

from model.data.remote.proxies import ProxySettingError, is_this_machine, leave_this_machine_out, proxy_for

NAMES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """None but a test's own; what `leave_this_machine_out` sets goes with the test."""
    for name in NAMES:
        for spelt in (name, name.upper()):
            monkeypatch.setenv(spelt, "")
            monkeypatch.delenv(spelt)


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "a.localhost",
        "127.0.0.1",
        "127.8.9.1",
        "::1",
        "0.0.0.0",
        "169.254.169.254",
        socket.gethostname().lower(),
    ],
)
def test_no_proxy_leads_to_this_machine(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("ALL_PROXY", "nonsense://")
    assert is_this_machine(host)
    assert proxy_for(f"http://[{host}]:8000/x" if ":" in host else f"http://{host}:8000/x") is None


def test_an_address_of_this_machine_is_known_without_a_name_being_looked_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing; chooses the address that leads outside
        own = probe.getsockname()[0]
    assert is_this_machine(own)
    assert not is_this_machine("192.0.2.1")
    assert not is_this_machine("store.example")


@pytest.mark.parametrize(
    ("variables", "url", "proxy"),
    [
        ({"http_proxy": "http://p:1"}, "http://a.example", "http://p:1 (http_proxy)"),
        ({"http_proxy": "http://p:1"}, "https://a.example", None),
        ({"HTTPS_PROXY": "http://p:1"}, "https://a.example", "http://p:1 (HTTPS_PROXY)"),
        ({"ALL_PROXY": "socks5://p:1"}, "https://a.example", "socks5://p:1 (ALL_PROXY)"),
        ({"all_proxy": "socks://p:1/"}, "http://a.example", "socks5://p:1 (all_proxy)"),
        ({"http_proxy": "p:1"}, "http://a.example", "http://p:1 (http_proxy)"),
        ({"http_proxy": "http://me:secret@p:1"}, "http://a.example", "http://p:1 (http_proxy)"),
        ({"http_proxy": "http://p:1", "NO_PROXY": "b.example,.a.example"}, "http://x.a.example:80", None),
        ({"http_proxy": "http://p:1", "NO_PROXY": "*"}, "http://a.example", None),
        ({"http_proxy": "http://p:1", "NO_PROXY": "10.0.0.0/8"}, "http://10.1.2.3:9000", None),
        (
            {"http_proxy": "http://p:1", "NO_PROXY": "10.0.0.0/8"},
            "http://11.1.2.3",
            "http://p:1 (http_proxy)",
        ),
    ],
)
def test_the_environment_names_the_others(
    variables: dict[str, str], url: str, proxy: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    found = proxy_for(url)
    assert (str(found) if found else None) == proxy


@pytest.mark.parametrize("named", ["socks4://p:1", "ftp://p", "http://", "http://p:port"])
def test_what_no_client_knows_is_one_sentence(named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", named)
    with pytest.raises(ProxySettingError, match=r"^HTTP_PROXY .*socks5://.*a\.example to NO_PROXY\.$"):
        proxy_for("http://a.example")


class Hello(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"this machine")

    def log_message(self, *arguments: object) -> None: ...


@pytest.fixture
def here() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hello)
    Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_libraries_leave_this_machine_out_and_no_other(here: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """requests, through which MLflow is asked, and the client of Kubernetes."""
    proxy = ForwardProxy(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
    monkeypatch.setenv("http_proxy", proxy.http)
    monkeypatch.setenv("NO_PROXY", "kept.example")
    assert requests.get(here, timeout=5).status_code == 502  # what they do by themselves
    leave_this_machine_out()
    assert requests.get(here, timeout=5).text == "this machine"
    assert requests.get("http://other.example", timeout=5).status_code == 502
    assert proxy.asked == [f"GET {here}/", "GET http://other.example/"]
    assert os.environ["no_proxy"].startswith("kept.example,localhost,127.0.0.1,")
    api = kubernetes.ApiClient(kubernetes.Configuration(host=here))
    assert api.rest_client.pool_manager.request("GET", here).data == b"this machine"
    before = os.environ["NO_PROXY"]
    leave_this_machine_out()
    assert os.environ["NO_PROXY"] == before
    proxy.close()


def test_without_a_proxy_the_environment_stays_as_it_is() -> None:
    leave_this_machine_out()
    assert "NO_PROXY" not in os.environ
