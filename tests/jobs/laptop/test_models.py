"""Three models side by side on one machine: two are served at once, one is broken and touches neither."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from machine import free_port, wait_until
from serving import SmallModel, write_filters

from export.artifact import assemble
from export.graph.export import Graphs
from export.store.versions import open_store
from model.contract import DEFAULT_CONTRACT, MODEL_NAME
from model.data.sources import example_images
from model.images.decode import decode_image

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
DOG = example_images()["dog"]
PORT = free_port(2)


@dataclass
class Models:
    """A folder with a small model for each name, version 1 of it promoted."""

    home: Path
    small: dict[str, SmallModel] = field(default_factory=dict)
    processes: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    def store(self, name: str) -> Path:
        return self.home / "var" / ("" if name == MODEL_NAME else f"models/{name}") / "store"

    def make(self, name: str, seed: int, classes: tuple[str, ...], lineage: Callable[..., Any]) -> None:
        contract = replace(DEFAULT_CONTRACT, model=name, classes=classes)
        self.small[name] = SmallModel(seed, contract)
        made = self.home / "made" / name
        self.small[name].write(made)
        graphs = Graphs(made / name / str(seed) / "model.onnx", self.home / "filters.onnx")
        store = open_store(str(self.store(name)))
        store.publish(lambda n, folder: assemble(graphs, lineage(contract=contract), n, folder))
        store.ledger.record("promote", 1, by="a test", reason="first", after=0)

    def command(self, name: str, *arguments: str, **variables: str) -> dict[str, Any]:
        """What `Popen` takes for a command about a model."""
        model = [] if name == MODEL_NAME else ["--model", name]
        kept = {key: value for key, value in os.environ.items() if not key.startswith("CNN_IMAGE_")}
        paths = {
            "CNN_IMAGE_TRITON_VENV": str(ROOT / ".venv-triton"),
            "PYTHONPATH": f"{ROOT}:{ROOT / 'kserve'}",
        }
        return {
            "args": [sys.executable, "-m", "jobs.cli", *model, *arguments],
            "cwd": self.home,
            "env": kept | paths | variables,
        }

    def serve(self, name: str, **variables: str) -> "subprocess.Popen[bytes]":
        with (self.home / f"{name}.txt").open("wb") as output:
            process = subprocess.Popen(
                **self.command(name, "serve", **variables), stdout=output, stderr=output
            )
        self.processes.append(process)
        return process

    def served(self, name: str) -> Callable[[], bool]:
        return lambda: "is served on" in (self.home / f"{name}.txt").read_text()

    def run(self, name: str, *arguments: str, code: int = 0) -> Any:
        """What a command answers in JSON; what it says, where another code than 0 is due."""
        done = subprocess.run(
            **self.command(name, *arguments), capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout) if code == 0 else done.stderr

    def rows(self) -> dict[str, dict[str, Any]]:
        return {row["model"]: row for row in self.run(MODEL_NAME, "models", "--json")}

    def answers(self, name: str) -> bool:
        """Whether `predict` finds the model by itself, and the answer is the model's."""
        (found,) = self.run(name, "predict", str(DOG), "--json")
        (due,) = self.small[name].probs(decode_image(DOG.read_bytes())[None])
        classes = self.small[name].contract.classes
        return bool(
            np.allclose(found["probabilities"], due, atol=1e-5)
            and found["class_name"] == classes[int(due.argmax())]
        )


@pytest.fixture
def models(tmp_path: Path, lineage: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[Models]:
    made = Models(tmp_path)
    write_filters(tmp_path / "filters.onnx")
    made.make(MODEL_NAME, 1, DEFAULT_CONTRACT.classes, lineage)
    made.make("photos", 1, ("cat", "dog", "7"), lineage)
    made.make("birds", 1, ("crow", "jay"), lineage)
    monkeypatch.delenv("PORT", raising=False)
    yield made
    for process in made.processes:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(60)


def test_two_are_served_at_once_and_a_third_that_is_broken_touches_neither(models: Models) -> None:
    default = models.serve(MODEL_NAME, PORT=str(PORT))
    photos = models.serve("photos")  # which is given no port
    next(models.store("birds").rglob("1/model.onnx")).write_bytes(b"damaged")
    birds = models.serve("birds")
    assert birds.wait(120) == 2
    said = (models.home / "birds.txt").read_text()
    assert "model.onnx is not what was published (digest)" in said
    assert "Traceback" not in said
    for name in (MODEL_NAME, "photos"):
        wait_until(models.served(name), f"serving {name}")
        assert models.answers(name)

    rows = models.rows()
    assert rows[MODEL_NAME]["url"] == f"http://127.0.0.1:{PORT}"
    assert rows["photos"]["url"] not in {rows[MODEL_NAME]["url"], "http://127.0.0.1:8002"}
    assert rows["photos"]["url"] in (models.home / "photos.txt").read_text()
    assert [rows[name]["pid"] for name in (MODEL_NAME, "photos")] == [default.pid, photos.pid]
    assert [row["problem"] is None for row in rows.values()] == [True, False, True]
    assert (rows["birds"]["url"], rows["photos"]["classes"]) == (None, 3)

    taken = models.serve("birds", PORT=str(PORT))
    assert taken.wait(120) == 2
    assert (
        f"is taken by the service of the model {MODEL_NAME} (process {default.pid}"
        in (models.home / "birds.txt").read_text()
    )

    (models.store("photos") / "versions/000001/manifest.json").write_text("{}")
    assert models.answers("photos")  # what is served stays served
    photos.kill()
    photos.wait()
    assert models.answers(MODEL_NAME)
    rows = models.rows()
    assert (rows["photos"]["url"], rows[MODEL_NAME]["served"]) == (None, 1)
    assert "is not a manifest" in rows["photos"]["problem"]
