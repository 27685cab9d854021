"""Training runs on disk: an interrupted one is gone on with, by the same request alone."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from export.store.versions import Store
from jobs.errors import MistakeError
from jobs.training_runs import (
    Request,
    find_run,
    interrupted_run,
    new_run,
    remove_old_runs,
    unfinished_run,
)

REQUEST = Request(data="sample", recipe="quick", epochs=2, batch_size=None, seed=0)


def test_an_interrupted_run_is_gone_on_with(tmp_path: Path, store: Store) -> None:
    run = new_run(tmp_path / "runs", REQUEST)
    assert interrupted_run(tmp_path / "runs", REQUEST) == run
    assert unfinished_run(tmp_path / "runs", REQUEST, store) is None  # `cnn-image train`'s own
    run.begin()
    assert unfinished_run(tmp_path / "runs", REQUEST, store) == run
    assert run.request() == REQUEST


def test_another_request_gets_a_run_of_its_own(tmp_path: Path, store: Store) -> None:
    new_run(tmp_path / "runs", REQUEST).begin()
    assert interrupted_run(tmp_path / "runs", replace(REQUEST, epochs=3)) is None
    assert unfinished_run(tmp_path / "runs", replace(REQUEST, seed=1), store) is None


def test_a_run_in_the_hands_of_another_process_is_left_alone(tmp_path: Path) -> None:
    run = new_run(tmp_path / "runs", REQUEST)
    with run.held():
        assert interrupted_run(tmp_path / "runs", REQUEST) is None
        with pytest.raises(MistakeError, match="another process"), run.held():
            pass
    assert interrupted_run(tmp_path / "runs", REQUEST) == run


def test_a_run_is_unfinished_until_its_retrain_says_so(tmp_path: Path, store: Store, publish: Any) -> None:
    run = new_run(tmp_path / "runs", REQUEST)
    run.begin()
    (run.folder / "run.json").write_text("{}")
    run.published_as(store, publish())
    assert run.version(store) == 1
    assert unfinished_run(tmp_path / "runs", REQUEST, store) == run
    assert interrupted_run(tmp_path / "runs", REQUEST) is None
    run.finish()
    assert unfinished_run(tmp_path / "runs", REQUEST, store) is None


def test_a_run_whose_version_was_pruned_is_left_alone(tmp_path: Path, store: Store, publish: Any) -> None:
    run = new_run(tmp_path / "runs", REQUEST)
    run.begin()
    run.published_as(store, publish())
    store.delete(1)
    assert unfinished_run(tmp_path / "runs", REQUEST, store) is None


def test_a_name_taken_for_something_else_is_refused(tmp_path: Path) -> None:
    new_run(tmp_path / "runs", REQUEST, "mine")
    assert new_run(tmp_path / "runs", REQUEST, "mine").name == "mine"
    with pytest.raises(MistakeError, match="another name"):
        new_run(tmp_path / "runs", replace(REQUEST, seed=1), "mine")


def test_what_is_no_run_is_not_found(tmp_path: Path) -> None:
    (tmp_path / "runs" / "strange").mkdir(parents=True)
    with pytest.raises(MistakeError, match="no training run in"):
        find_run(tmp_path / "runs", None)
    with pytest.raises(MistakeError, match="strange'"):
        find_run(tmp_path / "runs", "../strange")


def test_old_runs_go_but_none_that_could_be_gone_on_with(tmp_path: Path) -> None:
    names = ["done", "held", "unfinished", "interrupted", "newest"]
    runs = {name: new_run(tmp_path, REQUEST, name) for name in names}
    for age, (name, run) in enumerate(reversed(runs.items())):
        if name != "interrupted":
            (run.folder / "run.json").write_text("{}")
        os.utime(run.folder / "request.json", (1e9 - age,) * 2)
    runs["unfinished"].begin()
    with runs["held"].held():
        remove_old_runs(tmp_path, keep=1)
    assert {path.name for path in tmp_path.iterdir()} == {"held", "unfinished", "interrupted", "newest"}
    remove_old_runs(tmp_path, keep=1)
    assert not runs["held"].folder.exists()
