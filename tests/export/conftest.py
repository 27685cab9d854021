"""What the tests of this room share: a version without a network, quick to build."""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from export.artifact import assemble
from export.graph.export import Graphs
from export.store.blobs import Blobs
from export.store.lineage import DataLineage, Lineage, Parity
from export.store.manifest import Manifest
from export.store.versions import Store, open_store

BuildOf = Callable[[bytes], Callable[[int, Path], Manifest]]


@pytest.fixture(scope="session")
def lineage() -> Lineage:
    """Of a made-up training run, with a value that needs quoting in every field of text."""
    return Lineage(
        created=datetime(2026, 11, 3, 12, 30, tzinfo=UTC),
        created_by='Zoë "the\\slash"\nsecond line',
        metrics={"accuracy": 0.9, "val_accuracy": 0.8, "loss": 0.3, "val_loss": 0.5},
        data=DataLineage(digest="d" * 64, source="s3://data/cifar10", kind="cifar10"),
        commit="c0ffee",
        mlflow_run="run-1",
        recipe={"epochs": 40, "learning_rate": 4e-3},
        seed=7,
        temperature=1.25,
        parity=Parity(images=256, max_difference=1.2e-7, disagreements=0),
        filters_parity=Parity(images=256, max_difference=0, disagreements=0),
        decoder_version="1",
    )


@pytest.fixture
def build_of(lineage: Lineage, tmp_path: Path) -> BuildOf:
    """Makes a version whose classifier's file holds the given bytes; nothing here looks inside."""

    def build_of(content: bytes) -> Callable[[int, Path], Manifest]:
        classifier = tmp_path / "classifier.onnx"
        filters = tmp_path / "filters.onnx"

        def build(version: int, folder: Path) -> Manifest:
            classifier.write_bytes(content)
            filters.write_bytes(b"filters")
            return assemble(Graphs(classifier, filters), lineage, version, folder)

        return build

    return build_of


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """The power does not fail in these tests, and a busy disk would make them slow."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.slow)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty place for objects, of each kind: a test that takes it holds on both."""
    if request.param == "folder":
        return str(tmp_path / "store")
    bucket: str = request.getfixturevalue("bucket")
    return f"{bucket}/some/prefix"


@pytest.fixture
def store(place: str) -> Store:
    """An empty store."""
    return open_store(place)


@pytest.fixture
def blobs(store: Store) -> Blobs:
    """An empty place for objects."""
    return store.blobs
