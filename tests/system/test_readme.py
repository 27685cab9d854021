"""Every shell command of the README runs, and answers what the README says."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from shapes import shape

from model.contract import CLASSES, MODEL_NAME

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)

# What other tests are: `make run` is what the fixture starts, and test_own_images.py with other data, and
# `make test` runs this file.
MAIN = ["make run\n", "make run DATA=~/photos\n", "make test\n"]


OUTPUT = re.search(r"^```\n(Data: .*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)


def test_what_make_run_is_said_to_print_is_what_it_prints(served: Any) -> None:
    assert OUTPUT is not None
    # What a check says of a model that was trained for two epochs follows after a semicolon.
    printed = {shape(part) for line in served.output.splitlines() for part in (line, line.partition(";")[0])}
    said, _, answer = OUTPUT[1].partition("$ curl")
    # The sentence of the verdict: with two epochs it is another one.
    lines = [line for line in said.splitlines() if line not in {"…", ""} and " passes as the " not in line]
    assert len(lines) > 15
    assert [line for line in lines if shape(line) not in printed] == []
    assert re.search(
        r"^Version \d (passes|is refused) as the first version \(accuracy", served.output, re.MULTILINE
    )
    assert shape("$ curl" + answer.splitlines()[0]) in printed


def run(block: str, served: Any) -> str:
    """What a block prints, asked of the service that the tests started."""
    command = block.replace("localhost:8002", f"localhost:{served.port}").replace("curl ", "curl -sS --fail ")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=ROOT,
        env=os.environ | {"PORT": str(served.port), "CNN_IMAGE_STATE": str(served.home / "var")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_commands_are_targets_of_the_makefile() -> None:
    assert [block for block in BLOCKS if block in MAIN] == MAIN
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for command in MAIN:
        assert f"  {' '.join(command.split()[:2])} " in listed


@pytest.mark.parametrize("block", [block for block in BLOCKS if block not in MAIN])
def test_block(block: str, served: Any) -> None:
    printed = run(block, served)
    if "/predict" in block:
        body = json.loads(printed)
        assert body["class_name"] == CLASSES[body["class_id"]]
    elif "/infer" in block:
        answer = json.loads(printed)
        assert (answer["model_name"], answer["model_version"]) == (MODEL_NAME, served.version)
        assert sum(answer["outputs"][0]["data"]) == pytest.approx(1, abs=1e-5)
    elif ":predict" in block:
        ((*probabilities,),) = json.loads(printed)["predictions"]
        assert sum(probabilities) == pytest.approx(1, abs=1e-5)
    elif "/info" in block:
        assert json.loads(printed)["classes"] == list(CLASSES)
    elif "/metrics" in block:
        assert "# TYPE" in printed
    elif "cnn-image predict" in block:
        assert len(re.findall(r"\.jpg", printed)) == len(CLASSES)
    elif "cnn-image versions" in block:
        assert re.search(rf"^{served.version} +champion,", printed, re.MULTILINE)
        assert "served" in printed
    elif "cnn-image models" in block:
        row = rf"^{MODEL_NAME} .* {re.escape(served.url)} \(version {served.version}, process \d+\)"
        assert re.search(row, printed, re.MULTILINE)
    elif "cnn-image history" in block:
        assert "promote" in printed
    elif "/health" in block:
        assert json.loads(printed)["status"] == "healthy"
    elif block.strip().endswith("/v2/models/cnn-image"):
        assert json.loads(printed)["name"] == MODEL_NAME
    else:
        pytest.fail(f"the README has a command that this test does not know:\n{block}")
