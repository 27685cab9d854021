import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from model.data import fetch
from model.data.cifar10 import DataError

CONTENT = b"an archive" * 10_000


class _Server(BaseHTTPRequestHandler):
    hold: threading.Event

    def do_GET(self) -> None:
        if self.path == "/silent":
            self.hold.wait(60)
            return
        if self.path == "/missing":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        if self.path == "/stalls":
            self.wfile.write(CONTENT[:100])
            self.wfile.flush()
            self.hold.wait(60)
        elif self.path == "/cut":
            self.wfile.write(CONTENT[:100])
        else:
            self.wfile.write(CONTENT)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    _Server.hold = threading.Event()
    http = ThreadingHTTPServer(("127.0.0.1", 0), _Server)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{http.server_address[1]}"
    _Server.hold.set()
    http.shutdown()
    thread.join()
    http.server_close()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    return tmp_path / "datasets"


def test_what_was_downloaded_and_checked_is_in_the_cache(server: str, cache: Path) -> None:
    path = fetch.download(f"{server}/good", hashlib.sha256(CONTENT).hexdigest())
    assert path.read_bytes() == CONTENT
    assert fetch.keras_cache() == path
    assert list(cache.iterdir()) == [path]


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("/good", "another file than the published one"),
        ("/missing", "could not be downloaded.*404"),
        ("/cut", "could not be downloaded"),
        ("/silent", "did not answer in time"),
        ("/stalls", "did not answer in time|was too slow"),  # as the waiting or the reading notices first
    ],
)
def test_a_download_that_fails_says_why_and_leaves_nothing(
    server: str, cache: Path, path: str, sentence: str
) -> None:
    seconds = 0.5 if path in {"/silent", "/stalls"} else 60
    with pytest.raises(DataError, match=sentence):
        fetch.download(f"{server}{path}", "0" * 64, connect_seconds=seconds, total_seconds=seconds)
    _Server.hold.set()
    for thread in threading.enumerate():
        if thread.name == "download":
            thread.join(60)
    assert not cache.exists() or not list(cache.iterdir())


def test_nobody_there(cache: Path) -> None:
    with pytest.raises(DataError, match="could not be downloaded"):
        fetch.download("http://127.0.0.1:9/x", "0" * 64)
    assert not cache.exists()
