from pathlib import Path

import pytest

from model.data.own.wishes import Wishes


@pytest.fixture
def wishes(tmp_path: Path) -> Wishes:
    """Nothing but a cache of the test's own."""
    return Wishes(cache=tmp_path / "cache")
