"""Real models that must never be promoted: trained, exported, published, and refused by the gate."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from laptop import Laptop

from export.artifact import assemble
from export.errors import ParityError
from export.store.blobs import FolderBlobs
from export.store.lineage import DataLineage, Lineage, Parity
from export.store.versions import Store
from jobs.errors import RefusedError
from jobs.gate.attached import last_verdict
from jobs.gate.judge import fixed, judge
from jobs.gate.verdict import Verdict, require_passed
from jobs.settings import Settings, load_settings
from model.contract import CLASSES
from model.data.dataset import Dataset, Split
from model.data.sources import load_dataset
from model.report.evaluate import evaluate

pytestmark = pytest.mark.slow


def train(dataset: Dataset, epochs: int, folder: Path) -> Any:
    from model.training.train import QUICK, train

    return train(dataset, QUICK.override(epochs=epochs), run_dir=folder, seed=1)


def changed(network: Any, change: Callable[[list[Any]], None]) -> Any:
    """A copy of a network whose last layer's weights were changed."""
    import keras

    copy = keras.models.clone_model(network)
    copy.set_weights(network.get_weights())
    weights = copy.get_layer("logits").get_weights()
    change(weights)
    copy.get_layer("logits").set_weights(weights)
    return copy


@dataclass
class Bench:
    """A store with a trained champion, and what it takes to judge others against it."""

    dataset: Dataset
    champion: Any
    temperature: float
    store: Store
    settings: Settings
    folder: Path

    def publish(self, network: Any, temperature: float) -> int:
        from export.graph.export import export_graphs

        graphs = export_graphs(network, temperature, self.folder / f"export-{len(self.store.numbers())}")
        parity = Parity(images=1, max_difference=0.0, disagreements=0)
        lineage = Lineage(
            created=datetime.now(UTC),
            created_by="a test",
            metrics={"val_accuracy": 0.0},
            data=DataLineage(digest=self.dataset.digest, source="sample", kind="sample"),
            commit="unknown",
            mlflow_run=None,
            recipe={},
            seed=1,
            temperature=temperature,
            parity=parity,
            filters_parity=parity,
            decoder_version="1",
        )
        return self.store.publish(lambda n, folder: assemble(graphs, lineage, n, folder)).version

    def judge(self, network: Any, temperature: float) -> Verdict:
        return judge(self.store, self.publish(network, temperature), fixed(self.dataset.test), self.settings)


@pytest.fixture(scope="module")
def bench(laptop: Laptop, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    from model.training.runs import load_run

    folder = tmp_path_factory.mktemp("bench")
    dataset = load_dataset("sample", allow_sample=True)
    run = load_run(laptop.runs[0])
    store = Store(FolderBlobs(folder / "store"))
    bench = Bench(dataset, run.network(), run.temperature, store, load_settings(user="a test"), folder)
    bench.publish(bench.champion, bench.temperature)
    store.ledger.record("promote", 1, by="a test", reason="the first", after=0)
    return bench


def refusals(verdict: Verdict) -> set[str]:
    with pytest.raises(RefusedError, match=f"Version {verdict.version} is refused against version 1"):
        require_passed(verdict, weak_accepted=True)
    return {check.name for check in verdict.checks if not check.passed}


def test_the_champion_again_passes(bench: Bench) -> None:
    verdict = bench.judge(bench.champion, bench.temperature)
    assert verdict.word == "passed", verdict.sentence
    assert verdict.flips is not None
    assert (verdict.flips.mended, verdict.flips.broken) == (0, 0)
    assert last_verdict(bench.store, verdict.version) == verdict
    assert bench.store.attachment(verdict.version, "flips-001.png").startswith(b"\x89PNG")


def test_one_epoch_of_training(bench: Bench) -> None:
    trained = train(bench.dataset, 1, bench.folder / "one-epoch")
    assert "accuracy, lower bound" in refusals(bench.judge(trained.network, trained.temperature))


def test_shuffled_labels(bench: Bench) -> None:
    rng = np.random.default_rng(0)
    shuffled = replace(
        bench.dataset,
        train=Split(bench.dataset.train.images, rng.permutation(bench.dataset.train.labels)),
        validation=Split(bench.dataset.validation.images, rng.permutation(bench.dataset.validation.labels)),
    )
    trained = train(shuffled, 2, bench.folder / "shuffled")
    assert "accuracy, lower bound" in refusals(bench.judge(trained.network, trained.temperature))


def test_swapped_classes(bench: Bench) -> None:
    def swap(weights: list[Any]) -> None:
        order = [CLASSES.index(name) for name in ("automobile", "airplane", "bird", "cat", "dog")]
        weights[0], weights[1] = weights[0][:, order], weights[1][order]

    network = changed(bench.champion, swap)
    assert {"airplane", "automobile"} <= refusals(bench.judge(network, bench.temperature))


def test_one_class_unlearnt(bench: Bench) -> None:
    """A class that the champion knows; on the small sample it hardly learns some."""
    verdict = bench.judge(bench.champion, bench.temperature)
    known = max(CLASSES, key=lambda name: verdict.candidate.per_class[name])
    assert verdict.candidate.per_class[known] > 0.4

    def forget(weights: list[Any]) -> None:
        weights[1][CLASSES.index(known)] -= 100

    network = changed(bench.champion, forget)
    assert known in refusals(bench.judge(network, bench.temperature))


def test_an_export_with_another_scaling(bench: Bench) -> None:
    """Parity already refuses it; had it been published all the same, the gate would."""
    import keras

    from export.graph.export import export_graphs
    from export.graph.parity import prove

    image = keras.Input((32, 32, 3), dtype="uint8", name="image")
    darker = keras.ops.cast(keras.ops.floor_divide(keras.ops.cast(image, "int32"), 4), "uint8")
    wrong = keras.Model(image, bench.champion(darker))
    graphs = export_graphs(wrong, bench.temperature, bench.folder / "scaled")
    with pytest.raises(ParityError, match="differs from the trained model"):
        prove(bench.champion, bench.temperature, graphs, bench.dataset.test.images[:64])
    assert "accuracy, lower bound" in refusals(bench.judge(wrong, bench.temperature))


def test_a_slow_drift_down_over_five_promotions(bench: Bench, tmp_path: Path) -> None:
    """Each is so little worse than the one before that this comparison alone lets it pass."""
    import keras

    test = bench.dataset.test
    marks = test.images.astype(np.int32).sum(axis=(1, 2, 3)) % 10_007  # as good as chance
    logits = bench.champion.predict(test.images, verbose=0)
    known = np.sort(marks[logits.argmax(axis=1) == test.labels])

    def calibration_error(temperature: float) -> float:
        powers = np.exp(logits / temperature)
        return evaluate(powers / powers.sum(axis=1, keepdims=True), test.labels).ece

    # Calibrated so well that this check stays out of it.
    temperature = min(np.linspace(0.5, 2, 31) * bench.temperature, key=calibration_error)

    def worse(broken: int) -> Any:
        """The champion, but for some images that it knows: those it turns around, unsure of them."""
        image = keras.Input((32, 32, 3), dtype="uint8", name="image")
        mark = keras.ops.mod(keras.ops.sum(keras.ops.cast(image, "int32"), axis=(1, 2, 3)), 10_007)
        logits = bench.champion(image)
        chosen = keras.ops.expand_dims(mark < int(known[broken]), 1)
        return keras.Model(image, keras.ops.where(chosen, -logits / 100, logits))

    drifting = replace(bench, store=Store(FolderBlobs(tmp_path / "store")), folder=tmp_path)
    drifting.publish(bench.champion, float(temperature))
    drifting.store.ledger.record("promote", 1, by="a test", reason="the first", after=0)
    promoted = 1
    for step in range(1, 6):
        verdict = drifting.judge(worse(20 * step), float(temperature))
        if not verdict.passed:
            assert {check.name for check in verdict.checks if not check.passed} == {"accuracy, drift"}
            assert verdict.best == 1
            break
        drifting.store.ledger.record("promote", verdict.version, by="a test", reason="-", after=promoted)
        promoted += 1
    # Twenty of 2,500 are 0.8 points; two such steps are no proof of more than the margin of 1.9 points below
    # the best, the third is.
    assert promoted == 3
    assert verdict.judged_against == 3
