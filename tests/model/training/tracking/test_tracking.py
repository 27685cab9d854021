"""MLflow is recorded to from a thread; these tests look at it through the real store, or take it away."""

import logging
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from jobs.settings import load_settings
from model.data.dataset import Dataset
from model.training.observer import Plan, TrainedModel
from model.training.tracking import recorder as tracking
from model.training.tracking.recorder import Tracking
from model.training.train import QUICK

METRICS = {"loss": 0.5, "accuracy": 0.8}


def plan(dataset: Dataset, run_dir: Path) -> Plan:
    run_dir.mkdir(exist_ok=True)
    return Plan(dataset, QUICK, 3, run_dir, "CPU", 10, 1)


def trained() -> TrainedModel:
    return TrainedModel(None, 1.5, METRICS, {"loss": [0.7, 0.5]}, QUICK, 3)  # type: ignore[arg-type]


class _Client:
    """An MLflow that can be away."""

    def __init__(self) -> None:
        self.away = False
        self.refused: set[str] = set()
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*_: object, **__: object) -> Any:
            if self.away:
                raise ConnectionError("connection refused")
            if name in self.refused:
                raise ModuleNotFoundError("No module named 'google'")
            self.calls.append(name)
            info = {"run_id": "abc", "artifact_uri": "gs://bucket/1/abc/artifacts"}
            return type("Answer", (), {"experiment_id": "1", "info": type("Info", (), info)})

        return call


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> _Client:
    made = _Client()
    monkeypatch.setattr(Tracking, "_connect", lambda self: setattr(self, "_client", made))
    monkeypatch.setattr(tracking, "RETRY_SECONDS", 0.01)
    # The fake takes anything, so MLflow's own classes, slow to import, are not needed.
    entities = ModuleType("mlflow.entities")
    entities.Param = entities.Metric = lambda *values: values  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mlflow", ModuleType("mlflow"))
    monkeypatch.setitem(sys.modules, "mlflow.entities", entities)
    monkeypatch.setattr(tracking, "code_commit", lambda: "c0ffee")
    return made


def delivered(client: _Client, name: str, times: int) -> None:
    deadline = time.monotonic() + 60
    while client.calls.count(name) < times:
        assert time.monotonic() < deadline, client.calls
        time.sleep(0.005)


def test_what_is_recorded_while_mlflow_is_away_is_delivered_when_it_is_back(
    client: _Client,
    easy: Dataset,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Tracking, "_open", lambda self, *_: self._client.create_run())
    record = Tracking(tmp_path, "http://mlflow")
    record.started(plan(easy, tmp_path))
    delivered(client, "create_run", 1)
    client.away = True
    for epoch in range(1, 6):
        record.epoch_ended(epoch, METRICS)
    client.away = False
    record.finished(trained())
    record.close()
    assert client.calls.count("log_batch") == 6
    assert client.calls[-1] == "set_terminated"
    assert len(caplog.records) <= 1


def test_an_mlflow_that_stays_away_costs_one_warning_and_no_wait(
    client: _Client, easy: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    client.away = True
    record = Tracking(tmp_path, "http://mlflow")
    with caplog.at_level(logging.WARNING):
        record.started(plan(easy, tmp_path))
        for epoch in range(1, 4):
            record.epoch_ended(epoch, METRICS)
        record.finished(trained())
        record.close()
    away, undelivered = [each.getMessage() for each in caplog.records]
    assert "connection refused" in away
    assert "did not take 6 records" in undelivered
    assert record.run_id is None


def test_files_that_have_no_place_keep_nothing_else(
    client: _Client, easy: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Their storage cannot be reached from here; the run ends all the same."""
    client.refused = {"log_artifact", "log_artifacts"}
    record = Tracking(tmp_path, "http://mlflow")
    record.started(plan(easy, tmp_path))
    record.record_files(tmp_path)
    record.record_files(tmp_path / "report.html")
    record.finished(trained())
    record.close()
    assert client.calls.count("log_batch") == 2
    assert client.calls[-1] == "set_terminated"
    said, lost = [each.getMessage() for each in caplog.records]
    assert "stores files at gs://bucket/1/abc/artifacts" in said
    assert "ask its owner to let the server pass files on" in said
    assert "did not take 2 records" in lost


def test_an_mlflow_that_never_answers_delays_the_end_no_longer_than_said(
    client: _Client,
    easy: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    forever = threading.Event()
    monkeypatch.setattr(Tracking, "_connect", lambda _: forever.wait(60))
    monkeypatch.setattr(tracking, "CLOSE_SECONDS", 0.05)
    record = Tracking(tmp_path, "http://mlflow")
    record.started(plan(easy, tmp_path))
    record.epoch_ended(1, METRICS)
    record.close()
    # The thread is still waiting for an answer, and nothing waits for the thread.
    (waiting,) = [thread for thread in threading.enumerate() if thread.name == "mlflow"]
    assert waiting.daemon
    assert "did not take 3 records" in caplog.text
    # It must not outlive the test: it would import the real MLflow under the next one's fake.
    forever.set()
    waiting.join(60)
    assert not waiting.is_alive()


def test_a_continued_run_stays_one_run(client: _Client, easy: Dataset, tmp_path: Path) -> None:
    first = Tracking(tmp_path, "http://mlflow")
    first.started(plan(easy, tmp_path))
    first.stopped(KeyboardInterrupt())
    assert first.run_id == "abc"
    second = Tracking(tmp_path, "http://mlflow")
    assert second.run_id == "abc"
    second.started(plan(easy, tmp_path))
    second.close()
    assert client.calls.count("create_run") == 1
    assert client.calls.count("update_run") == 1


@pytest.mark.slow
def test_a_run_in_the_local_store(easy: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(tracking, "CLOSE_SECONDS", 120)
    picture = tmp_path / "pictures" / "curves.png"
    picture.parent.mkdir()
    picture.write_bytes(b"png")
    var = tmp_path / "what? 50%41"  # signs that mean something in the address of a database
    record = Tracking(tmp_path, var=var, tags={"who": "me"})
    record.started(plan(easy, tmp_path))
    record.epoch_ended(1, METRICS)
    record.epoch_ended(2, {"loss": 0.25, "accuracy": 0.9})
    record.finished(trained())
    record.record_files(picture.parent, "pictures")
    record.close()

    from mlflow import MlflowClient

    assert (var / "mlflow.db").is_file()
    client = MlflowClient(load_settings(state=var).tracking_uri)  # as the commands do
    run = client.get_run(record.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["data_digest"] == easy.digest
    assert run.data.params["epochs"] == str(QUICK.epochs)
    assert len(run.data.tags["mlflow.source.git.commit"]) >= 7
    assert [each.value for each in client.get_metric_history(record.run_id, "loss")] == [0.5, 0.25]
    assert run.data.metrics["temperature"] == 1.5
    assert [each.path for each in client.list_artifacts(record.run_id, "pictures")] == ["pictures/curves.png"]
    assert (var / "mlruns").is_dir()


@pytest.mark.slow
def test_a_real_address_where_nobody_listens(
    easy: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        record = Tracking(tmp_path, f"http://127.0.0.1:{taken.getsockname()[1]}")
        record.started(plan(easy, tmp_path))
        deadline = time.monotonic() + 120
        while "does not answer (Connection refused)" not in caplog.text:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        record.close()
    assert "did not take 2 records" in caplog.text
