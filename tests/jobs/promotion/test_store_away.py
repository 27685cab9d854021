"""MinIO goes away while a version is published or promoted: that is said, and another try finishes it."""

from collections.abc import Iterator
from typing import Any

import pytest
from laptop import Laptop
from minio_server import Minio, minios

from export.errors import UnreachableError
from export.store.ledger import Entry
from export.store.versions import Store, open_store
from jobs.promotion.promote import promote

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Minio]:
    """One that may be stopped."""
    with minios(tmp_path_factory) as start:
        yield start()


@pytest.fixture
def store(minio: Minio, monkeypatch: pytest.MonkeyPatch) -> Store:
    """An empty store in it."""
    for name, value in minio.environment().items():
        monkeypatch.setenv(name, value)
    return open_store(f"s3://{minio.make_bucket()}/store")


def make_served(store: Store, deployer: Any) -> Entry:
    return promote(store, deployer, 2, judged_against=1, decoder="1", by="me", reason="why")


def actions(store: Store) -> list[tuple[str, int | None]]:
    return [(entry.action, entry.version) for entry in store.ledger.entries()]


def test_while_publishing(laptop: Laptop, minio: Minio, store: Store) -> None:
    publish = ("publish", "--run", laptop.runs[0].name, "--store", store.url)
    minio.stop()
    sentence = laptop.run(*publish, code=69, **minio.environment()).strip().splitlines()[-1]
    assert f"127.0.0.1:{minio.port}" in sentence
    minio.start()
    assert store.numbers() == []
    assert laptop.run(*publish, **minio.environment()) == "1\n"
    store.verify(1)


@pytest.mark.parametrize(
    ("step", "after"),
    [("preflight", [("promote", 1)]), ("verify", [("promote", 1), ("promote", 2)])],
)
def test_while_promoting(
    step: str, after: list[tuple[str, int]], minio: Minio, store: Store, publish: Any, deployer: Any
) -> None:
    """Before the ledger says so nothing has changed; once it does, the new version is what will be served."""
    publish(), publish()
    store.ledger.record("promote", 1, by="me", reason="the first", after=0)
    deployer.live = 1

    class CutOff(type(deployer)):  # type: ignore[misc]
        def preflight(self, version: int) -> None:
            self.cut("preflight")

        def verify(self, version: int) -> None:
            self.cut("verify")

        def cut(self, here: str) -> None:
            if here == step:
                minio.stop()
                store.manifest(2)

    cut_off = CutOff()
    cut_off.live = 1
    with pytest.raises(UnreachableError, match=f"127.0.0.1:{minio.port}"):
        make_served(store, cut_off)
    minio.start()
    assert actions(store) == after
    deployer.live = cut_off.live
    make_served(store, deployer)
    assert (deployer.live, actions(store)) == (2, [("promote", 1), ("promote", 2)])
