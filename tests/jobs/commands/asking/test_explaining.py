"""`cnn-image explain` where the service does not explain: how it ends and what it says."""

import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from image_transformer.codecs.overlay import data_url, overlay
from jobs.cli import app
from jobs.commands.asking import explaining
from model.images import decode
from model.images.limits import Limit

EXPLANATION = {
    "version": "3",
    "masks": 500,
    "standard_error": 0.01,
    "map": [[0.1] * 32] * 32,
    "overlay": data_url(overlay(np.full((32, 32), 0.1, np.float32), 0.01)),
}
ANSWERS: dict[bytes, tuple[int, dict[str, object]]] = {
    b"busy": (503, {"code": "explanation_timeout", "error": "The explanation was not done in 30 s."}),
    b"broken": (400, {"code": "broken_image", "error": "The image is cut short."}),
    b"older": (200, {"class_id": 4, "class_name": "dog", "confidence": 0.9}),
    b"marked": (200, {"class_name": "dog", "confidence": 0.9, "explanation": EXPLANATION}),
    b"usual": (200, {"class_name": "dog", "confidence": 0.9, "explanation": EXPLANATION}),
    b"PNG": (200, {"class_name": "dog", "confidence": 0.9, "explanation": EXPLANATION}),
}
MARKS = {b"marked": "true", b"usual": "false"}


class Service(BaseHTTPRequestHandler):
    """Answers by what the picture says."""

    def do_POST(self) -> None:
        assert self.path == "/predict?explain=true"
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status, answer = next(told for said, told in ANSWERS.items() if said in body)
        self.send_response(status)
        for told in (mark for said, mark in MARKS.items() if said in body):
            self.send_header("X-Out-Of-Distribution", told)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def do_GET(self) -> None:
        assert self.path == "/info?version=3"
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"input_shape": [32, 32, 3], "fit": "stretch"}).encode())

    def log_message(self, *arguments: object) -> None: ...


@pytest.fixture
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def explain(url: str, picture: bytes) -> Result:
    return CliRunner().invoke(app, ["explain", "-", "--out", "map.png", "--url", url], input=picture)


@pytest.mark.parametrize(
    ("picture", "code", "said"),
    [
        (b"busy", 69, "cannot answer now (503): The explanation was not done in 30 s."),
        (b"broken", 2, "-: The image is cut short."),
        (b"older", 2, "explains nothing: update it"),
    ],
)
def test_what_is_not_explained_is_said(home: Path, url: str, picture: bytes, code: int, said: str) -> None:
    result = explain(url, picture)
    assert (result.exit_code, result.stdout) == (code, "")
    assert said in result.stderr
    assert not (home / "map.png").exists()


def test_a_picture_is_drawn_that_this_service_takes_and_others_do_not(
    home: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service may be told to take larger pictures than LIMITS."""
    monkeypatch.setitem(decode.LIMITS, "png", Limit(pixels=10, bytes=10))  # type: ignore[index]
    file = io.BytesIO()
    Image.new("RGB", (40, 40)).save(file, "PNG")
    result = explain(url, file.getvalue())
    assert result.exit_code == 0, result.stderr
    with Image.open(home / "map.png") as drawn:
        assert drawn.size == (448, 448)


@pytest.mark.parametrize(
    ("picture", "marked", "named"),
    [
        (b"marked", {"out_of_distribution": True}, "dog, unlike training "),
        (b"usual", {"out_of_distribution": False}, "dog "),
        (b"PNG", {}, "dog "),  # of a version that cannot tell
    ],
)
def test_what_is_unlike_the_training_is_said_as_predict_says_it(
    home: Path,
    url: str,
    monkeypatch: pytest.MonkeyPatch,
    picture: bytes,
    marked: dict[str, bool],
    named: str,
) -> None:
    result = CliRunner().invoke(app, ["explain", "-", "--json", "--url", url], input=picture)
    assert json.loads(result.stdout) == {"image": "-", **ANSWERS[picture][1], **marked}
    monkeypatch.setattr(explaining, "_drawn", lambda *_: b"")
    assert named in explain(url, picture).stdout


def test_a_missing_file_is_a_mistake(home: Path, url: str) -> None:
    result = CliRunner().invoke(app, ["explain", "gone.jpg", "--out", "map.png", "--url", url])
    assert result.exit_code == 2
    assert "gone.jpg cannot be read" in result.stderr
