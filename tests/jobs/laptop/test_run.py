"""`cnn-image run`: what becomes of its steps, which are commands in processes of their own."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from machine import wait_until

from export.store.versions import Store
from jobs.errors import Exit
from jobs.laptop import run
from jobs.settings import Settings
from jobs.training_runs import new_run, request_of

STEP = """#!/bin/sh
trap '' INT
touch started
until [ -e sent ]; do sleep 0.05; done
exit {code}
"""
RUN = """
import sys
from jobs.laptop import run
from jobs.settings import Settings
sys.executable = sys.argv[1]
run._child(Settings(), "judge", codes=(0, 3))
print("the next step")
"""
FIRST = "the first version on this machine"


@pytest.mark.parametrize(
    ("code", "ends_with"), [(0, "KeyboardInterrupt"), (3, "KeyboardInterrupt"), (130, "")]
)
def test_ctrl_c_ends_it_even_where_the_step_was_done_by_then(
    tmp_path: Path, code: int, ends_with: str
) -> None:
    step = tmp_path / "step"
    step.write_text(STEP.format(code=code))
    step.chmod(0o755)
    running = subprocess.Popen(
        [sys.executable, "-c", RUN, str(step)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_until((tmp_path / "started").exists, "the step's start")
    os.killpg(running.pid, signal.SIGINT)
    (tmp_path / "sent").touch()
    out, err = running.communicate(timeout=120)
    assert out == ""
    assert ends_with in err
    assert running.returncode == (130 if code == 130 else -signal.SIGINT)


@pytest.mark.parametrize(
    ("named", "kind", "data", "judged", "promoted"),
    [
        (None, "sample", ("--data", "sample"), Exit.OK, ("--accept-weak-evidence", "--reason", FIRST)),
        (
            "/data",
            "sample",
            ("--data", "/data"),
            Exit.REFUSED,
            ("--override-gate", f"{FIRST}, which was refused"),
        ),
        # What it was trained on is not here any more.
        (None, "cifar10", (), Exit.MISTAKE, ("--override-gate", f"{FIRST}, which could not be judged")),
    ],
)
def test_a_published_version_is_judged_and_served_in_any_case(
    named: str | None,
    kind: str,
    data: tuple[str, ...],
    judged: Exit,
    promoted: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steps: list[tuple[str, ...]] = []

    def step(_: Settings, *arguments: str, **__: Any) -> Exit:
        steps.append(arguments)
        return judged if arguments[0] == "judge" else Exit.OK

    newest = SimpleNamespace(version=4, data=SimpleNamespace(kind=kind))
    store = SimpleNamespace(numbers=lambda: [3, 4], manifest=lambda _: newest)
    monkeypatch.setattr(run, "_child", step)
    run._first_version(Settings(CIFAR10_DIR=named, state=tmp_path), store)  # type: ignore[arg-type]
    assert steps == [("judge", "4", *data), ("promote", "4", *promoted)]


@pytest.mark.parametrize("published", [Exit.OK, Exit.MISTAKE])
def test_a_twin_that_ctrl_c_kept_from_being_made_is_made_before_anything_is_judged(
    published: Exit,
    store: Store,
    publish: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    steps: list[tuple[str, ...]] = []

    def step(_: Settings, *arguments: str, **__: Any) -> Exit:
        steps.append(arguments)
        if arguments[0] == "publish" and published == Exit.OK:
            publish(precision="int8", quantized_from=1)
        return published if arguments[0] == "publish" else Exit.OK

    monkeypatch.setattr(run, "_child", step)
    settings = Settings(CIFAR10_DIR="sample", state=tmp_path, int8=True)
    begun = new_run(settings.runs, request_of(settings, 0), "interrupted")
    begun.begin()
    begun.published_as(store, publish())
    run._first_version(settings, store)
    newest = "2" if published == Exit.OK else "1"
    assert [each[:3] for each in steps[:2]] == [
        ("publish", "--run", "interrupted"),
        ("judge", newest, "--data"),
    ]
    assert ("without an int8 twin" in capsys.readouterr().err) == (published == Exit.MISTAKE)

    steps.clear()
    begun.finish()
    run._first_version(settings, store)
    run._first_version(settings.model_copy(update={"int8": False}), store)
    assert [each[0] for each in steps] == 2 * ["judge", "promote"]


def test_what_is_asked_of_a_first_version_reaches_its_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[tuple[str, ...]] = []
    published: list[int] = []

    def step(_: Settings, *arguments: str, **__: Any) -> Exit:
        steps.append(arguments)
        published.append(1)
        return Exit.OK

    monkeypatch.setattr(run, "_child", step)
    newest = SimpleNamespace(version=1, data=SimpleNamespace(kind="images"))
    store = SimpleNamespace(numbers=lambda: published, manifest=lambda _: newest)
    wishes = {"size": 96, "fit": "pad", "network": "efficientnet-lite1", "weights": "mine.pth"}
    settings = Settings(CIFAR10_DIR="photos", state=tmp_path, mirror=False, **wishes)  # type: ignore[arg-type]
    run._first_version(settings, store)  # type: ignore[arg-type]
    assert steps[0] == (
        *("retrain", "--no-promote", "--sample-allowed", "--data", "photos", "--size", "96", "--fit", "pad"),
        *("--network", "efficientnet-lite1", "--weights", "mine.pth", "--no-mirror"),
    )
