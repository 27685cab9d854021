"""`python -m benchmarks.efficientnet_lite`: what an image costs EfficientNet-Lite, in float and in int8.

With ImageNet's own classes, so that answers can be compared without a training. The pictures are the
sample's, of 32 pixels, enlarged: nothing like what the network knows, so that its answers change more easily
than on photographs.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Final

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from PIL import Image

from benchmarks.serving import machine
from export.graph.export import Graphs, export_graphs
from export.graph.parity import compare, keras_outputs, onnx_outputs
from export.graph.quantize import quantize_graphs
from model.contract import INPUT_NAME, Contract
from model.data.images import Images
from model.data.sources import load_sample
from model.network.cnn import probabilities
from model.network.efficientnet_lite import build_network
from model.network.pretrained.source import find_weights
from model.network.pretrained.torch_file import read_torch_file
from model.network.pretrained.weights import load_weights

RESULTS: Final = Path(__file__).parent / "results" / "efficientnet-lite.md"
CALIBRATION: Final = 96
COMPARED: Final = 200
_ROWS: Final = (
    "efficientnet-lite0:96",
    "efficientnet-lite0:128",
    "efficientnet-lite0:224",
    "efficientnet-lite1:128",
    "efficientnet-lite2:128",
)
_IMAGENET: Final = tuple(f"class {number}" for number in range(1000))
_HEAD: Final = (
    "| network | size | float, ms | int8, ms | float / int8 | float, MB | int8, MB | parity to Keras "
    "| same class in int8 |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|"
)


def enlarged(images: Images, count: int, size: int) -> NDArray[np.uint8]:
    """Some of the images, evenly spread, in another size."""
    chosen = images[:: len(images) // count][:count]
    side = (size, size)
    return np.stack(
        [np.asarray(Image.fromarray(one).resize(side, Image.Resampling.BICUBIC)) for one in chosen]
    )


def costs(graphs: list[Path], images: NDArray[np.uint8], rounds: int) -> list[float]:
    """The least CPU milliseconds an image of each graph, one at a time, in turns, by one thread."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    sessions = [ort.InferenceSession(path, options, providers=["CPUExecutionProvider"]) for path in graphs]
    found: list[list[float]] = [[] for _ in sessions]
    for turn in range(rounds):
        image = images[turn % len(images)][None]
        for session, times in zip(sessions, found, strict=True):
            began = time.process_time()
            session.run(None, {INPUT_NAME: image})
            times.append(1000 * (time.process_time() - began))
    # The machine may be busy: what is least was least disturbed.
    return [statistics.mean(sorted(times)[: max(1, rounds // 10)]) for times in found]


def measure(network: str, size: int, rounds: int) -> str:
    """A row of the table."""
    contract = Contract(_IMAGENET, size=size, network=network, filters=())  # type: ignore[arg-type] # named by the caller
    path, _ = find_weights(network)
    built = build_network(0, contract)
    load_weights(built, read_torch_file(path), path.name, with_classes=True)
    sample = load_sample()
    learned, held_out = (
        enlarged(sample.train.images, CALIBRATION, size),
        enlarged(sample.test.images, COMPARED, size),
    )
    with tempfile.TemporaryDirectory(prefix="cnn-image-") as scratch:
        graphs = export_graphs(built, 1.0, Path(scratch) / "float", contract)
        quantized, _ = quantize_graphs(graphs, learned, Path(scratch) / "int8", contract)
        due = onnx_outputs(graphs.classifier, held_out)
        reference = keras_outputs(probabilities(built, 1.0, contract), held_out[:16])
        parity = compare(reference, due[:16])
        same = (due.argmax(axis=1) == onnx_outputs(quantized.classifier, held_out).argmax(axis=1)).mean()
        both: tuple[Graphs, Graphs] = (graphs, quantized)
        files = [one.classifier for one in both]
        megabytes = [file.stat().st_size / 1e6 for file in files]
        slow, fast = costs(files, held_out, rounds)
    return (
        f"| {network} | {size} | {slow:.2f} | {fast:.2f} | {slow / fast:.2f} "
        f"| {megabytes[0]:.1f} | {megabytes[1]:.1f} | {parity.max_difference:.1e} | {same:.3f} |"
    )


def main() -> None:
    """Measure what is asked for and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", default=_ROWS, metavar="NETWORK:SIZE")
    parser.add_argument("--rounds", type=int, default=200)
    arguments = parser.parse_args()
    rows = []
    for row in arguments.rows:
        network, size = row.split(":")
        rows.append(measure(network, int(size), arguments.rounds))
        print(rows[-1], flush=True)
    about = (
        f"CPU milliseconds an image, one at a time, one thread of ONNX Runtime {ort.__version__}, the mean "
        f"of the least tenth of {arguments.rounds} runs in turns. The class that int8 gives is compared on "
        f"{COMPARED} pictures of 32 pixels, enlarged. {machine.describe()['processor']}."
    )
    text = "\n".join(["# EfficientNet-Lite", "", about, "", _HEAD, *rows, ""])
    RESULTS.write_text(text)


if __name__ == "__main__":
    main()
