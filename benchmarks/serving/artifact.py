"""The model everyone serves, made anew: `python -m benchmarks.serving.artifact FOLDER [NETWORK SIZE]`, in a
process of its own.

Its weights are untrained, or ImageNet's under a head that is: speed does not depend on them, and neither does
whether two servers agree. Folder gets `network.keras` (for the original service), `repository/`, a version as
the store would hold it, and `repository-int8/`, its int8 twin as `cnn-image quantize` makes it.
"""

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from export.artifact import assemble
from export.graph.export import Graphs, export_graphs
from export.graph.quantize import quantize_graphs
from export.store.lineage import DataLineage, Lineage, Parity
from jobs.pipeline.unlike import thresholds
from model.contract import DEFAULT_CONTRACT, MODEL_NAME, Contract
from model.data.images import Images
from model.data.sources import load_sample
from model.images.decode import DECODER_VERSION
from model.network import cnn, efficientnet_lite
from model.network.cnn import probabilities
from model.network.pretrained.source import find_weights
from model.network.pretrained.torch_file import read_torch_file
from model.network.pretrained.weights import load_weights
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
# Of the larger network's, whose activations would be gigabytes.
_LARGE_CALIBRATION_IMAGES: Final = 96


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
    contract = DEFAULT_CONTRACT
    if len(sys.argv) > 2:
        contract = Contract(network=sys.argv[2], size=int(sys.argv[3]), filters=())  # type: ignore[arg-type] # it checks
    network = _network(contract)
    probabilities(network, TEMPERATURE, contract).save(folder / "network.keras")
    sample = load_sample()
    learned = _CALIBRATION_IMAGES if contract.network == "cnn" else _LARGE_CALIBRATION_IMAGES
    images, usual = (
        _in_size(some, contract.size) for some in (sample.train.images[:learned], sample.validation.images)
    )
    score = fit_score(network, TEMPERATURE, contract, images, usual)
    graphs = export_graphs(network, TEMPERATURE, folder / "graphs", contract, score)
    quantized, _ = quantize_graphs(graphs, images, folder / "graphs-int8", contract)
    _lay_out(graphs, usual, repository(folder), contract)
    _lay_out(quantized, usual, repository(folder, "int8"), contract)


def _network(contract: Contract) -> "keras.Model":
    if contract.network == "cnn":
        network = cnn.build_network(SEED, contract)
        _move_off_zero(network)
        return network
    network = efficientnet_lite.build_network(SEED, contract)
    path, _ = find_weights(contract.network)
    load_weights(network, read_torch_file(path), path.name)
    return network


def _in_size(images: Images, size: int) -> NDArray[np.uint8]:
    """The same images, enlarged if need be."""
    if images.shape[1] == size:
        return np.asarray(images)
    return np.stack([np.asarray(Image.fromarray(one).resize((size, size))) for one in images])


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


def _lay_out(graphs: Graphs, usual: Images, folder: Path, contract: Contract) -> None:
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
        contract=contract,
    )
    assemble(graphs, lineage, VERSION, folder, thresholds(graphs, usual))


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main()
