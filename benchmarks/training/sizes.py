"""`python -m benchmarks.training.sizes`: what the network costs at each size, as a table of Markdown.

Parameters and multiply-adds are counted, those of the filters too. Serving is ONNX Runtime's on the exported
graph with one thread and batches of `BATCH`, training a step of the quick recipe with its own pictures'
augmentation on the CPU; processor time in place of the clock's, all threads together, the best of some calls.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
import onnxruntime

from export.graph.export import export_graphs
from model.contract import INPUT_NAME, SIZES, Contract
from model.data.dataset import Dataset, Split
from model.network.cnn import block_channels, build_network
from model.training.device import prepare_device
from model.training.fitting import fit_recipe
from model.training.train import QUICK
from model.training.trainer import Trainer

BATCH: Final = 8
TRAINING_BATCH: Final = 32
REPEATS: Final = 15
CLASSES: Final = tuple(f"class {number}" for number in range(10))
_HEAD: Final = (
    "| size | blocks | last side | parameters | million multiply-adds | CPU µs an image, float32 "
    "| CPU ms an image in training |\n|--:|--:|--:|--:|--:|--:|--:|"
)


def multiply_adds(network: "keras.Model") -> int:
    """Products of all convolutions and matrix multiplications for one image."""
    total = 0
    for layer in network.layers:
        if isinstance(layer, keras.layers.Dense):
            total += layer.kernel.shape[0] * layer.kernel.shape[1]
        elif hasattr(layer, "kernel"):  # a convolution: its kernel at each place of the output
            _, height, width, _ = layer.output.shape
            total += height * width * int(np.prod(layer.kernel.shape))
    return total


def serving(contract: Contract) -> Callable[[], object]:
    """A call of ONNX Runtime with one thread on `BATCH` images."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    with tempfile.TemporaryDirectory(prefix="cnn-image-") as folder:
        graphs = export_graphs(build_network(0, contract), 1.0, Path(folder), contract)
        session = onnxruntime.InferenceSession(graphs.classifier, options, ["CPUExecutionProvider"])
    images = np.random.default_rng(0).integers(0, 256, (BATCH, *contract.image_shape), np.uint8)
    return lambda: session.run(None, {INPUT_NAME: images})


def training(contract: Contract, policy: str) -> Callable[[], object]:
    """A training step of `TRAINING_BATCH` images."""
    images = np.random.default_rng(0).integers(0, 256, (128, *contract.image_shape), np.uint8)
    split = Split(images, np.arange(128) % len(CLASSES), CLASSES)
    dataset = Dataset(split, split, split, "random pixels", "images")
    recipe = replace(fit_recipe(QUICK, dataset), batch_size=TRAINING_BATCH)
    trainer = Trainer(dataset, recipe, 0, policy)
    drawn: Any = trainer.augmentation.draw(np.random.default_rng(0), TRAINING_BATCH)
    order = np.arange(TRAINING_BATCH, dtype=np.int32)

    def step() -> object:
        loss, _ = trainer.step(order, *drawn)
        return loss.numpy()

    return step


def best(calls: dict[int, Callable[[], object]], repeats: int) -> dict[int, float]:
    """Processor seconds of each call, the best of some in turn."""
    spent = {size: [_cpu_seconds(call) for _ in range(2)][1:] for size, call in calls.items()}
    for _ in range(repeats):
        for size, call in calls.items():
            spent[size].append(_cpu_seconds(call))
    return {size: min(seconds) for size, seconds in spent.items()}


def _cpu_seconds(call: Callable[[], object]) -> float:
    began = time.process_time()
    call()
    return time.process_time() - began


def main() -> None:
    """Count, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--repeats", type=int, default=REPEATS)
    arguments = parser.parse_args()
    device = prepare_device()
    contracts = {size: Contract(CLASSES, size) for size in arguments.sizes}
    served = best({size: serving(contract) for size, contract in contracts.items()}, arguments.repeats)
    print(_HEAD)
    for size, contract in contracts.items():
        network = build_network(0, contract)
        step = training(contract, device.policy)
        trained = best({size: step}, 4)[size] / TRAINING_BATCH
        blocks = len(block_channels(size))
        print(
            f"| {size} | {blocks} | {size >> blocks} | {network.count_params():,} "
            f"| {multiply_adds(network) / 1e6:.1f} | {served[size] / BATCH * 1e6:,.0f} "
            f"| {trained * 1e3:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
