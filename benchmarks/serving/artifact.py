"""The model everyone serves, made anew: `python -m benchmarks.serving.artifact FOLDER`, in a process of its
own.

Its weights are untrained: speed does not depend on them, and neither does whether two servers agree. Folder
gets `network.keras` (for the original service), `repository/`, a version as the store would hold it, and
`repository-int8/`, its int8 twin as `cnn-image quantize` makes it.
"""

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from export.artifact import assemble
from export.graph.export import Graphs, export_graphs
from export.graph.quantize import quantize_graphs
from export.store.lineage import DataLineage, Lineage, Parity
from jobs.pipeline.unlike import thresholds
from model.contract import DEFAULT_CONTRACT, MODEL_NAME
from model.data.images import Images
from model.data.sources import load_sample
from model.images.decode import DECODER_VERSION
from model.network.cnn import build_network, probabilities
from model.network.unlike import fit_score

if TYPE_CHECKING:
    import keras

Precision = Literal["float", "int8"]

VERSION = 1
SEED = 7
# Keeps untrained probabilities apart, so that swapped answers would be noticed (photographs.answered checks
# it).
TEMPERATURE = 0.8
_CALIBRATION_IMAGES: Final = 512


def repository(folder: Path, precision: Precision = "float") -> Path:
    """Where the Triton repository lies in the folder."""
    return folder / ("repository" if precision == "float" else f"repository-{precision}")


def graph_path(folder: Path, precision: Precision = "float") -> Path:
    """Where the classifier's ONNX file lies in the folder."""
    return repository(folder, precision) / MODEL_NAME / str(VERSION) / "model.onnx"


def main() -> None:
    """Builds, exports, quantizes and lays out; what is there already stays."""
    folder = Path(sys.argv[1])
    if graph_path(folder, "int8").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    network = build_network(SEED)
    _move_off_zero(network)
    probabilities(network, TEMPERATURE).save(folder / "network.keras")
    sample = load_sample()
    images, usual = sample.train.images[:_CALIBRATION_IMAGES], sample.validation.images
    score = fit_score(network, TEMPERATURE, DEFAULT_CONTRACT, images, usual)
    graphs = export_graphs(network, TEMPERATURE, folder / "graphs", score=score)
    quantized, _ = quantize_graphs(graphs, images, folder / "graphs-int8")
    _lay_out(graphs, usual, repository(folder))
    _lay_out(quantized, usual, repository(folder, "int8"))


def _move_off_zero(network: "keras.Model") -> None:
    """Gives biases and batch statistics values as training does: of zeros an exporter leaves nodes out."""
    generator = np.random.default_rng(SEED)
    network.set_weights(
        [
            weight
            if weight.ndim > 1
            else weight + generator.normal(0, 0.1, weight.shape).astype(weight.dtype)
            for weight in network.get_weights()
        ]
    )


def _lay_out(graphs: Graphs, usual: Images, folder: Path) -> None:
    unproven = Parity(images=0, max_difference=0, disagreements=0)
    lineage = Lineage(
        created=datetime.now(UTC),
        created_by="benchmarks",
        metrics={},
        data=DataLineage(digest="", source="untrained, for the benchmark", kind="sample"),
        commit="",
        mlflow_run=None,
        recipe={},
        seed=SEED,
        temperature=TEMPERATURE,
        parity=unproven,
        filters_parity=unproven,
        decoder_version=DECODER_VERSION,
    )
    assemble(graphs, lineage, VERSION, folder, thresholds(graphs, usual))


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main()
