"""A published version's int8 twin: a version of its own, which the gate judges like any other."""

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from export.artifact import assemble
from export.graph import Graphs
from export.manifest import Lineage, Manifest
from export.quantize import quantize_graphs
from export.store import Store
from jobs.console import say
from jobs.errors import MistakeError
from model.contract import FILTERS_MODEL_NAME, MODEL_NAME

if TYPE_CHECKING:
    from model.data import Dataset

CALIBRATION_IMAGES: Final = 512


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
    original = store.manifest(version)
    if original.precision == "int8":
        raise MistakeError(f"Version {version} is int8 already.")
    if original.data.digest != dataset.digest:
        raise MistakeError(
            f"Version {version} was trained on {original.data.source} (digest {original.data.digest[:12]}) "
            f"and {dataset.source} has digest {dataset.digest[:12]}: name the same data with --data."
        )
    chosen = np.random.default_rng(original.seed).permutation(len(dataset.train))[:CALIBRATION_IMAGES]
    with tempfile.TemporaryDirectory(prefix="cnn-image-quantize-") as scratch:
        folder = store.fetch(version, Path(scratch))
        graphs = Graphs(
            *(folder / name / str(version) / "model.onnx" for name in (MODEL_NAME, FILTERS_MODEL_NAME))
        )
        say(f"Quantizing version {version}, calibrated on {len(chosen)} training images …")
        quantized, parity = quantize_graphs(graphs, dataset.train.images[chosen], Path(scratch) / "int8")
        kept = {name: getattr(original, name) for name in Lineage.model_fields}
        changes = {"created": datetime.now(UTC), "created_by": by, "parity": parity, "precision": "int8"}
        lineage = Lineage(**kept | changes | {"quantized_from": version})
        manifest = store.publish(lambda number, place: assemble(quantized, lineage, number, place))
    say(
        f"Published as version {manifest.version} in {store.url}: at most {parity.max_difference:.3f} from "
        f"version {version}, {parity.disagreements} of {parity.images} images of another class."
    )
    return manifest
