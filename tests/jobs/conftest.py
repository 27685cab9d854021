"""Versions made of next to nothing, so that ledger, gate and promotion can be tried without training."""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from laptop import Laptop

from export.store.blobs import FolderBlobs
from export.store.lineage import DataLineage, Lineage, Parity
from export.store.manifest import Manifest, file_digest
from export.store.versions import Store
from jobs.errors import FaultError, LostError, MistakeError, RefusedError
from jobs.gate.verdict import Check, Cost, Figures, Verdict
from model.contract import CLASSES, FILTERS_MODEL_NAME, MODEL_NAME

Publish = Callable[..., int]


def make_lineage(**changes: object) -> Lineage:
    parity = Parity(images=8, max_difference=1e-7, disagreements=0)
    facts: dict[str, object] = {
        "created": datetime.now(UTC),
        "created_by": "someone",
        "metrics": {"accuracy": 0.8, "val_accuracy": 0.79, "loss": 0.5, "val_loss": 0.6},
        "data": DataLineage(digest="d" * 64, source="here", kind="sample"),
        "commit": "c" * 40,
        "mlflow_run": None,
        "recipe": {"name": "quick"},
        "seed": 0,
        "temperature": 1.0,
        "parity": parity,
        "filters_parity": parity,
        "decoder_version": "1",
    }
    return Lineage(**(facts | changes))  # type: ignore[arg-type]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to start in, and an environment without our variables."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("CNN_IMAGE_") or name in {"PORT", "EPOCHS", "BATCH_SIZE", "CIFAR10_DIR"}:
            monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


@pytest.fixture(scope="session")
def lineage() -> Callable[..., Lineage]:
    """Makes what is known of a version before it has a number."""
    return make_lineage


@pytest.fixture(scope="session")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Laptop:
    """Retrained once, for real, for all tests; too weak for a first version, so promoted against the gate.

    Eight epochs on the sample are far better than one. Its first run is the champion's; only for slow tests.
    """
    laptop = Laptop(tmp_path_factory.mktemp("laptop"), epochs=8)
    sentence = laptop.run("retrain", code=3).strip().splitlines()[-1]
    assert "Version 1 is refused as the first version" in sentence
    assert laptop.store.ledger.served() is None
    laptop.run("promote", "1", "--override-gate", "to have one")
    return laptop


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(FolderBlobs(tmp_path / "store"))


def make_version(number: int, folder: Path, **changes: object) -> Manifest:
    """Lays out a version whose graphs are a few bytes."""
    for name in (MODEL_NAME, FILTERS_MODEL_NAME):
        (folder / name / str(number)).mkdir(parents=True)
        (folder / name / str(number) / "model.onnx").write_bytes(b"graph %d" % number)
        (folder / name / "config.pbtxt").write_text(f'name: "{name}"\n')
    files = {
        path.relative_to(folder).as_posix(): file_digest(path) for path in folder.rglob("*") if path.is_file()
    }
    return Manifest(**dict(make_lineage(**changes)), version=number, files=files)


@pytest.fixture(scope="session")
def build() -> Callable[..., Manifest]:
    """Builds a version for `Store.publish`."""
    return make_version


@pytest.fixture
def publish(store: Store) -> Publish:
    """Publishes a version whose graphs are a few bytes."""

    def publish(**changes: object) -> int:
        return store.publish(lambda number, folder: make_version(number, folder, **changes)).version

    return publish


def make_verdict(version: int, accuracy: float = 0.8, *, passed: bool = True) -> Verdict:
    figures = Figures(
        version=version,
        accuracy=accuracy,
        interval=(accuracy - 0.01, accuracy + 0.01),
        per_class=dict.fromkeys(CLASSES, accuracy),
        ece=0.01,
        nll=0.5,
    )
    check = Check(name="accuracy", value=accuracy, limit=0.7, passed=passed, meaning="at least this")
    return Verdict(
        version=version,
        at=datetime.now(UTC),
        by="me",
        candidate=figures,
        champion=None,
        best=None,
        flips=None,
        cost=Cost(milliseconds=0.3, bytes=1_000),
        test_digest="t" * 64,
        test_images=5_000,
        weak=False,
        decoder_version="1",
        checks=(check,),
    )


@pytest.fixture
def verdict() -> Callable[..., Verdict]:
    """Makes verdicts."""
    return make_verdict


class FakeDeployer:
    """A place that serves what it is told, and fails where it is told to."""

    def __init__(self) -> None:
        self.live: int | None = None
        self.live_decoder: str | None = "1"
        self.tried: list[int] = []
        self.unloadable: set[int] = set()
        self.undeployable: set[int] = set()
        self.wrong: set[int] = set()
        self.silent = False
        self.edited = False
        self.closed = False

    def served(self) -> int | None:
        return self.live

    def decoder(self) -> str | None:
        if self.silent:
            raise FaultError("/info does not say which decoder it runs.")
        return self.live_decoder

    def dry_run(self) -> None:
        if self.closed:
            raise MistakeError("The place takes nothing.")

    def rehearse(self, version: int) -> None:
        if self.edited:
            raise LostError("The InferenceService was edited by hand.")

    def preflight(self, version: int) -> None:
        self.tried.append(version)
        if version in self.unloadable:
            raise RefusedError(f"Triton cannot load version {version}.")

    def deploy(self, version: int) -> None:
        if version in self.undeployable:
            raise FaultError("The rollout was not ready in time.")
        self.live = version

    def verify(self, version: int) -> None:
        if self.live != version or version in self.wrong:
            raise RefusedError("The service answers wrongly.")


@pytest.fixture
def deployer() -> FakeDeployer:
    return FakeDeployer()
