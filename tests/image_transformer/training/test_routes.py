import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from image_transformer.settings import Settings
from image_transformer.training.local import LocalTrainer

TOKEN = "Bearer token"
OUTCOME = {
    "version": 8,
    "metrics": {"accuracy": 0.9, "val_accuracy": 0.8, "loss": 0.3, "val_loss": 0.5},
    "model_path": "var/store/versions/000008",
    "promoted": True,
}
PROGRAM = """
import json, os, pathlib, sys, time
folder = pathlib.Path(sys.argv[1])
(folder / "arguments").write_text(json.dumps(sys.argv[2:]))
print("\\x1b[32mepoch 1\\x1b[0m of 2\\r", end="", flush=True)
while not (folder / "go").exists():
    time.sleep(0.01)
if (folder / "fail").exists():
    print("The data folder is broken; give another.", file=sys.stderr)
    sys.exit(int((folder / "fail").read_text()))
pathlib.Path(os.environ["CNN_IMAGE_OUTCOME"]).write_text(os.environ["OUTCOME"])
"""


@pytest.fixture
async def trainer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LocalTrainer]:
    """Runs a program that trains until the file `go` is there."""
    monkeypatch.setenv("OUTCOME", json.dumps(OUTCOME))
    made = LocalTrainer(tmp_path / "train", [sys.executable, "-c", PROGRAM, str(tmp_path)])
    yield made
    await made.close()


@pytest.fixture(autouse=True)
def asked_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that waits for a training hears of its end at once."""
    monkeypatch.setattr("image_transformer.training.routes._POLL_SECONDS", 0.01)


@pytest.fixture
async def service(start_service: Any, trainer: LocalTrainer) -> Any:
    return await start_service(trainer=trainer)


async def until(happened: Any) -> None:
    async with asyncio.timeout(20):
        while not await happened():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_the_original_services_body(service: Any, tmp_path: Path) -> None:
    (tmp_path / "go").touch()
    answer = await service.call("POST", "/train", b'{"epochs": 10}', authorization=TOKEN)
    assert answer.status == 200
    expected = {"status": "success", "metrics": OUTCOME["metrics"], "model_path": OUTCOME["model_path"]}
    assert answer.json() == expected
    assert json.loads((tmp_path / "arguments").read_text()) == ["--epochs=10"]
    again = await service.call("GET", answer.headers["location"], authorization=TOKEN)
    assert again.json() == expected


async def test_respond_async(service: Any, tmp_path: Path) -> None:
    answer = await service.call("POST", "/train", b"", authorization=TOKEN, prefer="respond-async")
    assert answer.status == 202
    assert answer.headers["preference-applied"] == "respond-async"
    where = answer.headers["location"]

    async def look() -> Any:
        return (await service.call("GET", where, authorization=TOKEN)).json()

    async def speaks() -> bool:
        return bool((await look()) == {"status": "running", "detail": "epoch 1 of 2"})

    await until(speaks)
    second = await service.call("POST", "/train", b"", authorization=TOKEN)
    assert second.status == 409
    assert second.json()["code"] == "training_under_way"
    (tmp_path / "go").touch()

    async def ended() -> bool:
        return bool((await look())["status"] == "success")

    await until(ended)
    third = await service.call("POST", "/train", b"", authorization=TOKEN, prefer="respond-async")
    assert third.status == 202


async def test_of_two_at_once_one_is_refused(service: Any, tmp_path: Path) -> None:
    both = [service.call("POST", "/train", b"", authorization=TOKEN, prefer="respond-async") for _ in "ab"]
    answers = await asyncio.gather(*both)
    assert sorted(answer.status for answer in answers) == [202, 409]
    (tmp_path / "go").touch()


async def test_a_training_that_fails_says_why(service: Any, tmp_path: Path) -> None:
    (tmp_path / "fail").write_text("2")
    (tmp_path / "go").touch()
    answer = await service.call("POST", "/train", b"", authorization=TOKEN)
    assert answer.status == 502
    assert answer.json()["error"] == "The training failed: The data folder is broken; give another."


async def test_a_training_on_the_command_line_counts_too(service: Any, tmp_path: Path) -> None:
    (tmp_path / "fail").write_text("4")
    (tmp_path / "go").touch()
    answer = await service.call("POST", "/train", b"", authorization=TOKEN)
    assert answer.status == 409


async def test_what_was_found_out_survives_a_restart(service: Any, tmp_path: Path) -> None:
    (tmp_path / "go").touch()
    answer = await service.call("POST", "/train", b"", authorization=TOKEN)
    name = answer.headers["location"].removeprefix("/train/")
    training = await LocalTrainer(tmp_path / "train").look(name)
    assert training is not None
    assert training.state == "succeeded"


async def test_no_training_stays_behind(trainer: LocalTrainer) -> None:
    await trainer.start({})
    assert trainer._process is not None
    child = psutil.Process(trainer._process.pid)
    await trainer.close()
    assert not child.is_running()


@pytest.mark.parametrize(
    "header",
    [
        {},
        {"authorization": "Bearer"},
        {"authorization": "Bearer other"},
        {"authorization": "Basic token"},
        {"authorization": "Bearer tökén"},
    ],
)
@pytest.mark.parametrize(("method", "path"), [("POST", "/train"), ("GET", "/train/20260101-000000-abcdef")])
async def test_without_the_token(
    service: Any, tmp_path: Path, method: str, path: str, header: dict[str, str]
) -> None:
    (tmp_path / "go").touch()  # so that a training that should not be does not run on
    answer = await service.call(method, path, b"", **header)
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_it_is_off_unless_switched_on(start_service: Any) -> None:
    service = await start_service()
    answer = await service.call("POST", "/train", b"", authorization=TOKEN)
    assert answer.status == 403
    assert answer.json()["code"] == "training_disabled"


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b'{"epochs": 0}',
        b'{"epochs": 1001}',
        b'{"epochs": "10"}',
        b'{"epochs": true}',
        b'{"epoch": 1}',
        b"epochs=1",
    ],
)
async def test_wishes_that_cannot_be(service: Any, body: bytes) -> None:
    answer = await service.call("POST", "/train", body, authorization=TOKEN)
    assert answer.status == 422
    assert answer.json()["code"] == "invalid_request"


@pytest.mark.parametrize("name", ["20260101-000000-abcdef", "..", "../../etc", "", "a/b"])
async def test_no_such_training(service: Any, name: str) -> None:
    answer = await service.call("GET", f"/train/{name}", authorization=TOKEN)
    assert answer.status == 404
    assert answer.json()["code"] == "unknown_training"


def settings(**values: Any) -> Settings:
    return Settings(_cli_parse_args=False, **values)  # type: ignore[call-arg]


def test_the_token_may_lie_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n")
    made = settings(train_api=True, train_token_file=tmp_path / "token")
    assert made.train_token.get_secret_value() == "secret"
    assert "secret" not in repr(made)


@pytest.mark.parametrize("values", [{}, {"train_token_file": Path("/does/not/exist")}])
def test_without_a_token_it_does_not_start(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="token"):
        settings(train_api=True, **values)


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "PORT", "9000")
    monkeypatch.setitem(os.environ, "CNN_IMAGE_GRPC_PORT", "9001")
    monkeypatch.setitem(os.environ, "CNN_IMAGE_MAX_PIXELS", "1000")
    made = settings()
    assert (made.http_port, made.grpc_port, made.max_pixels) == (9000, 9001, 1000)
