"""An int8 twin is published, judged against its float original, and served by the same rules."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from laptop import Laptop
from onnx import numpy_helper

from export.artifact import assemble
from export.graph.export import Graphs
from export.graph.parity import onnx_outputs
from export.store.lineage import Lineage
from export.store.unlike import UNLIKE, Unlike
from export.store.versions import Store
from jobs.gate.attached import last_verdict
from jobs.gate.verdict import Verdict
from jobs.pipeline.mlflow.registry import registered
from jobs.pipeline.quantization import twin_or_itself
from model.contract import FILTERS_MODEL_NAME, MODEL_NAME
from model.data.sources import load_sample
from model.training.tracking.server import connect

pytestmark = pytest.mark.slow


def test_an_int8_twin_is_a_version_that_the_gate_judges(
    laptop: Laptop, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered, said = laptop.start("quantize", "1").communicate(timeout=300)
    assert "mlflow" not in said.lower()  # it has nothing to say where all is well
    twin = int(answered)
    manifest, original = laptop.store.manifest(twin), laptop.store.manifest(1)
    assert (manifest.precision, manifest.quantized_from) == ("int8", 1)
    assert (manifest.data, manifest.recipe, manifest.mlflow_run) == (
        original.data,
        original.recipe,
        original.mlflow_run,
    )
    name = "cnn-image/{}/model.onnx"
    assert manifest.files[name.format(twin)].size < 0.4 * original.files[name.format(1)].size
    assert json.loads(laptop.run("info", str(twin), "--json"))["quantized_from"] == 1
    monkeypatch.chdir(laptop.home)
    mlflow = connect("sqlite:///var/mlflow.db")
    assert registered(mlflow, MODEL_NAME, laptop.store, twin).run_id == manifest.mlflow_run
    verdict = judged(laptop, twin)
    assert verdict.judged_against == laptop.store.ledger.served()
    assert verdict.champion is not None
    assert abs(verdict.candidate.accuracy - verdict.champion.accuracy) < 0.02
    assert f"Version {twin} is int8 already." in laptop.run("quantize", str(twin), code=2)


def test_a_retrain_goes_on_with_the_twin(laptop: Laptop) -> None:
    laptop.begin_again("with-a-twin")
    before = laptop.store.ledger.served()
    twin = int(laptop.run("retrain", CNN_IMAGE_INT8=""))  # as it is by default
    manifest = laptop.store.manifest(twin)
    assert (manifest.precision, manifest.quantized_from) == ("int8", twin - 1)
    assert laptop.store.ledger.served() == twin
    verdict = last_verdict(laptop.store, twin)
    assert verdict is not None
    assert verdict.judged_against == before
    assert "report.html" in laptop.store.attachments(twin)
    laptop.run("rollback")
    assert laptop.store.ledger.served() == before


def test_publishing_again_finds_the_twin(laptop: Laptop) -> None:
    """And a command's flag wins over the environment."""
    laptop.begin_again("published-twice")
    laptop.run("export", "--run", "published-twice")
    arguments = ("publish", "--run", "published-twice")
    twin = int(laptop.run(*arguments, "--int8"))
    assert laptop.store.manifest(twin).precision == "int8"
    limits, original = (
        Unlike.model_validate_json(laptop.store.evidence(version, UNLIKE)) for version in (twin, twin - 1)
    )
    assert limits.mark_at != original.mark_at
    assert abs(limits.mark_at - original.mark_at) < 0.5
    assert limits.images == len(load_sample().validation)
    assert limits.mark_fitted
    assert limits.mark_at < limits.refuse_at
    assert int(laptop.run(*arguments, CNN_IMAGE_INT8="true")) == twin
    assert int(laptop.run(*arguments, "--float", CNN_IMAGE_INT8="true")) == twin - 1
    assert laptop.store.numbers()[-1] == twin


def test_a_twin_that_is_worse_is_not_published(
    laptop: Laptop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One channel a thousand times as large as the others: the same in float, and in 8 bits they are lost."""
    store, dataset = laptop.store, load_sample()
    version = publish_lopsided(store, tmp_path)
    numbers = store.numbers()
    assert twin_or_itself(store, version, dataset, by="me").version == version
    assert store.numbers() == numbers
    assert "Going on without an int8 twin, which would be worse (accuracy, lower" in capsys.readouterr().err


def publish_lopsided(store: Store, scratch: Path) -> int:
    """Publishes version 1 with one channel scaled between the first and the second convolution."""
    folder = store.fetch(1, scratch)
    path, filters = (folder / name / "1" / "model.onnx" for name in (MODEL_NAME, FILTERS_MODEL_NAME))
    model = onnx.load(path)
    images = load_sample().test.images[:64]
    before = onnx_outputs(path, images)
    first, second = [node for node in model.graph.node if node.op_type == "Conv" and not grouped(node)][:2]
    factor = np.float32(1000)
    for name in first.input[1:]:
        scale(model, name, lambda values: values[:1], factor)
    scale(model, second.input[1], lambda values: values[:, :1], 1 / factor)
    lopsided = scratch / "lopsided.onnx"
    onnx.save_model(model, lopsided)
    assert np.abs(onnx_outputs(lopsided, images) - before).max() < 1e-3
    original = store.manifest(1)
    lineage = Lineage(**{name: getattr(original, name) for name in Lineage.model_fields})
    graphs = Graphs(lopsided, filters)
    return store.publish(lambda number, place: assemble(graphs, lineage, number, place)).version


def grouped(node: onnx.NodeProto) -> bool:
    return any(one.name == "group" and one.i > 1 for one in node.attribute)


def scale(model: onnx.ModelProto, name: str, part: Callable[[Any], Any], factor: np.float32) -> None:
    tensor = next(one for one in model.graph.initializer if one.name == name)
    values = numpy_helper.to_array(tensor).copy()
    part(values)[...] *= factor
    tensor.CopyFrom(numpy_helper.from_array(values, name))


def judged(laptop: Laptop, version: int) -> Verdict:
    laptop.start("judge", str(version)).communicate(timeout=300)
    verdict = last_verdict(laptop.store, version)
    assert verdict is not None
    return verdict
