"""A store that an earlier release wrote: four versions, verdicts and a ledger, in manifest layout 1."""

import tarfile
from pathlib import Path

import pytest
from machine import beside

from export.store.versions import Store, open_store
from model.contract import CLASSES, DEFAULT_CONTRACT


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store as a folder, to be left as it is."""
    folder = tmp_path_factory.mktemp("layout1")
    with tarfile.open(beside("data/store-layout1.tar.xz")) as archive:
        archive.extractall(folder, filter="data")
    return folder / "store"


@pytest.fixture
def old(written: Path, place: str) -> Store:
    """The store, in a folder or in an S3."""
    store = open_store(place)
    for path in sorted(written.rglob("*")):
        if path.is_file() and path.parent.name != ".scratch":
            store.blobs.put_if_absent(path.relative_to(written).as_posix(), path.read_bytes())
    return store


def test_every_version_is_the_default_contract_and_whole(old: Store, tmp_path: Path) -> None:
    assert old.numbers() == [1, 2, 3, 4]
    for manifest in old.versions():
        key = f"versions/{manifest.version:06d}/manifest.json"
        assert (manifest.layout, manifest.contract, manifest.evidence) == (1, DEFAULT_CONTRACT, {})
        assert manifest.to_json() == old.blobs.get(key)
        assert old.verify(manifest.version) == manifest
    fetched = old.fetch(2, tmp_path)
    graph = fetched / old.manifest(2).classifier_file
    assert graph.stat().st_size > 1_000_000
    first = graph.stat().st_ino
    # what lies there is whole, so it is not brought again
    assert (old.fetch(2, tmp_path) / "cnn-image/2/model.onnx").stat().st_ino == first


def test_its_ledger_goes_on(old: Store) -> None:
    decisions = [(entry.action, entry.version) for entry in old.ledger.entries()]
    assert decisions == [("promote", 2), ("promote", 4), ("rollback", 2)]
    assert (old.ledger.served(), old.ledger.previous()) == (2, 4)
    old.ledger.record("promote", 4, by="me", reason="why", after=3)
    assert old.ledger.served() == 4


def test_its_list_of_classes_begins_with_the_five(old: Store) -> None:
    assert (old.classes.number, old.classes.names()) == (1, CLASSES)
    assert old.classes.learn(["truck", "dog"], by="me") == (*CLASSES, "truck")
    assert old.classes.events()[0].names == CLASSES
    old.delete(1)
    assert old.numbers() == [2, 3, 4]
    assert old.attachments(4) == ["flips-001.png", "report.html", "verdict-001.json"]
