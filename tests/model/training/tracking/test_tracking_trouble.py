"""What MLflow's client raises of a server that is wrong, in words that say what to do.

The server stands in for those that a proxy, a login or a company's rules make of a real one.
"""

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests
from machine import free_port
from minio_server import make_certificates

from model.training.tracking.server import connect
from model.training.tracking.trouble import ArtifactsError, Trouble, explain, shown

PAGE = "<!doctype html>\n<html><head><title>Sign in</title></head><body>\n<form>…</form></body></html>"
ASK_JSON = '{"error_code": "INTERNAL_ERROR", "message": "(psycopg2.OperationalError) server closed"}'


class Answers(BaseHTTPRequestHandler):
    status = 200
    body = PAGE
    location: str | None = None

    def answer(self) -> None:
        login = self.path == "/login"
        self.send_response(200 if login else self.status)
        if self.location is not None and not login:
            self.send_header("Location", self.location)
        self.send_header("Content-Type", "text/html" if self.body.startswith("<") else "application/json")
        self.send_header("Content-Length", str(len(self.body.encode())))
        self.end_headers()
        self.wfile.write(self.body.encode())

    do_GET = do_POST = answer  # noqa: N815

    def log_message(self, *arguments: object) -> None: ...


@contextmanager
def served(
    status: int = 200, body: str = PAGE, location: str | None = None, tls: ssl.SSLContext | None = None
) -> Iterator[str]:
    kind = type("Given", (Answers,), {"status": status, "body": body, "location": location})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.delenv("MLFLOW_TRACKING_USERNAME", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_TOKEN", raising=False)


def trouble(uri: str) -> Trouble:
    """What is said of a server that is asked as a training and a promotion ask it: the same of each."""
    client = connect(uri)
    found = []
    asks: tuple[Callable[[], object], ...] = (
        lambda: client.get_experiment_by_name("cnn-image"),
        lambda: client.create_run("0"),
        lambda: client.get_model_version_by_alias("cnn-image", "champion"),
    )
    for ask in asks:
        with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever it raises is what is explained
            ask()
        found.append(explain(caught.value))
        said = found[-1].sentence(uri)
        assert "<" not in said
        assert "\n" not in said
        assert len(said) < 400
    assert len({each.remedy for each in found}) == 1
    return found[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "body", "what", "remedy", "lasting"),
    [
        (
            200,
            PAGE,
            "answers with a web page, as a login",
            "the address that programs use and for a token",
            True,
        ),
        (401, PAGE, "does not know who asks (401)", "ask its owner for a user or a token", True),
        (403, PAGE, "does not allow it (403)", "the right to make and edit the experiment", True),
        (
            403,
            "Invalid Host header - possible DNS rebinding attack detected",
            "refuses the name",
            "--allowed-h",
            True,
        ),
        (404, PAGE, "has no /api/2.0/mlflow/experiments/get-by-name (404)", "MLflow 2.3 or newer", True),
        (405, PAGE, "has no /api/2.0/mlflow/experiments/get-by-name (405)", "MLflow 2.3 or newer", True),
        (413, PAGE, "takes no file as large as a model (413)", "client_max_body_size", True),
        (418, PAGE, "refuses /api/2.0/mlflow/experiments/get-by-name (418)", "MLFLOW_TRACKING_URI", True),
        (429, PAGE, "has a fault of its own (429)", "try again later", False),
        (500, ASK_JSON, "has a fault of its own (500", "in its log", False),
        (502, PAGE, "has a fault of its own (502)", "in its log", False),
        (503, PAGE, "has a fault of its own (503)", "in its log", False),
    ],
)
def test_what_a_wrong_server_answers(status: int, body: str, what: str, remedy: str, lasting: bool) -> None:
    with served(status, body) as uri:
        found = trouble(uri)
    assert what in found.what
    assert remedy in found.remedy
    assert found.lasting is lasting


@pytest.mark.slow
def test_a_login_that_is_redirected_to() -> None:
    with served(302, location="/login") as uri:
        assert "answers with a web page" in trouble(uri).what


@pytest.mark.slow
def test_credentials_that_are_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "old")
    with served(401) as uri:
        assert trouble(uri).remedy == "check MLFLOW_TRACKING_TOKEN, and whether it has run out"
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "me")
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "wrong")
        assert trouble(uri).remedy == "check MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"


@pytest.mark.slow
def test_certificates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ca = tmp_path / "ca.pem"
    make_certificates(tmp_path, ca)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "public.crt", tmp_path / "private.key")
    with served(503, tls=context) as uri:
        unknown = trouble(uri)
        assert unknown.what.startswith("has a certificate that is not trusted here (")
        assert "MLFLOW_TRACKING_SERVER_CERT_PATH" in unknown.remedy
        monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(ca))
        assert trouble(uri).what == "has a fault of its own (503)"
        other_name = trouble(uri.replace("127.0.0.1", "localhost"))
        assert other_name.what.startswith("has a certificate for another name (")
    with served(503) as uri:
        assert trouble(uri.replace("http:", "https:")).what == "does not speak TLS"


@pytest.mark.slow
def test_nobody_and_a_proxy_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    assert trouble(nowhere) == Trouble(
        "does not answer (Connection refused)", "start it, or correct MLFLOW_TRACKING_URI", lasting=False
    )
    assert trouble("http://mlflow.invalid").what.startswith("does not answer (")
    monkeypatch.setenv("HTTP_PROXY", nowhere)
    assert "NO_PROXY" in trouble("http://mlflow.invalid").remedy


def test_files_that_have_no_place() -> None:
    error = ArtifactsError("s3://user:secret@bucket/1/artifacts")
    error.__cause__ = ModuleNotFoundError("No module named 'boto3'")
    found = explain(error)
    assert found.what == (
        "stores files at s3://bucket/1/artifacts, which cannot be written from here (No module named 'boto3')"
    )
    assert found.lasting
    error.__cause__ = ConnectionError("[Errno 111] Connection refused")
    assert not explain(error).lasting
    refused = requests.Response()
    refused.status_code = 413
    error.__cause__ = requests.HTTPError(f"413 Client Error. Response text: {PAGE}", response=refused)
    assert explain(error).what == "takes no file as large as a model (413)"


def test_a_password_in_an_address_is_not_shown() -> None:
    assert shown("https://me:secret@mlflow.example.com/x@y") == "https://mlflow.example.com/x@y"
    assert shown("sqlite:////var/mlflow.db") == "sqlite:////var/mlflow.db"
    assert Trouble("fails", "mend it").sentence("http://a:b@c") == "MLflow at http://c fails: mend it"
