"""`cnn-image predict` against a service made of a few lines: what it sends, prints and how it ends."""

import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from jobs.cli import app
from jobs.laptop.serving_folder import ServingFolder, Status
from jobs.settings import Settings
from model.contract import CLASSES

SENT: list[bytes] = []


class Service(BaseHTTPRequestHandler):
    """Answers `dog`, refuses `broken`, is too busy for `busy`."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/v2/models/cnn-image" else 404)
        self.end_headers()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        SENT.append(body)
        status, answer = 200, {"class_id": 4, "class_name": "dog", "confidence": 0.9, "probabilities": [0.1]}
        if b"broken" in body:
            status, answer = 400, {"code": "broken_image", "error": "The image is cut short."}
        if b"busy" in body:
            status, answer = 503, {"code": "busy", "error": "Triton is away."}
        self.send_response(status)
        self.send_header("X-Model-Version", "7")
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *arguments: object) -> None: ...


@pytest.fixture
def url() -> Iterator[str]:
    SENT.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def predict(*arguments: str, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(app, ["predict", *arguments], input=stdin)


def test_files_folders_and_standard_input_are_sent(url: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.jpg", "b.PNG", "notes.txt"):
        (tmp_path / "in" / name).write_bytes(b"picture " + name.encode())
    single = tmp_path / "single"
    single.write_bytes(b"picture single")
    result = predict(str(tmp_path / "in"), str(single), "-", "--url", url, "--json", stdin=b"picture -")
    assert result.exit_code == 0, result.output
    answers = json.loads(result.stdout)
    assert [Path(answer["image"]).name for answer in answers] == ["a.jpg", "b.PNG", "single", "-"]
    assert {(answer["class_name"], answer["version"]) for answer in answers} == {("dog", "7")}
    names = (b"a.jpg", b"b.PNG", b"single", b"-")
    assert all(b"picture " + name in body for name, body in zip(names, SENT, strict=True))
    assert len(SENT) == 4


def test_a_folders_images_are_of_every_format_that_the_service_takes(url: str, tmp_path: Path) -> None:
    names = ["a.jpeg", "b.webp", "c.gif", "d.bmp", "e.tif", "f.TIFF", "g.HEIC", "h.heif", "i.hif", "j.avif"]
    for name in (*names, "k.pdf", "l.mov"):
        (tmp_path / name).write_bytes(b"picture")
    result = predict(str(tmp_path), "--url", url, "--json")
    assert [Path(answer["image"]).name for answer in json.loads(result.stdout)] == names


def test_a_table_names_class_confidence_and_version(url: str, tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(b"picture")
    lines = predict(str(tmp_path / "x.jpg"), "--url", url).stdout.splitlines()
    assert lines[0].split() == ["image", "class", "confidence", "version"]
    assert lines[1].split()[-3:] == ["dog", "0.900", "7"]
    assert "dog" in CLASSES


def test_a_refused_image_is_said_and_the_others_are_answered(url: str, tmp_path: Path) -> None:
    for name in ("broken.jpg", "good.jpg"):
        (tmp_path / name).write_bytes(name.encode())
    result = predict(str(tmp_path), "--url", url)
    assert result.exit_code == 2
    assert "cut short" in result.stderr
    assert "1 of 2 images were refused" in result.stderr
    assert "dog" in result.stdout


def test_an_image_that_cannot_be_read_costs_no_other_its_answer(url: str, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"picture")
    result = predict(str(tmp_path / "gone.jpg"), str(tmp_path / "a.jpg"), "--url", url)
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        f"{tmp_path}/gone.jpg: It cannot be read: No such file or directory; name a file, a folder or -.",
        "1 of 2 images could not be read.",
    ]
    assert result.stdout.splitlines()[1].split() == [f"{tmp_path}/a.jpg", "dog", "0.900", "7"]


def test_a_name_that_is_no_text_is_sent_and_shown_with_escapes(url: str, tmp_path: Path) -> None:
    """Bytes that are no UTF-8, a line's end, a colour of the terminal, and letters that run backwards."""
    for name in (b"bad\xff.jpg", b"new\nline.jpg", b"\x1b[31mred.jpg", "\u202egpj.jpg".encode()):
        Path(os.fsdecode(bytes(tmp_path) + b"/" + name)).write_bytes(b"picture")
    result = predict(str(tmp_path), "--url", url)
    assert result.exit_code == 0, result.output
    names = [line.split()[0].rpartition("/")[2] for line in result.stdout.splitlines()[1:]]
    assert names == ["\\x1b[31mred.jpg", "bad\\udcff.jpg", "new\\nline.jpg", "\\u202egpj.jpg"]
    assert 'filename="bad\ufffd.jpg"'.encode() in SENT[1]


def test_a_busy_service_is_a_fault(url: str, tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(b"busy")
    result = predict(str(tmp_path / "x.jpg"), "--url", url)
    assert result.exit_code == 69
    assert "Triton is away" in result.stderr


def test_answers_from_before_a_service_was_busy_are_given(url: str, tmp_path: Path) -> None:
    for name in ("a.jpg", "busy.jpg", "c.jpg"):
        (tmp_path / name).write_bytes(name.encode())
    result = predict(str(tmp_path), "--url", url)
    assert result.exit_code == 69
    assert [line.split()[0] for line in result.stdout.splitlines()[1:]] == [str(tmp_path / "a.jpg")]
    assert result.stderr == (
        f"{url} cannot answer now (503): Triton is away. Before that it was asked about 1 image: see above.\n"
    )
    answers = json.loads(predict(str(tmp_path), "--url", url, "--json").stdout)
    assert [Path(one["image"]).name for one in answers] == ["a.jpg"]


def test_no_service_is_a_fault_and_no_address_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(b"picture")
    assert predict(str(tmp_path / "x.jpg"), "--url", "http://127.0.0.1:9").exit_code == 69
    assert predict(str(tmp_path / "x.jpg"), "--url", "nonsense").exit_code == 2


def test_an_empty_folder_and_a_missing_file_are_mistakes(url: str, tmp_path: Path) -> None:
    assert predict(str(tmp_path), "--url", url).exit_code == 2
    assert predict(str(tmp_path / "x.jpg"), "--url", url).exit_code == 2


@pytest.fixture
def photos(home: Path, url: str) -> Iterator[str]:
    """The model photos, which a service of this folder serves."""
    folder = ServingFolder(home / "var/models/photos/serving", "photos")
    with folder.claim():
        folder.write_status(
            Status(pid=1, url=url, triton_url="http://127.0.0.1:1", state="serving", variant="cpu-2")
        )
        yield url


def test_a_model_is_asked_where_it_is_served(
    photos: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.jpg").write_bytes(b"picture")
    monkeypatch.setenv("CNN_IMAGE_MODEL", "photos")
    result = predict("a.jpg", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)[0]["class_name"] == "dog"
    # What is given wins: nothing listens there.
    for given in (("--url", "http://127.0.0.1:9"), ()):
        monkeypatch.setenv("PORT", "9")
        assert "Nothing answers at http://127.0.0.1:9" in predict("a.jpg", *given).stderr


def test_another_model_at_the_usual_place_is_not_asked(
    home: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would answer with classes that are not those of the model that is meant."""
    (home / "a.jpg").write_bytes(b"picture")
    monkeypatch.setattr(Settings, "url", url)
    monkeypatch.setenv("CNN_IMAGE_MODEL", "birds")
    result = predict("a.jpg")
    assert result.exit_code == 2
    assert result.stderr == (
        f"{url} does not serve the model birds, and no service of it runs here; start one with "
        "`cnn-image --model birds serve`, or give --url.\n"
    )
    assert SENT == []
    monkeypatch.setenv("CNN_IMAGE_MODEL", "cnn-image")
    assert predict("a.jpg").exit_code == 0
