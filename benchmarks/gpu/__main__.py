"""`python -m benchmarks.gpu`: training and ONNX Runtime on CUDA, as far as this machine and environment go.

TensorFlow and ONNX Runtime need different CUDAs, hence different environments: run it in each. The first
leaves the graph for the second in `var/benchmarks/`.
"""

import argparse
import os
from pathlib import Path

from benchmarks.gpu import inference, training

FOLDER = Path("var/benchmarks")


def main() -> None:
    """Measure what can be measured, and say what cannot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", default=os.environ.get("CIFAR10_DIR"), help="folder, archive or s3:// address"
    )
    parser.add_argument(
        "--graph", type=Path, help="a version's model.onnx; else one is exported where TensorFlow is"
    )
    arguments = parser.parse_args()
    graph = arguments.graph or FOLDER / "cnn-image.onnx"
    for line in training.measure(arguments.data):
        print(line)
    if not graph.is_file():
        training.export(FOLDER)
    for line in inference.measure(graph):
        print(line)


if __name__ == "__main__":
    main()
