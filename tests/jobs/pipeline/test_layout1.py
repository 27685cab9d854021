"""A store of an earlier release goes on: looked at, judged against, promoted from, rolled back to, pruned."""

import json
import tarfile

import pytest
from laptop import Laptop
from machine import beside

from export.store.versions import open_store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Laptop:
    """Version 2 is served, 4 was rolled back; both are int8 twins of trainings on the sample."""
    laptop = Laptop(tmp_path_factory.mktemp("layout1"), epochs=1)
    with tarfile.open(beside("data/store-layout1.tar.xz")) as archive:
        archive.extractall(laptop.home / "var", filter="data")
    return laptop


def served(laptop: Laptop) -> int | None:
    return laptop.store.ledger.served()


def test_a_version_of_today_is_judged_against_it(old: Laptop) -> None:
    said = old.run("retrain", code=3)  # one epoch is worse
    assert "Version 5 is refused against version 2" in said
    assert [manifest.layout for manifest in old.store.versions()] == [1, 1, 1, 1, 2]
    assert served(old) == 2
    listed = json.loads(old.run("versions", "--json"))
    assert [(one["version"], one["champion"]) for one in listed][1] == (2, True)


def test_it_is_promoted_to_a_version_of_today_and_back(old: Laptop) -> None:
    old.run("promote", "5", "--override-gate", "to try")
    assert served(old) == 5
    old.run("rollback")  # no pre-flight; the drill is one
    assert served(old) == 2
    old.run("promote", "5", "--override-gate", "to try again")
    assert "version 2 would work" in old.run("drill")
    old.run("rollback", "4")
    assert served(old) == 4


def test_a_version_of_it_is_judged_and_promoted(old: Laptop) -> None:
    verdict = json.loads(old.run("judge", "3", "--json"))
    assert (verdict["version"], verdict["champion"]["version"]) == (3, 4)
    old.run("promote", "3")
    assert served(old) == 3


def test_what_is_not_needed_is_pruned(old: Laptop) -> None:
    old.run("prune", "--keep", "1")
    assert old.store.numbers() == [3, 4, 5]
    old.store.verify(4)


def test_the_same_in_an_s3(old: Laptop, bucket: str) -> None:
    place = f"{bucket}/store"
    store, folder = open_store(place), old.home / "var" / "store"
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.parent.name != ".scratch":
            store.blobs.put_if_absent(path.relative_to(folder).as_posix(), path.read_bytes())
    old.run("rollback", "4", "--store", place)
    assert store.ledger.served() == 4
    assert "4 " in old.run("versions", "--store", place)
    old.run("preflight", "4", "--store", place)
