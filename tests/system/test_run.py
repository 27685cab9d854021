"""`make run`'s own command: the first time, again, interrupted, and with what it cannot use."""

import json
import re
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from model.contract import CLASSES
from model.data.sources import example_images

pytestmark = pytest.mark.slow

COMMAND = Path(sys.executable).with_name("cnn-image")


def predict(url: str, image: Path) -> tuple[dict[str, Any], str]:
    """The answer to a picture, and the version that gave it."""
    request = urllib.request.Request(f"{url}/predict", image.read_bytes(), {"Content-Type": "image/jpeg"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer), answer.headers["X-Model-Version"]


def versions(home: Path) -> list[str]:
    return sorted(path.parent.name for path in home.glob("var/store/versions/*/manifest.json"))


def test_trains_publishes_and_serves(served: Any) -> None:
    """What it prints is what the service answers."""
    assert versions(served.home) in (["000001"], ["000001", "000002"])
    assert int(versions(served.home)[-1]) == int(served.version)
    printed = served.output
    assert "curl" in printed
    assert str(served.port) in printed
    shown = json.loads(re.search(r"^\{.*?^\}|^\{.*\}$", printed, re.MULTILINE | re.DOTALL)[0])  # type: ignore[index]
    assert sorted(shown) == sorted(
        ["class_id", "class_name", "confidence", "probabilities", "filters_applied"]
    )
    answers = [predict(served.url, image) for image in example_images().values()]
    assert shown in [body for body, _ in answers]
    assert {version for _, version in answers} == {served.version}
    for body, _ in answers:
        assert body["class_name"] == CLASSES[body["class_id"]]
        assert body["confidence"] == max(body["probabilities"])


def said_of(home: Path, command: str) -> Any:
    """What `cnn-image COMMAND --json` answers about a run's store."""
    answered = subprocess.run(
        [COMMAND, command, "--json", "--store", home / "var" / "store"], capture_output=True, check=True
    )
    return json.loads(answered.stdout)


def test_a_first_version_is_judged_and_served_though_it_is_refused(served: Any) -> None:
    """Two epochs on the sample are too few for the gate; there is nothing else to serve."""
    judged = next(each for each in said_of(served.home, "versions") if each["version"] == int(served.version))
    assert judged["verdict"] == "refused"
    assert f"Version {served.version} is refused as the first version (accuracy 0." in served.output
    assert f"Version {served.version} was refused, and is served all the same" in served.output
    (entry,) = said_of(served.home, "history")
    assert entry["reason"] == "against the gate: the first version on this machine, which was refused"


def test_what_was_published_and_never_served_is_judged_first(
    served: Any, start_run: Callable[..., Any]
) -> None:
    floors = {"CNN_IMAGE_GATE_FLOOR": "0.1", "CNN_IMAGE_GATE_CLASS_FLOOR": "0"}
    run = start_run(copy_of=served, unserved=True, **floors)
    run.wait_serving()
    assert run.version == served.version
    assert not (run.home / "var" / "runs").exists()
    (entry,) = said_of(run.home, "history")
    passes = f"the first version on this machine: Version {run.version} passes as the first version (accuracy"
    assert entry["reason"].startswith(passes)


def test_a_second_run_serves_without_training(served: Any, start_run: Callable[..., Any]) -> None:
    image = example_images()["cat"]
    run = start_run(copy_of=served)
    run.wait_serving()
    assert predict(run.url, image) == predict(served.url, image)
    assert not (run.home / "var" / "runs").exists()
    assert versions(run.home) == versions(served.home)

    assert run.interrupt() in (0, 130)
    assert run.members() == []
    assert "Traceback" not in run.output


def test_ctrl_c_at_every_stage_then_again(start_run: Callable[..., Any]) -> None:
    """One folder, interrupted while it trains, exports, tries the version: each start goes on from there."""
    run = start_run()
    told = ""
    stages = (("epoch 1", None), ("Exporting", None), ("Quantizing", "000001"), ("Pre-flight", "000001"))
    for stage, published in stages:
        run.wait_for(stage)
        assert run.interrupt() == 130, run.output
        assert run.members() == []
        assert "Traceback" not in run.output
        assert next(iter(versions(run.home)), None) == published
        told += run.output
        run.start()
    run.wait_serving()
    assert len(versions(run.home)) == 2 or "without an int8 twin, which would be worse" in told + run.output
    assert versions(run.home) in (["000001"], ["000001", "000002"])
    assert predict(run.url, example_images()["dog"])[1] == run.version == str(len(versions(run.home)))
    assert len(list(run.home.glob("var/runs/*/run.json"))) == 1


def one_sentence(output: str) -> str:
    """The last line, which must be all there is of the error."""
    assert "Traceback" not in output
    return output.strip().splitlines()[-1]


def test_a_port_in_use_is_one_sentence(served: Any, start_run: Callable[..., Any]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        run = start_run(copy_of=served, port=port)
        assert run.process.wait(120) == 2
    said = one_sentence(run.output)
    assert str(port) in said
    assert "PORT" in said
    assert versions(run.home) == versions(served.home)


def test_a_broken_data_folder_is_one_sentence(start_run: Callable[..., Any], tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    (folder / "data_batch_1").write_bytes(b"not a batch")
    run = start_run(CIFAR10_DIR=str(folder))
    assert run.process.wait(120) == 2
    assert str(folder) in one_sentence(run.output)
    assert versions(run.home) == []
