"""Retrains, promotions and rollbacks that are cut off anywhere, by a kill or a store that goes away, are
finished by doing them again, and nothing is promoted twice or half."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from export.errors import ParityError, UnreachableError
from export.store.blobs import FolderBlobs
from export.store.ledger import Ledger
from export.store.manifest import Manifest
from export.store.versions import Store
from jobs.errors import MistakeError, RefusedError, ReturnedError
from jobs.gate.attached import attach_verdict
from jobs.gate.verdict import Verdict
from jobs.pipeline import quantization
from jobs.pipeline import retrain as pipeline
from jobs.promotion.promote import promote, roll_back
from jobs.settings import load_settings
from jobs.training_runs import Request, Run, new_run
from model.training.recipe import StaleCheckpointError


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
    roll_back(store, deployer, None, by="me", reason="why")


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


class Steps:
    """The steps of a retrain without their arithmetic: what they leave on disk and in the store is real."""

    def __init__(self, lineage: Any, verdict: Any, build: Any) -> None:
        self.fuse = Fuse(10_000, KilledError, once=False)
        self.int8 = False
        self.trainings: list[Run] = []
        self.good = True
        self.parity: Exception | None = None
        self.stale: Run | None = None
        self._lineage, self._verdict, self._build = lineage, verdict, build

    def train_run(self, run: Run, *_: Any, **__: Any) -> None:
        self.fuse.check()
        if run == self.stale:
            raise StaleCheckpointError("It holds the checkpoint of another run.")
        self.trainings.append(run)
        (run.folder / "run.json").write_text("{}")
        self.fuse.check()

    def export_run(self, run: Run, _settings: Any) -> None:
        run.export_folder.mkdir(exist_ok=True)
        self.fuse.check()
        if self.parity:
            raise self.parity
        (run.export_folder / "lineage.json").write_text(self._lineage().model_dump_json())

    @contextmanager
    def quantized(self, _store: Store, version: int, *_: Any) -> Iterator[Any]:
        def publish(store: Store) -> Manifest:
            twin = {"precision": "int8", "quantized_from": version}
            return store.publish(lambda number, folder: self._build(number, folder, **twin))

        self.fuse.check()
        graphs = SimpleNamespace(classifier=None)
        yield SimpleNamespace(original=graphs, graphs=graphs, publish=publish)

    def judge(self, store: Store, version: int, *_: Any) -> Verdict:
        against = {"champion": self._verdict(1).candidate, "best": 1}
        said: Verdict = self._verdict(version, passed=self.good).model_copy(update=against)
        attach_verdict(store, said, {"flips.png": b"png"})
        return said

    def retrain(self, store: Store, deployer: Any, home: Path, **asked: Any) -> Manifest | None:
        return pipeline.retrain(
            load_settings(state=home, user="me", int8=self.int8),
            store,
            deployer,
            Request("sample", "quick", 1, None, 0),
            sample_allowed=False,
            weak_accepted=False,
            **asked,
        )


class Silent:
    """Takes every call and does nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None


@pytest.fixture
def steps(lineage: Any, verdict: Any, build: Any, monkeypatch: pytest.MonkeyPatch) -> Steps:
    """The pipeline with these steps."""
    steps = Steps(lineage, verdict, build)
    for name in ("train_run", "export_run", "judge"):
        monkeypatch.setattr(pipeline, name, getattr(steps, name))
    monkeypatch.setattr(pipeline, "finish_report", lambda *_: None)  # these runs have nothing to report on
    for registry in ("jobs.pipeline.retrain.registry", "jobs.pipeline.candidate.registry"):
        monkeypatch.setattr(registry, Silent())
    data = SimpleNamespace(test=SimpleNamespace(images=None, labels=None, classes=None, groups=None))
    data.called = lambda _: data
    monkeypatch.setattr(pipeline, "load_data", lambda *_, **__: data)
    monkeypatch.setattr(quantization, "_quantized", steps.quantized)
    monkeypatch.setattr(quantization, "onnx_outputs", lambda *_, **__: None)
    monkeypatch.setattr(quantization.rules, "twin_checks", lambda *_, **__: [])
    monkeypatch.setattr("export.artifact.assemble", lambda _graphs, _lineage, *place: build(*place[:2]))
    monkeypatch.setattr(os, "fsync", lambda _: None)  # no power fails here
    return steps


@pytest.mark.parametrize("after", [False, True], ids=["before the call", "after the call"])
@pytest.mark.parametrize("int8", [False, True], ids=["float", "int8"])
def test_a_retrain_killed_anywhere_then_done_again(
    int8: bool, after: bool, steps: Steps, deployer: Any, build: Any, tmp_path: Path
) -> None:
    steps.int8 = int8
    for calls in range(300):
        home = tmp_path / str(calls)
        store = Store(FolderBlobs(home / "store"))
        store.publish(build)
        store.ledger.record("promote", 1, by="me", reason="base", after=0)
        deployer.live = 1
        steps.trainings.clear()
        fuse = steps.fuse = Fuse(calls, KilledError, once=False)
        try:
            steps.retrain(fused_store(store, fuse, after=after), Fused(deployer, fuse, after=after), home)
        except KilledError:
            fuse.left = 10_000
            assert deployer.live == store.ledger.served() or deployer.live == 1, calls
            lease = home / "store" / "leases" / "retrain.json"
            if lease.exists():  # the dead one holds it until it runs out
                os.utime(lease, (time.time() - 61,) * 2)
            if store.ledger.served() == 1 or list(home.glob("runs/*/unfinished")):  # else all was done
                steps.retrain(store, deployer, home)
        made = store.numbers()[-1]
        # One may have been published before a kill that came before its number was noted.
        assert made in ({3, 4} if int8 else {2, 3}), calls
        twins = [each.version for each in store.versions() if each.quantized_from in {2, 3}]
        assert twins == ([made] if int8 else []), calls
        assert deployer.live == store.ledger.served() == made, calls
        assert [entry.action for entry in store.ledger.entries()] == ["promote", "promote"], calls
        assert len(set(steps.trainings)) == 1, calls  # the run that was begun was gone on with
        if not fuse.blown:
            assert calls > 30
            return
    pytest.fail("the retrain never ran to its end")


def test_what_the_place_would_refuse_is_said_before_anything_is_trained(
    steps: Steps, deployer: Any, store: Store, tmp_path: Path
) -> None:
    deployer.closed = True
    with pytest.raises(MistakeError, match="takes nothing"):
        steps.retrain(store, deployer, tmp_path)
    assert steps.trainings == []
    assert not list(tmp_path.glob("runs/*"))


def test_a_checkpoint_that_cannot_be_continued_bars_no_later_retrain(
    steps: Steps, deployer: Any, store: Store, publish: Any, tmp_path: Path
) -> None:
    publish()
    store.ledger.record("promote", 1, by="me", reason="base", after=0)
    deployer.live = 1
    stale = new_run(tmp_path / "runs", Request("sample", "quick", 1, None, 0))
    stale.begin()
    (stale.folder / "checkpoint.npz").write_bytes(b"of another release")
    steps.stale = stale
    steps.retrain(store, deployer, tmp_path)
    assert deployer.live == 2
    assert steps.trainings[0] != stale
    assert (stale.folder / "checkpoint.npz").exists()
    assert not stale.unfinished


@pytest.mark.parametrize("end", ["parity", "gate", "pre-flight", "service", "store away"])
def test_what_is_refused_is_not_tried_again_and_what_was_a_fault_is(
    end: str, steps: Steps, deployer: Any, store: Store, publish: Any, tmp_path: Path
) -> None:
    publish()
    store.ledger.record("promote", 1, by="me", reason="base", after=0)
    deployer.live = 1
    steps.good = end != "gate"
    if end == "parity":
        steps.parity = ParityError("0.4 apart")
    deployer.unloadable = {2} if end == "pre-flight" else set()
    deployer.wrong = {2} if end == "service" else set()
    away = Fuse(10, unreachable, once=False)
    expected = UnreachableError if end == "store away" else (ParityError, RefusedError, ReturnedError)
    with pytest.raises(expected):
        steps.retrain(
            fused_store(store, away, after=False) if end == "store away" else store, deployer, tmp_path
        )
    assert store.ledger.served() == deployer.live == 1
    first = steps.trainings.pop()
    steps.good, steps.parity, deployer.unloadable, deployer.wrong = True, None, set(), set()
    lease = tmp_path / "store" / "leases" / "retrain.json"
    os.utime(lease, (time.time() - 61,) * 2)
    steps.retrain(store, deployer, tmp_path)
    assert (steps.trainings == []) is (end == "store away")
    assert first not in steps.trainings
    assert deployer.live == store.ledger.served() == store.numbers()[-1]
