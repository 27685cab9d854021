import gzip
import hashlib
import os
import random
import shutil
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from model.data import fetch
from model.data.cifar10 import read_archive, read_folder
from model.data.errors import DataError

CONTENT = gzip.compress(random.Random(1).randbytes(99_999))


class _Server(BaseHTTPRequestHandler):
    hold: threading.Event
    asked: list[str | None]

    def do_GET(self) -> None:
        if self.path == "/silent":
            self.hold.wait(60)
            return
        if self.path == "/missing":
            self.send_error(404)
            return
        if self.path == "/moved":
            self.send_response(301)
            self.send_header("Location", "/good")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if self.path in {"/breaks", "/breaks-without-ranges"}:
            self._break_off()
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        if self.path == "/encoded":  # as Apache says of a .gz with AddEncoding, whatever the client takes
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        if self.path == "/stalls":
            self.wfile.write(CONTENT[:100])
            self.wfile.flush()
            self.hold.wait(60)
        elif self.path == "/cut":
            self.wfile.write(CONTENT[:100])
        else:
            self.wfile.write(CONTENT)

    def _break_off(self) -> None:
        """A third of what is left, or of it all, each time; the whole the third time."""
        type(self).asked.append(self.headers.get("Range"))
        begin = 0
        if self.path == "/breaks" and self.asked[-1]:
            begin = int(self.asked[-1].removeprefix("bytes=").removesuffix("-"))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {begin}-{len(CONTENT) - 1}/{len(CONTENT)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT) - begin))
        self.end_headers()
        share = len(self.asked) * len(CONTENT) // 3
        self.wfile.write(CONTENT[begin:share])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    _Server.hold, _Server.asked = threading.Event(), []
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


@pytest.mark.parametrize("way", ["/good", "/moved", "/encoded", "/breaks", "/breaks-without-ranges"])
def test_what_was_downloaded_and_checked_is_in_the_cache(way: str, server: str, cache: Path) -> None:
    path = fetch.download(f"{server}{way}", hashlib.sha256(CONTENT).hexdigest())
    assert path.read_bytes() == CONTENT
    assert fetch.keras_cache() == path
    assert list(cache.iterdir()) == [path]
    third, two = len(CONTENT) // 3, 2 * len(CONTENT) // 3
    expected = [None, f"bytes={third}-", f"bytes={two}-"] if way.startswith("/breaks") else []
    assert _Server.asked == expected


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("/good", "another file than the published one: its sha256 is [0-9a-f]{64}, not 0{64}"),
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


# Keras' own load_data, with the archive of a local server for the official one; it prints what it asked for.
_KERAS_LOADS = """
import sys
from keras.src.datasets import cifar10
real = cifar10.get_file
def get_file(**arguments):
    print(arguments["origin"], arguments["file_hash"])
    real(**arguments | {"origin": sys.argv[1], "file_hash": sys.argv[2]})
    raise SystemExit
cifar10.get_file = get_file
cifar10.load_data()
"""


@pytest.mark.slow
def test_keras_own_address_digest_and_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_batches: Callable[[Path], Path]
) -> None:
    """The constants are the ones in Keras' source, and what Keras leaves, extracted or not, is found."""
    official = tmp_path / "cifar-10-python.tar.gz"
    with tarfile.open(official, "w:gz") as archive:
        archive.add(write_batches(tmp_path / "made"), "cifar-10-batches-py")
    digest = hashlib.sha256(official.read_bytes()).hexdigest()
    monkeypatch.delenv("KERAS_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "here"))
    (tmp_path / "here").mkdir()
    keras = [sys.executable, "-c", _KERAS_LOADS, official.as_uri(), digest]
    asked = subprocess.run(keras, capture_output=True, text=True, check=True).stdout
    assert f"{fetch.URL} {fetch.SHA256}\n" in asked

    found = fetch.keras_cache()
    assert found is not None
    assert found.name == "cifar-10-batches-py"
    assert len(read_folder(found).test.labels) == 20
    shutil.rmtree(found.parent)  # as where the extraction was cut off
    assert fetch.keras_cache() is None  # another archive than the published one might be half of it
    monkeypatch.setattr(fetch, "SHA256", digest)
    left = fetch.keras_cache()
    assert left is not None
    assert len(read_archive(left).test.labels) == 20


def test_a_home_that_cannot_be_written_is_read_and_replaced_as_keras_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_batches: Callable[[Path], Path]
) -> None:
    there = write_batches(tmp_path / "datasets" / "cifar-10-batches-py")
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)  # root may write anywhere
    assert fetch.keras_cache() == there
    assert fetch._keras_datasets()[-1] == Path("/tmp/.keras/datasets")
