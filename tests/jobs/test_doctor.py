"""Each link is broken once, and the doctor names it, says what mends it, and nothing else is blamed."""

import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from export.store.versions import Store
from jobs import doctor
from jobs.doctor import Finding, examine, worst
from jobs.errors import Exit, MistakeError
from jobs.laptop.serving_folder import Failed, ServingFolder, Status
from jobs.settings import Settings, load_settings

READ_DATA = doctor._data
ASK_MLFLOW, COMPARE_ALIAS = doctor._mlflow, doctor._alias


@pytest.fixture
def settings(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(tmp_path)
    for name in ("CIFAR10_DIR", "MLFLOW_TRACKING_URI", "CNN_IMAGE_NAMESPACE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(doctor, "_mlflow", lambda settings: "a store")  # its import takes seconds
    monkeypatch.setattr(doctor, "_alias", lambda settings, store: "as the ledger")
    monkeypatch.setattr(doctor, "_data", lambda settings: "images")  # so does reading them
    monkeypatch.setattr(doctor.LaptopDeployer, "preflight", lambda self, version: None)
    (tmp_path / "var").mkdir()
    return load_settings(data="sample", store=store.url)


@pytest.fixture
def promoted(store: Store, publish: Any) -> int:
    version: int = publish()
    store.ledger.record("promote", version, by="me", reason="why", after=0)
    return version


class Service(BaseHTTPRequestHandler):
    health = 200
    decoder = "1"

    def do_GET(self) -> None:
        self.send_response(self.health if self.path == "/health" else 200)
        self.end_headers()
        self.wfile.write(json.dumps({"decoder_version": self.decoder}).encode())

    def log_message(self, *arguments: object) -> None: ...


@pytest.fixture
def service(settings: Settings, promoted: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Status]:
    """A service that runs, as far as others can see."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    status = Status(
        pid=os.getpid(), url=url, triton_url=url, state="serving", version=1, entry=1, variant="cpu-1"
    )
    folder = ServingFolder(settings.serving)
    with folder.claim():
        folder.write_status(status)
        yield status
    server.shutdown()
    server.server_close()


def broken(settings: Settings) -> dict[str, Finding]:
    return {finding.link: finding for finding in examine(settings) if finding.state == "broken"}


def test_nothing_is_blamed_where_nothing_is_wrong(settings: Settings, service: Status) -> None:
    findings = list(examine(settings))
    assert {finding.state for finding in findings} == {"ok"}
    assert [finding.link for finding in findings] == [
        "data",
        "store, reading",
        "store, writing",
        "store, way back",
        "promoted version",
        "MLflow",
        "MLflow's alias",
        "Triton",
        "service",
        "decoder",
    ]
    assert worst(findings) == Exit.OK


def test_what_is_not_started_is_not_broken(settings: Settings) -> None:
    states = {finding.link: finding.state for finding in examine(settings)}
    assert (states["promoted version"], states["service"], states["Triton"]) == ("absent",) * 3


def test_broken_data(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_data", READ_DATA)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "data_batch_1").write_bytes(b"cut short")
    found = broken(settings.model_copy(update={"data": str(tmp_path / "data")}))
    assert found.keys() == {"data"}
    assert str(tmp_path / "data") in found["data"].text
    assert found["data"].code == Exit.MISTAKE


def test_a_store_that_cannot_be_written(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("export.store.blobs.os.link", refuse)
    found = broken(settings)
    assert found.keys() == {"store, writing"}
    assert "give this user the right" in found["store, writing"].text


def test_a_store_that_is_none(settings: Settings) -> None:
    found = broken(settings.model_copy(update={"store": "ftp://x"}))
    assert found.keys() == {"store"}


def test_a_promoted_version_that_was_changed(settings: Settings, service: Status, store: Store) -> None:
    next(Path(store.url).rglob("model.onnx")).write_bytes(b"changed")
    found = broken(settings)
    assert found.keys() == {"promoted version"}
    assert "publish the model again" in found["promoted version"].text


def test_triton_that_does_not_start(
    settings: Settings, service: Status, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: object, version: int) -> None:
        raise MistakeError("There is no Triton: run `make install`.")

    monkeypatch.setattr(doctor.LaptopDeployer, "preflight", refuse)
    assert broken(settings)["Triton"].text == "There is no Triton: run `make install`."


def test_a_service_that_answers_503(
    settings: Settings, service: Status, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Service, "health", 503)
    found = broken(settings)
    assert found.keys() == {"service"}
    assert found["service"].code == Exit.FAULT


def test_a_service_that_is_gone(settings: Settings, service: Status) -> None:
    ServingFolder(settings.serving).write_status(service.model_copy(update={"url": "http://127.0.0.1:9"}))
    assert broken(settings).keys() == {"service", "decoder"}


def test_a_service_that_listens_on_both_families_and_answers_on_one(
    settings: Settings, service: Status
) -> None:
    """The server of the test has 127.0.0.1 alone."""
    ServingFolder(settings.serving).write_status(service.model_copy(update={"host": "::"}))
    found = broken(settings)
    assert found.keys() == {"service"}
    assert f"{service.url} answers at 127.0.0.1 and not at ::1" in found["service"].text
    assert "set CNN_IMAGE_HOST" in found["service"].text


def test_a_service_that_could_not_follow_the_ledger(
    settings: Settings, service: Status, store: Store, publish: Any
) -> None:
    publish()
    store.ledger.record("promote", 2, by="me", reason="why", after=1)
    failed = Failed(entry=2, version=2, reason="Triton cannot load it")
    ServingFolder(settings.serving).write_status(service.model_copy(update={"failed": failed}))
    text = broken(settings)["service"].text
    assert "serves version 1 and version 2 is promoted (Triton cannot load it)" in text
    assert "cnn-image deploy" in text


def test_another_decoder(settings: Settings, service: Status, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Service, "decoder", "2")
    found = broken(settings)
    assert found.keys() == {"decoder"}
    assert "judged with decoder 1 and the service decodes with 2" in found["decoder"].text


def test_a_mistake_counts_more_than_a_fault() -> None:
    fault = Finding("MLflow", "broken", "away", Exit.FAULT)
    mistake = Finding("data", "broken", "wrong", Exit.MISTAKE)
    assert worst([fault]) == Exit.FAULT
    assert worst([fault, mistake]) == Exit.MISTAKE
    assert worst([Finding("service", "absent", "")]) == Exit.OK


def test_an_mlflow_that_is_not_there_is_no_fault(
    settings: Settings, promoted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_mlflow", ASK_MLFLOW)
    monkeypatch.setattr(doctor, "_alias", COMPARE_ALIAS)
    states = {finding.link: finding.state for finding in examine(settings)}
    assert (states["MLflow"], states["MLflow's alias"]) == ("absent", "absent")


def test_the_alias_of_an_mlflow_that_cannot_be_used_is_not_looked_at(
    settings: Settings, promoted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(settings: Settings) -> str:
        raise MistakeError("MLflow at http://mlflow does not allow it (403): ask its owner")

    monkeypatch.setattr(doctor, "_mlflow", refuse)
    findings = {finding.link: finding for finding in examine(settings)}
    assert findings["MLflow"].code == Exit.MISTAKE
    assert findings["MLflow's alias"].state == "absent"


@pytest.mark.slow
def test_mlflow_that_is_away(tmp_path: Path) -> None:
    settings = load_settings(mlflow_tracking_uri="http://127.0.0.1:9")
    with pytest.raises(Exception, match=r"http://127.0.0.1:9 does not answer") as caught:
        doctor._mlflow(settings)
    assert getattr(caught.value, "exit_code", None) == Exit.FAULT


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variables", "suffix", "sentence", "code"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong-secret"}, "", "AWS_SECRET_ACCESS_KEY", Exit.MISTAKE),
        ({"AWS_ACCESS_KEY_ID": "nobody"}, "", "does not know the access key", Exit.MISTAKE),
        ({}, "-other", "There is no bucket", Exit.MISTAKE),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "", "check AWS_ENDPOINT_URL", Exit.FAULT),
    ],
    ids=["wrong secret", "unknown key", "wrong bucket", "nobody there"],
)
def test_an_s3_that_cannot_be_used(
    settings: Settings,
    bucket: str,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    suffix: str,
    sentence: str,
    code: Exit,
) -> None:
    monkeypatch.setattr("model.data.remote.s3_client._ATTEMPTS", 1)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    found = broken(settings.model_copy(update={"store": bucket + suffix + "/store"}))
    assert found.keys() == {"store, reading", "store, writing"}
    assert found["store, reading"].code == code
    assert sentence in found["store, reading"].text


@pytest.mark.slow
def test_data_in_an_s3_that_cannot_be_used(
    settings: Settings, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_data", READ_DATA)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret")
    found = broken(settings.model_copy(update={"data": bucket + "/cifar-10.tar.gz"}))
    assert found.keys() == {"data"}
    assert "refuses the signature (SignatureDoesNotMatch); check AWS_SECRET_ACCESS_KEY" in found["data"].text


@pytest.mark.slow
def test_nothing_is_blamed_of_an_s3_that_can_be_used(settings: Settings, bucket: str) -> None:
    findings = {finding.link: finding for finding in examine(settings.model_copy(update={"store": bucket}))}
    assert (findings["store, reading"].state, findings["store, writing"].state) == ("ok", "ok")
