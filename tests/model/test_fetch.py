import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import botocore.exceptions
import pytest

from model import fetch
from model.cifar10 import BATCH_FILES, DataError

CONTENT = b"an archive" * 10_000


class _Server(BaseHTTPRequestHandler):
    hold: threading.Event

    def do_GET(self) -> None:
        if self.path == "/silent":
            self.hold.wait(30)
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
            self.hold.wait(30)
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
        ("/stalls", "did not answer in time"),
    ],
)
def test_a_download_that_fails_says_why_and_leaves_nothing(
    server: str, cache: Path, path: str, sentence: str
) -> None:
    with pytest.raises(DataError, match=sentence):
        fetch.download(f"{server}{path}", "0" * 64, connect_seconds=1, total_seconds=0.5)
    _Server.hold.set()
    for thread in threading.enumerate():
        if thread.name == "download":
            thread.join(10)
    assert not cache.exists() or not list(cache.iterdir())


def test_nobody_there(cache: Path) -> None:
    with pytest.raises(DataError, match="could not be downloaded"):
        fetch.download("http://127.0.0.1:9/x", "0" * 64)
    assert not cache.exists()


class _Bucket:
    """As much of boto3's S3 client as is used."""

    def __init__(self, keys: list[str]) -> None:
        self.keys = keys

    def get_paginator(self, _: str) -> "_Bucket":
        return self

    def paginate(self, **asked: str) -> list[dict[str, Any]]:
        if asked["Bucket"] != "data":
            error = {"Error": {"Code": "NoSuchBucket", "Message": "The specified bucket does not exist"}}
            raise botocore.exceptions.ClientError(error, "ListObjectsV2")
        found = [{"Key": key} for key in self.keys if key.startswith(asked["Prefix"])]
        return [{"Contents": found[:2]}, {"Contents": found[2:]}, {}]

    def download_file(self, _: str, key: str, target: str) -> None:
        Path(target).write_text(key)


@pytest.mark.parametrize("prefix", ["", "cifar", "cifar/", "cifar/10"])
def test_batches_come_from_a_prefix(tmp_path: Path, prefix: str) -> None:
    base = prefix if not prefix or prefix.endswith("/") else f"{prefix}/"
    bucket = _Bucket([f"{base}{name}" for name in (*BATCH_FILES, "batches.meta")])
    folder = fetch.from_s3(f"s3://data/{prefix}", tmp_path, lambda: bucket)
    assert (folder / "data_batch_2").read_text() == f"{base}data_batch_2"


def test_an_archive_comes_from_a_key(tmp_path: Path) -> None:
    bucket = _Bucket(["cifar-10.tar.gz", "cifar-10.tar.gz.md5"])
    path = fetch.from_s3("s3://data/cifar-10.tar.gz", tmp_path, lambda: bucket)
    assert path.read_text() == "cifar-10.tar.gz"


def test_an_s3_address_that_does_not_work_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"s3://data/other holds neither"):
        fetch.from_s3("s3://data/other", tmp_path, lambda: _Bucket(["others"]))
    with pytest.raises(DataError, match=r"s3://nobody/x cannot be read.*NoSuchBucket"):
        fetch.from_s3("s3://nobody/x", tmp_path, lambda: _Bucket([]))
    with pytest.raises(DataError, match="names no bucket"):
        fetch.from_s3("s3:///x", tmp_path, lambda: _Bucket([]))
