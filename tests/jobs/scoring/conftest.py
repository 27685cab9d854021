"""A store with a promoted version that takes no training."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from scoring_home import Scorer, publish_small
from serving import SmallModel

from export.store.lineage import Lineage
from export.store.versions import open_store


@pytest.fixture(scope="session")
def published(
    small_model: SmallModel, lineage: Callable[..., Lineage], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A store's folder; leave it as it is."""
    home = tmp_path_factory.mktemp("published")
    store = open_store(str(home / "store"))
    assert publish_small(store, small_model, lineage(), home / "scratch") == small_model.version
    return home / "store"


@pytest.fixture
def scorer(home: Path, published: Path) -> Scorer:
    """A folder of its own with that store."""
    (home / "var").mkdir()
    shutil.copytree(published, home / "var" / "store")
    return Scorer(home)
