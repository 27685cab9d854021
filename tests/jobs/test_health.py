"""A service that answers on one family of addresses or on both: real sockets, a name of the test's."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from forward_proxy import ForwardProxy

from jobs.errors import FaultError
from jobs.health import ask_health, require_all
from model.data.remote.http_client import addresses

FAMILIES = {"127.0.0.1": socket.AF_INET, "::1": socket.AF_INET6}
BOTH = "listen on both"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"{self.headers['host']}{self.path}".encode())

    def log_message(self, *arguments: object) -> None: ...


@pytest.fixture
def listen() -> Iterator[Callable[..., int]]:
    """Serves on addresses, all at one port."""
    with ExitStack() as stack:

        def serve(*ips: str) -> int:
            port = 0
            for ip in ips:

                class Server(ThreadingHTTPServer):
                    address_family = FAMILIES[ip]

                server = stack.enter_context(Server((ip, port), Handler))
                threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
                stack.callback(server.shutdown)
                port = server.server_port
            return port

        yield serve


@pytest.fixture(autouse=True)
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Names that lead to the addresses that a test gives them."""
    known: dict[str, list[str]] = {"images.example": ["127.0.0.1", "::1"]}
    lookup = socket.getaddrinfo

    def found(host: Any, port: Any, *arguments: Any, **named: Any) -> list[Any]:
        return [one for ip in known.get(host, [host]) for one in lookup(ip, port, *arguments, **named)]

    monkeypatch.setattr(socket, "getaddrinfo", found)
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return known


@pytest.mark.parametrize(("one", "other"), [("127.0.0.1", "::1"), ("::1", "127.0.0.1")])
def test_a_family_that_does_not_answer_is_named(listen: Callable[..., int], one: str, other: str) -> None:
    port = listen(one)
    url = f"http://images.example:{port}"
    with socket.socket(FAMILIES[other]) as taken:
        taken.bind((other, port))  # and does not listen, so that nobody else's server answers there
        answers = ask_health(url, addresses(url))
    assert {answer.ip: answer.status for answer in answers} == {one: 200, other: None}
    with pytest.raises(FaultError) as caught:
        require_all(url, answers, BOTH)
    assert (
        str(caught.value)
        == f"{url} answers at {one} and not at {other} ([Errno 111] Connection refused): {BOTH}"
    )


def test_each_address_is_asked_by_the_services_name(listen: Callable[..., int]) -> None:
    url = f"http://images.example:{listen('127.0.0.1', '::1')}"
    answers = ask_health(url, addresses(url))
    assert [answer.ip for answer in answers] == ["127.0.0.1", "::1"]
    assert {answer.text for answer in answers} == {f"{url.removeprefix('http://')}/health"}
    require_all(url, answers, BOTH)


def test_one_of_several_addresses_of_a_family_is_another_matter(
    listen: Callable[..., int], names: dict[str, list[str]]
) -> None:
    names["images.example"] = ["127.0.0.1", "127.0.0.2"]
    url = f"http://images.example:{listen('127.0.0.1')}"
    with pytest.raises(FaultError, match=r"not at 127\.0\.0\.2 .*: look at what stands behind that address$"):
        require_all(url, ask_health(url, addresses(url)), BOTH)


def test_addresses_to_which_this_machine_has_no_way_are_left_out(names: dict[str, list[str]]) -> None:
    names["images.example"] = ["127.0.0.1", "fe80::1"]  # a link's own, without the link
    assert addresses("http://images.example") == ["127.0.0.1"]


def test_a_name_is_left_to_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = ForwardProxy()
    monkeypatch.setenv("http_proxy", proxy.http)
    assert addresses("http://images.example") == []
    proxy.close()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
def test_a_tunnel_on_this_machine_may_have_one_family_alone(host: str) -> None:
    assert addresses(f"http://{host}:80") == []
