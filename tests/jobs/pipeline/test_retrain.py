"""`cnn-image retrain` as a person or a CronJob starts it: trains for real, promotes what is good enough."""

import json
import os
import shutil
import time
from pathlib import Path

import pytest
from laptop import Laptop

from export.store.lease import Lease
from jobs.errors import FaultError
from jobs.pipeline.mlflow import links
from jobs.pipeline.mlflow.registry import ALIAS
from jobs.settings import load_settings
from model.contract import MODEL_NAME

pytestmark = pytest.mark.slow

NOWHERE = "http://127.0.0.1:9"


def mlflow_client(laptop: Laptop, monkeypatch: pytest.MonkeyPatch) -> "mlflow.MlflowClient":  # noqa: F821
    import mlflow

    monkeypatch.chdir(laptop.home)
    return mlflow.MlflowClient("sqlite:///var/mlflow.db")


def test_a_first_version_is_judged_by_the_floor(laptop: Laptop) -> None:
    verdict = json.loads(laptop.store.attachment(1, "verdict-001.json"))
    assert (verdict["checks"][0]["name"], verdict["checks"][0]["limit"]) == ("accuracy", 0.7)
    assert verdict["champion"] is None
    assert "report.html" in laptop.store.attachments(1)
    assert laptop.store.ledger.entries()[0].reason == "against the gate: to have one"


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="there is a GPU")
def test_the_gpu_is_looked_for_before_the_data(tmp_path: Path) -> None:
    said = Laptop(tmp_path, epochs=1).run("retrain", "--gpu", "--data", str(tmp_path / "nowhere"), code=2)
    assert "This run asked for a GPU and TensorFlow finds none" in said
    assert "nowhere" not in said


def test_what_was_trained_before_a_kill_is_exported_judged_and_promoted(
    laptop: Laptop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The champion's run once more, as a kill after training would have left it: as good, so it is served."""
    before = laptop.store.ledger.served()
    laptop.begin_again("killed-after-training")
    outputs = laptop.home / "out"
    version = int(laptop.run("retrain", "--outputs", str(outputs)))
    assert laptop.store.ledger.served() == version
    assert (outputs / "version").read_text() == str(version)
    assert "val_accuracy" in (outputs / "metrics").read_text()
    assert laptop.store.attachment(version, "flips-001.png").startswith(b"\x89PNG")
    client = mlflow_client(laptop, monkeypatch)
    assert client.get_model_version_by_alias(MODEL_NAME, ALIAS).tags["version"] == str(version)

    said = laptop.start("rollback", MLFLOW_TRACKING_URI=NOWHERE)
    answered, warned = said.communicate(timeout=100)
    assert f"Rolled back to version {before}" in answered
    assert f"MLflow at {NOWHERE} does not answer" in warned  # it stops nothing
    assert laptop.store.ledger.served() == before
    settings = load_settings(state=laptop.home / "var", store=laptop.store.url)
    wrong = f"names version {version} and the ledger version {before}: run `cnn-image deploy`"
    with pytest.raises(FaultError, match=wrong):
        links.alias(settings, laptop.store)
    laptop.run("deploy")
    assert client.get_model_version_by_alias(MODEL_NAME, ALIAS).tags["version"] == str(before)
    assert f"A rollback to version {version} would work" in laptop.run("drill")


def test_a_retrain_that_is_killed_goes_on_and_a_worse_version_is_refused(
    laptop: Laptop, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = laptop.store.ledger.served()
    killed = laptop.start("retrain", "--seed", "7", EPOCHS="2")
    ends = time.monotonic() + 300
    while not list(laptop.home.glob("var/runs/*/checkpoint.npz")):
        assert time.monotonic() < ends
        assert killed.poll() is None
        time.sleep(0.05)
    killed.kill()
    killed.communicate()

    # Its lease is still there, and has run out by the store's clock.
    lease = laptop.home / "var" / "store" / "leases" / "retrain.json"
    os.utime(lease, (time.time() - 61,) * 2)

    said = laptop.run("retrain", "--seed", "7", code=3, EPOCHS="2")
    assert "goes on with epoch 2" in said
    refused = laptop.store.numbers()[-1]
    assert f"Version {refused} is refused against version {served}" in said.strip().splitlines()[-1]
    assert laptop.store.ledger.served() == served  # the other stays in the store, unserved
    assert "must not be promoted" in laptop.run("judge", str(refused), code=3)
    assert "is refused" in laptop.run("promote", str(refused), code=3)

    # MLflow has the verdict too: the word, the reasons, the table, the images whose answer flips.
    client = mlflow_client(laptop, monkeypatch)
    run = client.get_run(laptop.store.manifest(refused).mlflow_run)
    assert (run.data.tags["verdict"], run.data.tags["version"]) == ("refused", str(refused))
    assert "accuracy, lower bound" in run.data.tags["verdict.sentence"]
    assert run.data.params["epochs"] == "2"
    kept = {file.path for file in client.list_artifacts(run.info.run_id, "verdict")}
    assert {"verdict/verdict.json", "verdict/flips-001.png"} <= kept


def test_two_retrains_at_once_are_kept_apart(laptop: Laptop) -> None:
    with Lease(laptop.store.blobs, "retrain", holder="another machine"):
        assert "another machine has held 'retrain'" in laptop.run("retrain", code=4)


def test_a_version_is_made_without_mlflow(laptop: Laptop) -> None:
    """And what MLflow would have known of it is in the manifest."""
    version = int(laptop.run("retrain", "--no-promote", EPOCHS="1", MLFLOW_TRACKING_URI=NOWHERE))
    manifest = laptop.store.manifest(version)
    assert manifest.mlflow_run is None
    assert manifest.recipe["epochs"] == 1
    assert set(manifest.metrics) == {"accuracy", "val_accuracy", "loss", "val_loss"}
