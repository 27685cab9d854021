"""Whether an earlier release could take a store over: what doctor says of it, on a store that one wrote."""

import tarfile
from pathlib import Path
from typing import Any

import pytest
from machine import beside

from export.store.versions import Store, open_store
from jobs.store_doctor import way_back


@pytest.fixture
def old(tmp_path: Path) -> Store:
    """A store that an earlier release wrote: versions 1 to 4; 2, 4 and 2 again were promoted."""
    with tarfile.open(beside("data/store-layout1.tar.xz")) as archive:
        archive.extractall(tmp_path, filter="data")
    return open_store(str(tmp_path / "store"))


def promote(store: Store, version: int | None) -> None:
    after = len(store.ledger.entries())
    store.ledger.record("promote", version, by="a test", reason="-", after=after)


def test_until_a_new_version_is_promoted_an_earlier_release_can_take_over(old: Store, build: Any) -> None:
    assert way_back(old) == (
        "an earlier release, which knows layout 1 alone, can still take over; no more once a version that "
        "this one made is promoted"
    )
    old.publish(build)
    assert "can still take over (it leaves out 1 of layout 2);" in way_back(old)
    promote(old, 5)
    assert way_back(old) == (
        "an earlier release, which knows layout 1 alone, cannot serve version 5 (layout 2), which is "
        "promoted; to go back, `cnn-image rollback 2` first"
    )
    old.delete(2)
    assert way_back(old).endswith("`cnn-image rollback 4` first")
    old.delete(4)
    assert way_back(old).endswith("judge and promote version 3 first")
    old.delete(1), old.delete(3)
    assert way_back(old).endswith("and none of layout 1 is left: no way back")


def test_the_way_back_leaves_broken_versions_to_other_looks(old: Store, build: Any) -> None:
    old.publish(build)
    promote(old, 5)
    Path(old.url, "versions/000002/manifest.json").write_text("{}")
    assert way_back(old).endswith("`cnn-image rollback 4` first")


def test_an_entry_that_earlier_releases_cannot_read_closes_the_way_back(
    old: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = old.ledger.entries()
    later = entries[-1].model_copy(update={"number": 4, "action": "hold"})
    monkeypatch.setattr(old.ledger, "entries", lambda: [*entries, later])
    assert way_back(old) == (
        "none to an earlier release: ledger entry 4 is of a kind, 'hold', that it cannot read"
    )
