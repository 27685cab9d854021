"""A real browser without a window: opens a page of the test's, and says what the page has become."""

import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from machine import program


def opened(address: str, profile: Path, patience: int = 20_000) -> str:
    """Returns a page's HTML once all that it asks for has come.

    Args:
        address: The page.
        profile: An empty folder, which the browser fills.
        patience: Milliseconds of the page's own time that its scripts may take.
    """
    done = subprocess.run(
        [
            program("chromium", "apt-get install chromium"),
            *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
            *("--disable-background-networking", "--disable-component-update", "--no-proxy-server"),
            *(f"--user-data-dir={profile}", f"--virtual-time-budget={patience}", "--dump-dom", address),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout


@contextmanager
def page(html: Callable[[], str]) -> Iterator[str]:
    """Serves a page on an origin of its own, and gives that; the page is asked for when it is opened."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = html().encode()
            self.send_response(200)
            self.send_header("content-type", "text/html; charset=utf-8")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
