"""Pruning never removes what someone needs; the drill proves the way back."""

from pathlib import Path
from typing import Any

import pytest

from export.errors import IntegrityError
from export.store.lease import Lease
from export.store.versions import Store
from jobs.errors import RefusedError
from jobs.gate.attached import attach_verdict, last_verdict
from jobs.gate.judge import judging
from jobs.pipeline.upkeep import drill, prune


def serve(store: Store, *versions: int) -> None:
    for number, version in enumerate(versions):
        store.ledger.record("promote", version, by="me", reason="why", after=number)


def test_prune_keeps_the_newest_the_served_the_one_before_and_the_best(
    store: Store, publish: Any, verdict: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(1, 9):
        publish()
        attach_verdict(store, verdict(number, {2: 0.9}.get(number, 0.8)), {})
    serve(store, 1, 2, 4, 5)
    assert prune(store, tmp_path / "runs", keep=1) == [1, 3, 6, 7]
    assert store.numbers() == [2, 4, 5, 8]  # best, before, served, newest
    assert capsys.readouterr().err.splitlines() == [
        "Version 2 stays: it is the most accurate that ever served.",
        "Version 4 stays: a rollback goes to it.",
        "Version 5 stays: it is served.",
    ]


def test_prune_leaves_what_is_being_judged(store: Store, publish: Any, tmp_path: Path) -> None:
    publish(), publish()
    with Lease(store.blobs, judging(1), holder="a judge"):
        assert prune(store, tmp_path / "runs", keep=1) == []
    assert prune(store, tmp_path / "runs", keep=1) == [1]


def test_a_number_is_not_used_again_after_pruning(store: Store, publish: Any, tmp_path: Path) -> None:
    publish(), publish(), publish()
    serve(store, 1)
    assert prune(store, tmp_path / "runs", keep=1) == [2]
    assert publish() == 4


def test_drill_tries_the_version_before(store: Store, publish: Any, deployer: Any) -> None:
    publish(), publish()
    assert drill(store, deployer) is None
    serve(store, 1, 2)
    assert drill(store, deployer) == 1
    assert deployer.tried == [1]


def test_drill_fails_when_the_way_back_is_broken(store: Store, publish: Any, deployer: Any) -> None:
    publish(), publish()
    serve(store, 1, 2)
    deployer.unloadable = {1}
    with pytest.raises(RefusedError):
        drill(store, deployer)
    for key in store.blobs.list("versions/000001/cnn-image/1/"):
        store.blobs.delete(key)
    with pytest.raises(IntegrityError):
        drill(store, deployer)


def test_the_last_verdict_counts_and_earlier_ones_stay(store: Store, publish: Any, verdict: Any) -> None:
    publish()
    assert last_verdict(store, 1) is None
    attach_verdict(store, verdict(1, 0.6, passed=False), {"flips.png": b"png"})
    attach_verdict(store, verdict(1, 0.8), {})
    assert [name for name in store.attachments(1) if "bounds" not in name] == [
        "flips-001.png",
        "verdict-001.json",
        "verdict-002.json",
    ]
    found = last_verdict(store, 1)
    assert found is not None
    assert (found.word, found.candidate.accuracy) == ("passed", 0.8)
