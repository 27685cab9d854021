"""The model everyone serves, made anew: `python -m benchmarks.serving.artifact FOLDER`, in a process of its
own.

Its weights are untrained: speed does not depend on them, and neither does whether two servers agree. Folder
gets `network.keras` (for the original service) and `repository/`, a version as the store would hold it.
"""

import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from export.artifact import assemble
from export.graph import export_graphs
from export.manifest import DataLineage, Lineage, Parity
from model.contract import MODEL_NAME
from model.decode import DECODER_VERSION
from model.network import build_network, probabilities

VERSION = 1
SEED = 7
# Keeps untrained probabilities apart, so that swapped answers would be noticed (photographs.answered checks
# it).
TEMPERATURE = 1.0


def graph_path(folder: Path) -> Path:
    """Where the classifier's ONNX file lies in the folder."""
    return folder / "repository" / MODEL_NAME / str(VERSION) / "model.onnx"


def main() -> None:
    """Builds, exports and lays out; what is there already stays."""
    folder = Path(sys.argv[1])
    if graph_path(folder).exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    network = build_network(SEED)
    probabilities(network, TEMPERATURE).save(folder / "network.keras")
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
    assemble(export_graphs(network, TEMPERATURE, folder / "graphs"), lineage, VERSION, folder / "repository")


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main()
