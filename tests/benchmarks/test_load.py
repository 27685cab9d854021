"""The load generators tell right answers from wrong ones: tried on a server that gives either."""

import json
import os
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.serving import load, open_loop
from benchmarks.serving.payloads import Body, http_request

pytestmark = pytest.mark.slow  # each runs a load generator for a second
# Where everything is required, a missing generator fails the test that needs it.
needs_wrk = pytest.mark.skipif(
    shutil.which("wrk") is None and os.environ.get("CNN_IMAGE_REQUIRE_ALL") != "1",
    reason="wrk is not installed; on Debian: apt-get install wrk",
)
needs_vegeta = pytest.mark.skipif(
    shutil.which("vegeta") is None and os.environ.get("CNN_IMAGE_REQUIRE_ALL") != "1",
    reason=f"vegeta is not installed: {open_loop.INSTALL}",
)


class Server(ThreadingHTTPServer):
    """Answers request `b"3"` with the numbers 3.5, 3.25; from `swapped_after` requests on with another's."""

    daemon_threads = True
    swapped_after = 10**9
    busy_after = 10**9
    binary = False
    seen = 0


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        number = int(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.seen += 1
        number += self.server.seen > self.server.swapped_after
        values = [number + 0.5, number + 0.25]
        if self.server.binary:
            body = b'{"head": 1}' + np.array(values, "<f4").tobytes()
        else:
            body = json.dumps({"model": "m1", "probabilities": values}).encode()
        self.send_response(503 if self.server.seen > self.server.busy_after else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as one:
        thread = threading.Thread(target=one.serve_forever, daemon=True)
        thread.start()
        yield one
        one.shutdown()


def address(server: Server) -> str:
    return f"127.0.0.1:{server.server_address[1]}"


def prepared(tmp_path: Path, marker: str) -> load.Prepared:
    requests = [http_request("/", "x", Body(str(number).encode(), {})) for number in range(5)]
    expected = np.array([[number + 0.5, number + 0.25] for number in range(5)], np.float32)
    return load.prepare(tmp_path, requests, expected, marker)


@needs_wrk
@pytest.mark.parametrize("binary", [False, True])
def test_right_answers_are_counted(server: Server, tmp_path: Path, binary: bool) -> None:
    server.binary = binary
    seen = load.wrk(address(server), prepared(tmp_path, "" if binary else '"probabilities": ['), 2, 1)
    assert seen.requests > 10
    assert 0 < seen.p50 <= seen.p90 <= seen.p99
    assert abs(server.seen - seen.requests) <= 2, "those under way at the end"


@needs_wrk
@pytest.mark.parametrize("binary", [False, True])
def test_another_request_s_answer_is_noticed(server: Server, tmp_path: Path, binary: bool) -> None:
    server.binary, server.swapped_after = binary, 20
    with pytest.raises(load.LoadError, match="wrong answers"):
        load.wrk(address(server), prepared(tmp_path, "" if binary else '"probabilities": ['), 2, 1)


@needs_wrk
def test_an_error_is_noticed(server: Server, tmp_path: Path) -> None:
    server.busy_after = 20
    with pytest.raises(load.LoadError, match="example: '503"):
        load.wrk(address(server), prepared(tmp_path, '"probabilities": ['), 2, 1)


def test_a_missing_load_generator_is_named_with_its_package() -> None:
    with pytest.raises(load.LoadError, match="needs no-such-tool; apt-get install it"):
        load.require("no-such-tool", "apt-get install it")


@needs_vegeta
def test_the_open_loop_keeps_its_rate_and_counts_who_was_turned_away(server: Server, tmp_path: Path) -> None:
    server.busy_after = 50
    ready = prepared(tmp_path, '"probabilities": [')
    outcome = open_loop.finish(open_loop.start(address(server), ready, rate=100, seconds=1))
    assert outcome.planned == 100
    assert outcome.statuses == {"200": 50, "503": 50}
    assert 0 < outcome.p50 <= outcome.p99
    assert outcome.broken == 0


@needs_vegeta
def test_the_open_loop_notices_wrong_answers(server: Server, tmp_path: Path) -> None:
    server.swapped_after = 20
    ready = prepared(tmp_path, '"probabilities": [')
    with pytest.raises(load.LoadError, match="wrong under open-loop load"):
        open_loop.finish(open_loop.start(address(server), ready, rate=100, seconds=1))
