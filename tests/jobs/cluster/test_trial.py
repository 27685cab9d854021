"""What a first training waits for: S3 that comes up late, and an MLflow that may never come."""

import os
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from jobs.cluster import trial
from jobs.cluster.client import ApiError
from jobs.cluster.names import Names
from jobs.cluster.trial_keys import make_secret
from jobs.errors import Exit, MistakeError


class FakeS3:
    """Fails as told, then makes the bucket.

    Attributes:
        clients: How many clients were made, each with connections of its own.
    """

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.made: list[str] = []
        self.clients = 0

    def client(self, _name: str) -> "FakeS3":
        self.clients += 1
        return self

    def create_bucket(self, *, Bucket: str) -> None:  # noqa: N803 - boto3's own name
        if self.errors:
            raise self.errors.pop(0)
        self.made.append(Bucket)


def refused(code: str, status: int = 403) -> ClientError:
    answer: Any = {"Error": {"Code": code, "Message": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "CreateBucket")


def use(monkeypatch: pytest.MonkeyPatch, s3: FakeS3) -> FakeS3:
    monkeypatch.setattr(trial.boto3, "client", s3.client)
    monkeypatch.setattr(trial, "wait_fixed", lambda _seconds: lambda _state: 0)
    monkeypatch.setenv("CNN_IMAGE_STORE", "s3://models/some/prefix")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return s3


def test_it_waits_for_s3_and_makes_the_bucket_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    away = EndpointConnectionError(endpoint_url="http://minio:9000")
    # MinIO, a moment after it listens: seen in a cluster under load.
    early = (refused("404", 404), refused("XMinioServerNotInitialized", 503))
    s3 = use(monkeypatch, FakeS3(away, away, *early))
    assert trial.main() == Exit.OK
    assert s3.made == ["models"]
    assert s3.clients == 5, "a connection that was answered wrongly is not asked again"


def test_a_bucket_that_is_there_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    s3 = use(monkeypatch, FakeS3(refused("BucketAlreadyOwnedByYou", 409)))
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


def test_told_to_end_while_it_waits_it_ends_with_143() -> None:
    """The Job's rule for a pod that was deleted by hand; PID 1 would not hear of SIGTERM by itself."""
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes the connection and says nothing
        environment = {
            **os.environ,
            "CNN_IMAGE_STORE": "s3://models/store",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{silent.getsockname()[1]}",
            "AWS_ACCESS_KEY_ID": "a",
            "AWS_SECRET_ACCESS_KEY": "b",
        }
        waiting = subprocess.Popen([sys.executable, "-m", "jobs.cluster.trial"], env=environment)
        silent.settimeout(60)
        with silent.accept()[0]:
            waiting.terminate()
            assert waiting.wait(timeout=30) == Exit.TERMINATED


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


class FakeKubernetes:
    """Holds the chart's ConfigMap, and answers what is made with a code."""

    namespace = "ns"
    names = Names("cnn-image")

    def __init__(self, code: int = 201) -> None:
        self.code = code
        self.made: list[Any] = []

    def get(self, kind: str, name: str) -> Any:
        assert (kind, name) == ("configmaps", "cnn-image-inferenceservice")
        return {"metadata": {"name": name, "uid": "u9"}}

    def create(self, kind: str, body: Any) -> Any:
        assert kind == "secrets"
        if self.code >= 400:
            raise ApiError(self.code, {"message": "no"}, "No")
        self.made.append(body)
        return body


SECRET = {"kind": "Secret", "metadata": {"name": "cnn-image-store", "annotations": {"a": "b"}}}


def test_the_keys_of_the_trial_minio_are_made_by_chance_and_go_with_the_release() -> None:
    kubernetes = FakeKubernetes()
    assert make_secret(kubernetes, SECRET)
    assert make_secret(kubernetes, SECRET)
    first, second = kubernetes.made
    assert first["metadata"]["annotations"] == {"a": "b"}
    assert first["metadata"]["ownerReferences"][0]["uid"] == "u9"
    assert set(first["stringData"]) == {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    for key, value in first["stringData"].items():
        assert value != second["stringData"][key]
        assert 8 <= len(value) <= 40  # what MinIO takes


def test_keys_that_are_there_stay_and_a_refusal_is_said() -> None:
    assert not make_secret(FakeKubernetes(409), SECRET)
    with pytest.raises(MistakeError, match="Cannot make the Secret of the trial MinIO"):
        make_secret(FakeKubernetes(403), SECRET)
