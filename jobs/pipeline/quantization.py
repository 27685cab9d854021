"""A published version's int8 twin: a version of its own, which the gate judges like any other."""

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from export.artifact import assemble
from export.graph.export import Graphs
from export.graph.parity import onnx_outputs
from export.graph.quantize import quantize_graphs
from export.store.lineage import Lineage
from export.store.manifest import Manifest
from export.store.unlike import UNLIKE, Unlike
from export.store.versions import Store
from jobs.console import say
from jobs.errors import MistakeError
from jobs.gate import rules
from jobs.gate.answers import Answers
from jobs.pipeline.reporting import ATTACHED
from jobs.pipeline.unlike import thresholds, usual_pictures

if TYPE_CHECKING:
    from model.data.dataset import Dataset

CALIBRATION_IMAGES: Final = 512


def calibration_images(dataset: "Dataset", seed: int) -> NDArray[np.uint8]:
    """The training images that a twin is calibrated on, uint8 `[N, 32, 32, 3]`, by its training's seed."""
    chosen = np.random.default_rng(seed).permutation(len(dataset.train))[:CALIBRATION_IMAGES]
    return dataset.train.images[chosen]


def publish_quantized(store: Store, version: int, dataset: "Dataset", *, by: str) -> Manifest:
    """Quantize a version's classifier and publish the result; nobody is served by it yet.

    Args:
        store: Where the version is, and where its twin goes.
        version: A float32 version.
        dataset: What it was trained on; its training images calibrate the ranges of the activations.
        by: Who does it.

    Returns:
        The twin's manifest; `parity` says how far it is from the version.

    Raises:
        MistakeError: The version is int8 already, or was trained on other data.
        StoreError: Nothing was published.
    """
    with _quantized(store, version, dataset, by) as twin:
        return twin.publish(store)


def twin_or_itself(store: Store, version: int, dataset: "Dataset", *, by: str) -> Manifest:
    """Publish a version's int8 twin if the gate's rules find it no worse than the version.

    Done again, it publishes nothing new.

    Args:
        store: As for `publish_quantized`, as are the others.
        version: A float32 version.
        dataset: What it was trained on; its test images decide.
        by: Who does it.

    Returns:
        The twin's manifest, or the version's own.

    Raises:
        MistakeError: As above.
        StoreError: Nothing was published.
    """
    for manifest in reversed(store.versions()):
        if manifest.quantized_from == version:
            say(f"Version {version} has an int8 twin already, version {manifest.version}.")
            return manifest
    with _quantized(store, version, dataset, by) as twin:
        test = dataset.called(store.manifest(version).contract.classes).test
        original, quantized = (
            Answers(version, onnx_outputs(graphs.classifier, test.images))
            for graphs in (twin.original, twin.graphs)
        )
        checks = rules.twin_checks(quantized, original, test.labels, classes=test.classes, groups=test.groups)
        failed = [
            f"{check.name} {check.value:.4f}, limit {check.limit:g}" for check in checks if not check.passed
        ]
        if failed:
            say(f"Going on without an int8 twin, which would be worse ({'; '.join(failed)}).")
            return store.manifest(version)
        return twin.publish(store)


@dataclass(frozen=True)
class _Twin:
    """A twin that is not published yet.

    Attributes:
        version: The float32 version.
        original: Its graphs.
        graphs: The twin's own.
        lineage: What will be in its manifest.
        unlike: What its scores mean; None where the version has none.
    """

    version: int
    original: Graphs
    graphs: Graphs
    lineage: Lineage
    unlike: Unlike | None

    def publish(self, store: Store) -> Manifest:
        """Publish it, with the report of the training that both come from."""
        evidence = {
            name: store.evidence(self.version, name) for name in store.manifest(self.version).evidence
        }
        if self.unlike is not None:
            evidence[UNLIKE] = self.unlike.model_dump_json(indent=1).encode() + b"\n"
        manifest = store.publish(
            lambda number, folder: assemble(self.graphs, self.lineage, number, folder, self.unlike), evidence
        )
        for name in store.attachments(self.version):
            if name in ATTACHED:
                store.attach(manifest.version, name, store.attachment(self.version, name))
        parity = self.lineage.parity
        say(
            f"Published as version {manifest.version} in {store.url}: at most {parity.max_difference:.3f} "
            f"from version {self.version}, {parity.disagreements} of {parity.images} images of another class."
        )
        return manifest


@contextlib.contextmanager
def _quantized(store: Store, version: int, dataset: "Dataset", by: str) -> Iterator[_Twin]:
    """A version's twin, whose files are there as long as the context is open."""
    original = store.manifest(version)
    if original.precision == "int8":
        raise MistakeError(f"Version {version} is int8 already.")
    dataset = dataset.called(original.contract.classes)
    if original.data.digest != dataset.digest:
        raise MistakeError(
            f"Version {version} was trained on {original.data.source} (digest {original.data.digest[:12]}) "
            f"and {dataset.source} has digest {dataset.digest[:12]}: name the same data with --data."
        )
    images = calibration_images(dataset, original.seed)
    with tempfile.TemporaryDirectory(prefix="cnn-image-quantize-") as scratch:
        folder = store.fetch(version, Path(scratch))
        graphs = Graphs(folder / original.classifier_file, folder / original.filters_file)
        say(f"Quantizing version {version}, calibrated on {len(images)} training images …")
        quantized, parity = quantize_graphs(graphs, images, Path(scratch) / "int8", original.contract)
        kept = {name: getattr(original, name) for name in Lineage.model_fields}
        changes = {"created": datetime.now(UTC), "created_by": by, "parity": parity, "precision": "int8"}
        lineage = Lineage(**kept | changes | {"quantized_from": version})
        has_score = UNLIKE in original.evidence
        unlike = thresholds(quantized, usual_pictures(dataset)) if has_score else None
        yield _Twin(version, graphs, quantized, lineage, unlike)
