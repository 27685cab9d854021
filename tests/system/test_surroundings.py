"""The whole of `cnn-image run` in a folder with odd signs and modules named as ours, with a proxy around."""

import os
import subprocess
from typing import Any

import httpx
import pytest

from model.data.sources import example_images

pytestmark = pytest.mark.slow


def command(run: Any, *arguments: str) -> str:
    """What a command of `cnn-image` answers there; it works, and says nothing of an error."""
    done = subprocess.run(
        [run.command, *arguments],
        cwd=run.home,
        env=os.environ | run.variables,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_trains_serves_and_answers_and_none_of_it_matters(served: Any, surroundings: Any) -> None:
    image = str(example_images()["dog"])
    assert served.version in command(served, "predict", image).split()
    doctor = command(served, "doctor")
    assert "broken" not in doctor
    assert surroundings.proxy.asked == []
    assert not surroundings.executed.exists(), surroundings.executed.read_text()


def test_the_proxy_and_the_modules_would_have_been_seen(surroundings: Any) -> None:
    """What the test above relies on: an ordinary client asks this proxy, an ordinary Python imports these."""
    answer = httpx.get("http://127.0.0.1:9", trust_env=False, proxy=surroundings.proxy.http)
    assert answer.status_code == 502
    assert surroundings.proxy.asked.pop() == "GET http://127.0.0.1:9/"
    python = subprocess.run(
        ["python3", "-c", "import export"], cwd=surroundings.home, capture_output=True, check=False
    )
    assert python.returncode == 1
    assert surroundings.executed.read_text() == "export "
    surroundings.executed.unlink()
