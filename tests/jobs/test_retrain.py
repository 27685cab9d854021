"""`cnn-image retrain` as a person or a CronJob starts it: trains for real, promotes what is good enough."""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from export.lease import Lease, lease_state
from export.store import Store, open_store
from jobs.champion import ALIAS
from model.contract import MODEL_NAME

pytestmark = pytest.mark.slow

EPOCHS = "4"
ROOT = Path(__file__).parent.parent.parent


@dataclass
class Site:
    """A folder in which `cnn-image` works on the sample."""

    home: Path

    @property
    def store(self) -> Store:
        return open_store(str(self.home / "var" / "store"))

    def environment(self, **variables: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CNN_IMAGE_")}
        return {
            **kept,
            "CIFAR10_DIR": "sample",
            "EPOCHS": EPOCHS,
            "CNN_IMAGE_TRITON_VENV": str(ROOT / ".venv-triton"),
            "PYTHONPATH": f"{ROOT}:{ROOT / 'kserve'}",
            **variables,
        }

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "jobs.cli", *arguments],
            cwd=self.home,
            env=self.environment(**variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, code: int = 0, **variables: str) -> str:
        process = self.start(*arguments, **variables)
        out, err = process.communicate(timeout=500)
        assert process.returncode == code, err
        assert "Traceback" not in err
        return out if code == 0 else err


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Retrained once; the version was too weak for a first one, and is promoted against the gate."""
    site = Site(tmp_path_factory.mktemp("site"))
    sentence = site.run("retrain", code=3).strip().splitlines()[-1]
    assert "Version 1 is refused as the first version" in sentence
    assert site.store.ledger.served() is None
    site.run("promote", "1", "--override-gate", "to have one")
    return site


def test_a_first_version_is_judged_by_the_floor(site: Site) -> None:
    verdict = json.loads(site.store.attachment(1, "verdict-001.json"))
    assert (verdict["checks"][0]["name"], verdict["checks"][0]["limit"]) == ("accuracy", 0.7)
    assert verdict["champion"] is None
    assert "report.html" in site.store.attachments(1)
    assert site.store.ledger.entries()[0].reason == "against the gate: to have one"


def test_mlflow_knows_the_run_the_version_and_the_champion(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    monkeypatch.chdir(site.home)
    client = mlflow.MlflowClient("sqlite:///var/mlflow.db")
    champion = client.get_model_version_by_alias(MODEL_NAME, ALIAS)
    assert champion.tags["version"] == str(site.store.ledger.served())
    run = client.get_run(site.store.manifest(1).mlflow_run)
    assert (run.data.tags["verdict"], run.data.tags["version"]) == ("refused", "1")
    assert run.data.params["epochs"] == EPOCHS


def test_a_version_as_good_takes_its_place_and_a_worse_one_does_not(site: Site) -> None:
    before = site.store.ledger.served()
    outputs = site.home / "out"
    version = int(site.run("retrain", "--outputs", str(outputs)))  # the same seed and data: the same model
    assert site.store.ledger.served() == version
    assert (outputs / "version").read_text() == str(version)
    assert "val_accuracy" in (outputs / "metrics").read_text()
    sentence = site.run("retrain", code=3, EPOCHS="1").strip().splitlines()[-1]
    assert f"is refused against version {version}" in sentence
    assert site.store.ledger.served() == version
    refused = site.store.numbers()[-1]
    assert refused > version  # it stays in the store, unserved
    assert "must not be promoted" in site.run("judge", str(refused), code=3)
    assert "is refused" in site.run("promote", str(refused), code=3)
    assert f"Rolled back to version {before}" in site.run("rollback")
    assert site.store.ledger.served() == before
    assert f"A rollback to version {version} would work" in site.run("drill")


def test_two_retrains_at_once_are_kept_apart(site: Site) -> None:
    with Lease(site.store.blobs, "retrain", holder="another machine"):
        assert "another machine has held 'retrain'" in site.run("retrain", code=4)


def test_a_retrain_that_is_killed_lets_go_and_the_next_goes_on(site: Site) -> None:
    numbers = site.store.numbers()
    killed = site.start("retrain", "--seed", "7", "--no-promote")
    ends = time.monotonic() + 300
    while not list(site.home.glob("var/runs/*/checkpoint.npz")):
        assert time.monotonic() < ends
        assert killed.poll() is None
        time.sleep(0.05)
    killed.kill()
    killed.communicate()
    while lease_state(site.store.blobs, "retrain") is not None:  # it runs out by the store's clock
        assert time.monotonic() < ends
        time.sleep(0.5)
    process = site.start("retrain", "--seed", "7", "--no-promote")
    out, err = process.communicate(timeout=500)
    assert process.returncode == 0, err
    assert "goes on with epoch" in err
    assert int(out) == numbers[-1] + 1


def test_mlflow_that_is_away_stops_nothing(site: Site) -> None:
    served = site.store.ledger.served()
    version = int(site.run("retrain", MLFLOW_TRACKING_URI="http://127.0.0.1:9"))
    assert site.store.ledger.served() == version != served
