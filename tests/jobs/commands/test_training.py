"""What `train` and `retrain` are asked by, and what reaches the pipeline of it."""

from pathlib import Path
from typing import Any

import pytest
from command_line import run

from jobs.settings import Settings
from jobs.training_runs import Request

pytestmark = pytest.mark.usefixtures("home")

FLAGS = (
    *("--data", "photos", "--recipe", "best", "--epochs", "3", "--batch-size", "8", "--seed", "5"),
    *("--size", "64", "--fit", "pad", "--no-mirror", "--fix", "fixes.csv", "--drop-leaks", "--cpu"),
    *("--network", "efficientnet-lite1", "--weights", "mine.pth"),
    *("--rename", "a=b", "--rename", "c=d", "--store", "there"),
)


@pytest.mark.parametrize("command", ["train", "retrain"])
def test_both_take_the_same_flags(command: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr("jobs.pipeline.retrain.retrain", lambda *given, **_: asked.extend(given))
    monkeypatch.setattr("jobs.pipeline.data.load_data", lambda *given, **_: asked.extend(given))
    monkeypatch.setattr("jobs.pipeline.candidate.train_run", lambda *_: None)
    monkeypatch.setattr("jobs.pipeline.networks.check_network", lambda *_: None)
    result = run(command, *FLAGS)
    assert result.exit_code == 0, result.output
    (settings,) = (each for each in asked if isinstance(each, Settings))
    (request,) = (each for each in asked if isinstance(each, Request))
    assert request == Request(
        data="photos",
        recipe="best",
        epochs=3,
        batch_size=8,
        seed=5,
        size=64,
        fit="pad",
        mirror=False,
        fixes=str(home / "fixes.csv"),
        renamed={"a": "b", "c": "d"},
        drop_leaks=True,
        network="efficientnet-lite1",
        weights=str(home / "mine.pth"),
    )
    assert (settings.store, settings.require_gpu) == ("there", False)


def test_a_jobs_environment_asks_as_the_flags_do_and_flags_win(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Request] = []
    monkeypatch.setattr("jobs.pipeline.retrain.retrain", lambda *given, **_: asked.append(given[3]))
    monkeypatch.setenv("CNN_IMAGE_RENAME", "cat=felis\n\nnight, starry=night\n")
    monkeypatch.setenv("CNN_IMAGE_DROP_LEAKS", "true")
    assert run("retrain").exit_code == 0
    assert run("retrain", "--rename", "dog=canis").exit_code == 0
    assert [request.renamed for request in asked] == [
        {"cat": "felis", "night, starry": "night"},
        {"dog": "canis"},
    ]
    assert [request.drop_leaks for request in asked] == [True, True]
    monkeypatch.setenv("CNN_IMAGE_RENAME", "cat")
    refused = run("retrain")
    assert refused.exit_code == 2
    assert "--rename is 'cat': write the old name, one =, and the new name." in refused.output


def test_retrain_has_flags_of_its_own_beside_them(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}
    monkeypatch.setattr(
        "jobs.pipeline.retrain.retrain", lambda settings, *_, **more: asked.update(more, settings=settings)
    )
    assert run("retrain", "--float", "--accept-weak-evidence", "--keep", "4").exit_code == 0
    assert (asked["settings"].int8, asked["weak_accepted"], asked["keep"]) == (False, True, 4)
    assert "No such option" in run("train", "--keep", "4").output
