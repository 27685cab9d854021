"""`var/serving`: links that change at once, one service at a time, a status others can trust."""

from pathlib import Path
from typing import Any

import pytest

from export.store.versions import Store
from jobs.errors import MistakeError
from jobs.laptop.serving_folder import ServingFolder, Status
from model.contract import FILTERS_MODEL_NAME, MODEL_NAME

STATUS = Status(
    pid=1, url="http://127.0.0.1:8002", triton_url="http://127.0.0.1:1", variant="cpu-2", version=3
)


@pytest.fixture
def folder(tmp_path: Path) -> ServingFolder:
    return ServingFolder(tmp_path / "serving")


def test_activating_points_both_models_at_one_version(
    folder: ServingFolder, store: Store, publish: Any
) -> None:
    publish(), publish()
    assert folder.active() is None
    for version in (1, 2, 1):
        folder.activate(folder.fetch(store, version))
        assert folder.active() == version
        for name in (MODEL_NAME, FILTERS_MODEL_NAME):
            assert (folder.models / name / str(version) / "model.onnx").is_file()
    assert {path.name for path in folder.models.iterdir()} == {MODEL_NAME, FILTERS_MODEL_NAME}


def test_a_version_activated_again_looks_newer_than_the_last(
    folder: ServingFolder, store: Store, publish: Any
) -> None:
    """Triton loads a model anew only if its files are newer than what it loaded."""
    publish(), publish()
    times = []
    for version in (1, 2, 1):
        folder.activate(folder.fetch(store, version))
        times.append((folder.models / MODEL_NAME / "config.pbtxt").stat().st_mtime_ns)
    assert times[0] < times[1] < times[2]


def test_only_one_service_uses_the_folder(folder: ServingFolder) -> None:
    with folder.claim():
        folder.write_status(STATUS)
        with pytest.raises(MistakeError, match="process 1"), folder.claim():
            pass
    with folder.claim():
        pass


def test_the_status_of_a_service_that_was_killed_counts_no_more(folder: ServingFolder) -> None:
    with folder.claim():
        folder.write_status(STATUS)
        assert folder.status() == STATUS
        left = (folder.models.parent / "status.json").read_bytes()
    (folder.models.parent / "status.json").write_bytes(left)  # as SIGKILL leaves it
    assert folder.status() is None


def test_versions_of_no_use_are_dropped(folder: ServingFolder, store: Store, publish: Any) -> None:
    for version in (publish(), publish(), publish()):
        folder.fetch(store, version)
    folder.drop_except({1, 3})
    assert [folder.fetched(version) is not None for version in (1, 2, 3)] == [True, False, True]
