"""Real proxies in front: whatever they make of the rows of `framings`, nobody gets another's answer."""

import asyncio
import contextlib
import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from framings import CASES, INNER, NEXT
from machine import free_port, program, wait_until
from wire import Echo, listening

pytestmark = pytest.mark.slow

PATIENCE = 30
# What a proxy makes of a request that is refused without it; never of what is a body to everybody.
ELSE = [("GET", "/next", b""), ("GET", "/predict", b""), ("POST", "/predict", INNER)]

# As ingress controllers set it up: connections are kept, upgrades passed on, bodies sent as they come.
NGINX = """
daemon off; error_log stderr; pid {folder}/nginx.pid;
events {{}}
http {{
    access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
    upstream transformer {{ server 127.0.0.1:{behind}; keepalive 2; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://transformer; proxy_http_version 1.1; proxy_request_buffering off;
            proxy_set_header Host $host; proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
        }}
    }}
}}
"""
HAPROXY = """
defaults
    mode http
    timeout connect 10s
    timeout client 60s
    timeout server 60s
    timeout http-request 10s
    option http-keep-alive
    http-reuse always
frontend clients
    bind 127.0.0.1:{port}
    default_backend transformer
backend transformer
    server one 127.0.0.1:{behind}
"""


@dataclass(frozen=True)
class Proxy:
    """How a proxy is set up and started."""

    package: str
    config: str
    flags: tuple[str, ...]


PROXIES = {
    "nginx": Proxy("nginx", NGINX, ("-c",)),
    "haproxy": Proxy("haproxy", HAPROXY, ("-db", "-f")),
}


@contextmanager
def started(name: str, behind: int, folder: Path) -> Iterator[int]:
    """Starts a proxy in front of a port; gives its own."""
    proxy = PROXIES[name]
    binary = program(name, f"apt-get install {proxy.package}")
    port = free_port()
    config = folder / "config"
    config.write_text(proxy.config.format(port=port, behind=behind, folder=folder))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([binary, *proxy.flags, str(config)], stdout=log, stderr=log)

    def listens() -> bool:
        assert process.poll() is None, (folder / "log").read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        wait_until(listens, "the proxy's start")
        yield port
    finally:
        process.terminate()
        process.wait(30)


async def say(port: int, said: bytes) -> list[int]:
    """Says it on a connection of its own; returns the answers' statuses, once that is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(said)
    heard = bytearray()
    with contextlib.suppress(ConnectionError):  # it was closed, and more was sent
        async with asyncio.timeout(PATIENCE):
            while some := await reader.read(65536):
                heard += some
    writer.transport.abort()
    statuses = [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3}) ", heard)]
    return [status for status in statuses if status != 100]


@pytest.mark.parametrize("name", PROXIES)
async def test_nobody_gets_the_answer_to_anothers_request(name: str, tmp_path: Path) -> None:
    async with listening(Echo()) as (app, behind):
        with started(name, behind, tmp_path) as port:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as others:
                for number, case in enumerate(case for case in CASES if case.proxied):
                    app.understood.clear()
                    statuses = await say(port, case.sent + NEXT)
                    requests = case.sent.replace(INNER, b"").count(b"/predict")
                    assert len(statuses) <= max(requests, len(case.statuses)) + 1, case.name
                    assert len(app.understood) <= max(requests, len(case.statuses)) + 1, case.name
                    for understood in app.understood:
                        assert understood in (*case.understood, *ELSE), case.name
                    for path in (f"/other/{number}/0", f"/other/{number}/1"):
                        assert (await others.get(path)).text == path, case.name
