"""What a first training waits for: S3 that comes up late, and an MLflow that may never come."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from jobs.cluster import trial
from jobs.errors import Exit


class FakeS3:
    """Fails as told, then makes the bucket."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.made: list[str] = []

    def create_bucket(self, *, Bucket: str) -> None:  # noqa: N803 - boto3's own name
        if self.errors:
            raise self.errors.pop(0)
        self.made.append(Bucket)


def refused(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": code}}, "CreateBucket")


def use(monkeypatch: pytest.MonkeyPatch, s3: FakeS3) -> FakeS3:
    monkeypatch.setattr(trial.boto3, "client", lambda _name: s3)
    monkeypatch.setattr(trial, "wait_fixed", lambda _seconds: lambda _state: 0)
    monkeypatch.setenv("CNN_IMAGE_STORE", "s3://models/some/prefix")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return s3


def test_it_waits_for_s3_and_makes_the_bucket_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    away = EndpointConnectionError(endpoint_url="http://minio:9000")
    s3 = use(monkeypatch, FakeS3(away, away))
    assert trial.main() == Exit.OK
    assert s3.made == ["models"]


def test_a_bucket_that_is_there_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    s3 = use(monkeypatch, FakeS3(refused("BucketAlreadyOwnedByYou")))
    assert trial.main() == Exit.OK
    assert s3.made == []


def test_a_refusal_is_a_mistake_and_no_answer_a_fault(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use(monkeypatch, FakeS3(refused("InvalidAccessKeyId")))
    assert trial.main() == Exit.MISTAKE
    assert "InvalidAccessKeyId" in capsys.readouterr().err
    use(monkeypatch, FakeS3(*[EndpointConnectionError(endpoint_url="http://minio:9000")] * 3))
    monkeypatch.setattr(trial, "stop_after_delay", lambda _seconds: lambda state: state.attempt_number > 2)
    assert trial.main() == Exit.FAULT


def test_mlflow_is_awaited_but_not_forever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "_AGAIN_SECONDS", 0.01)

    class Healthy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Healthy) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        assert trial.await_tracking(f"http://127.0.0.1:{server.server_port}", 10)
        server.shutdown()
    assert not trial.await_tracking("http://127.0.0.1:1", 0.01)
