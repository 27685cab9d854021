"""A retrain on a schedule does nothing where it would make again what it made before."""

from collections.abc import Callable
from dataclasses import asdict, replace
from types import SimpleNamespace
from typing import Any

import pytest

from export.store.lineage import DataLineage
from export.store.versions import Store
from jobs.gate.attached import attach_verdict
from jobs.pipeline import retrain as pipeline
from jobs.pipeline.candidate import made_before
from jobs.settings import load_settings
from jobs.training_runs import Request, new_run
from model.training.train import QUICK

COMMIT = "c" * 40
DIGEST = "d" * 64
REQUEST = Request("sample", "quick", 2, None, 0)
DATASET: Any = SimpleNamespace(digest=DIGEST, kind="sample", network="cnn", train=range(50), test=None)


@pytest.fixture(autouse=True)
def commit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The code's commit, as an image names it."""
    monkeypatch.setenv("CNN_IMAGE_COMMIT", COMMIT)


@pytest.fixture
def made(store: Store, publish: Any, verdict: Any) -> Callable[..., int]:
    """Publishes and judges a version that the request above makes of the data above."""

    def make(*, judged: bool = True, **changes: Any) -> int:
        recipe = asdict(replace(QUICK, epochs=2, batch_size=50))  # no batch is larger than the data
        version: int = publish(**{"recipe": recipe, "commit": COMMIT, "seed": 0, **changes})
        if judged:
            attach_verdict(store, verdict(version, 0.8), {})
        return version

    return make


def test_the_newest_of_the_same_counts(store: Store, made: Callable[..., int]) -> None:
    assert made_before(REQUEST, DATASET, store) is None
    made(), made()
    assert made_before(REQUEST, DATASET, store) == 2


def test_a_version_is_judged_by_its_twin(store: Store, made: Callable[..., int]) -> None:
    """Where the twin takes its place, it is not judged itself."""
    version = made(judged=False)
    made(precision="int8", quantized_from=version)
    made(judged=False)
    assert made_before(REQUEST, DATASET, store) == version


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 1},
        {"commit": "e" * 40},
        {"data": DataLineage(digest="e" * 64, source="here", kind="sample")},
        {"recipe": asdict(replace(QUICK, epochs=3, batch_size=50))},
        {"precision": "int8", "quantized_from": 1},
        {"judged": False},
    ],
    ids=lambda other: next(iter(other)),
)
def test_any_other_origin_does_not(store: Store, made: Callable[..., int], other: dict[str, Any]) -> None:
    made(**other)
    assert made_before(REQUEST, DATASET, store) is None


def test_code_that_is_in_no_commit_may_be_any(
    store: Store, made: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CNN_IMAGE_COMMIT", f"{COMMIT}-dirty")
    made(commit=f"{COMMIT}-dirty")
    assert made_before(REQUEST, DATASET, store) is None


def test_the_schedule_stops_and_prunes(
    store: Store, made: Callable[..., int], tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    for _ in range(4):
        made()
    monkeypatch.setattr(pipeline, "load_data", lambda *_, **__: DATASET)
    asked = {"sample_allowed": False, "weak_accepted": False, "unless_unchanged": True, "keep": 2}
    settings = load_settings(state=tmp_path, user="me")
    assert pipeline.retrain(settings, store, None, REQUEST, **asked) is None  # type: ignore[arg-type]
    assert "Version 4 was made of the same data by the same recipe, seed and code" in capsys.readouterr().err
    assert store.numbers() == [3, 4]
    assert not list(settings.runs.glob("*"))


def test_what_was_begun_is_brought_to_its_end_all_the_same(
    store: Store, made: Callable[..., int], tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made()
    settings = load_settings(state=tmp_path, user="me")
    begun = new_run(settings.runs, REQUEST)
    begun.begin()
    trained: list[Any] = []

    def train_run(run: Any, *_: Any) -> None:
        trained.append(run)
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "load_data", lambda *_, **__: DATASET)
    monkeypatch.setattr(pipeline, "train_run", train_run)
    with pytest.raises(KeyboardInterrupt):
        pipeline.retrain(
            settings, store, None, REQUEST, sample_allowed=False, weak_accepted=False, unless_unchanged=True
        )
    assert trained == [begun]
