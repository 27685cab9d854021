"""An int8 twin is published, judged against its float original, and served by the same rules."""

import json

import pytest
from laptop import Laptop

from jobs.gate.verdict import Verdict, last_verdict

pytestmark = pytest.mark.slow


def test_an_int8_twin_is_a_version_that_the_gate_judges(laptop: Laptop) -> None:
    twin = int(laptop.run("quantize", "1").splitlines()[-1])
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
    verdict = judged(laptop, twin)
    assert verdict.judged_against == laptop.store.ledger.served()
    assert verdict.champion is not None
    assert abs(verdict.candidate.accuracy - verdict.champion.accuracy) < 0.02
    assert f"Version {twin} is int8 already." in laptop.run("quantize", str(twin), code=2)


def judged(laptop: Laptop, version: int) -> Verdict:
    laptop.start("judge", str(version)).communicate(timeout=300)
    verdict = last_verdict(laptop.store, version)
    assert verdict is not None
    return verdict
