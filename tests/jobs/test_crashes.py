"""Retrains, promotions and rollbacks that are cut off anywhere, by a kill or a store that goes away, are
finished by doing them again, and nothing is promoted twice or half."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from export.blobs import FolderBlobs
from export.errors import UnreachableError
from export.ledger import Ledger
from export.store import Store
from jobs import retrain as pipeline
from jobs.promotion import promote, roll_back
from jobs.runs import Request, Run
from jobs.settings import load_settings
from jobs.verdict import Verdict, attach_verdict


class KilledError(BaseException):
    """As SIGKILL: nothing that catches errors sees it."""


class Fuse:
    """Lets some calls through, then blows: at every one from there on, or once."""

    def __init__(self, calls: int, error: Callable[[], BaseException], *, once: bool) -> None:
        self.left = calls
        self.error = error
        self.once = once
        self.blown = False

    def check(self) -> None:
        if self.left == 0 and not (self.once and self.blown):
            self.blown = True
            raise self.error()
        self.left = max(0, self.left - 1)


class Fused:
    """Any object, each of whose methods may blow: before it does its work, or after."""

    def __init__(self, inner: Any, fuse: Fuse, *, after: bool) -> None:
        self._inner, self._fuse, self._after = inner, fuse, after

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inner, name)
        if not callable(value):
            return value

        def call(*arguments: Any, **named: Any) -> Any:
            if not self._after:
                self._fuse.check()
            result = value(*arguments, **named)
            if self._after:
                self._fuse.check()
            return result

        return call


def fused_store(store: Store, fuse: Fuse, *, after: bool) -> Store:
    fused = Store(Fused(store.blobs, fuse, after=after))  # type: ignore[arg-type]
    fused.ledger = Ledger(fused.blobs)
    return fused


def promote_2(store: Store, deployer: Any) -> None:
    promote(store, deployer, 2, judged_against=1, decoder="1", by="me", reason="why")


def back_to_1(store: Store, deployer: Any) -> None:
    if store.ledger.served() != 1 or deployer.served() != 1:
        if store.ledger.served() == 1:  # cut off after the ledger: as `cnn-image deploy` does
            deployer.deploy(1)
            deployer.verify(1)
        else:
            roll_back(store, deployer, 1, by="me", reason="why")


def unreachable() -> BaseException:
    return UnreachableError("The store does not answer; try again.")


@pytest.mark.parametrize(
    ("error", "once"),
    [(KilledError, False), (unreachable, False), (unreachable, True)],
    ids=["killed", "store away", "store away for a moment"],
)
@pytest.mark.parametrize("after", [False, True], ids=["before the call", "after the call"])
@pytest.mark.parametrize(("change", "start", "end"), [(promote_2, 1, 2), (back_to_1, 2, 1)])
def test_cut_off_anywhere_then_done_again(
    change: Callable[[Store, Any], None],
    start: int,
    end: int,
    error: Callable[[], BaseException],
    once: bool,
    after: bool,
    store: Store,
    publish: Any,
    deployer: Any,
) -> None:
    publish(), publish()
    base = [("promote", 1)] if start == 1 else [("promote", 1), ("promote", 2)]
    for calls in range(200):
        for key in store.blobs.list("ledger/"):
            store.blobs.delete(key)
        store.ledger = Ledger(store.blobs)
        for number, (_, version) in enumerate(base):
            store.ledger.record("promote", version, by="me", reason="base", after=number)
        deployer.live = start

        fuse = Fuse(calls, error, once=once)
        try:
            change(fused_store(store, fuse, after=after), Fused(deployer, fuse, after=after))
        except (KilledError, UnreachableError):
            assert fuse.blown
        assert deployer.live in {start, end}
        store.ledger = Ledger(store.blobs)
        change(store, deployer)

        assert deployer.live == end
        added = [(entry.action, entry.version) for entry in store.ledger.entries()][len(base) :]
        assert added == [("promote" if end == 2 else "rollback", end)]
        if not fuse.blown:
            return
    pytest.fail("the change never ran to its end")


@pytest.mark.parametrize("after", [False, True], ids=["before the call", "after the call"])
def test_a_retrain_killed_anywhere_then_done_again(
    after: bool,
    deployer: Any,
    build: Any,
    lineage: Any,
    verdict: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All steps but their arithmetic: what is left on disk and in the store is what real ones leave."""
    fuse = Fuse(0, KilledError, once=False)
    trainings: list[Run] = []

    def train(run: Run, *_: Any, **__: Any) -> None:
        fuse.check()
        trainings.append(run)
        (run.folder / "run.json").write_text("{}")
        fuse.check()

    def export(run: Run, _settings: Any) -> None:
        run.export_folder.mkdir(exist_ok=True)
        fuse.check()
        (run.export_folder / "lineage.json").write_text(lineage().model_dump_json())

    def judge(store: Store, version: int, *_: Any) -> Verdict:
        said: Verdict = verdict(version).model_copy(update={"champion": verdict(1).candidate, "best": 1})
        attach_verdict(store, said, {})
        return said

    class Silent:
        def __getattr__(self, name: str) -> Any:
            return lambda *_: None

    for name, step in (
        ("train_run", train),
        ("export_run", export),
        ("judge", judge),
        ("champion", Silent()),
    ):
        monkeypatch.setattr(pipeline, name, step)
    monkeypatch.setattr(pipeline, "load_data", lambda *_, **__: Silent())
    monkeypatch.setattr("export.artifact.assemble", lambda _graphs, _lineage, *place: build(*place))
    monkeypatch.setattr(os, "fsync", lambda _: None)  # no power fails here

    def retrain(store: Store, deployer: Any, home: Path) -> None:
        pipeline.retrain(
            load_settings(state=home, user="me"),
            store,
            deployer,
            Request("sample", "quick", 1, None, 0),
            sample_allowed=False,
            gpu=False,
            weak_accepted=False,
        )

    for calls in range(300):
        home = tmp_path / str(calls)
        store = Store(FolderBlobs(home / "store"))
        store.publish(build)
        store.ledger.record("promote", 1, by="me", reason="base", after=0)
        deployer.live = 1
        trainings.clear()
        fuse.left, fuse.blown = calls, False
        try:
            retrain(fused_store(store, fuse, after=after), Fused(deployer, fuse, after=after), home)
        except KilledError:
            fuse.left = 10_000
            assert deployer.live == store.ledger.served() or deployer.live == 1, calls
            lease = home / "store" / "leases" / "retrain.json"
            if lease.exists():  # the dead one holds it until it runs out
                os.utime(lease, (time.time() - 61,) * 2)
            if store.ledger.served() == 1 or list(home.glob("runs/*/unfinished")):  # else all was done
                retrain(store, deployer, home)
        made = store.numbers()[-1]
        assert made in {2, 3}, calls  # 3: one was published, and the kill came before its number was noted
        assert deployer.live == store.ledger.served() == made, calls
        assert [entry.action for entry in store.ledger.entries()] == ["promote", "promote"], calls
        assert len(set(trainings)) == 1, calls  # the run that was begun was gone on with
        if not fuse.blown:
            assert calls > 30
            return
    pytest.fail("the retrain never ran to its end")
