"""`python -m benchmarks.training.int8`: what the int8 twin costs in accuracy, for the best recipe's seeds.

It takes the runs that `python -m benchmarks.training.seeds` leaves in its state folder.
"""

import argparse
import os
import tempfile
from pathlib import Path
from typing import Final

from benchmarks.training.seeds import RESULTS, STATE
from export.graph.export import export_graphs
from export.graph.parity import onnx_outputs
from export.graph.quantize import quantize_graphs
from jobs.gate import rules
from jobs.gate.answers import Answers, figures
from jobs.pipeline.quantization import CALIBRATION_IMAGES, calibration_images
from model.data.dataset import Dataset
from model.data.sources import load_dataset
from model.training.runs import RUN_FILE, Run, load_run

_HEAD: Final = (
    "| run | float: accuracy, ECE | int8: accuracy, ECE | difference, 95 % sure no lower than "
    "| another class | the gate |\n|---|--:|--:|--:|--:|---|"
)


def main() -> None:
    """Quantize each run, let the gate's rules compare the two, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=os.environ.get("CIFAR10_DIR"), help="folder, archive or s3://")
    parser.add_argument("--state", type=Path, default=STATE, help="where the runs are kept")
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    dataset = load_dataset(arguments.data, allow_sample=False)
    rows = []
    for file in sorted(arguments.state.glob(f"*/{RUN_FILE}")):
        run = load_run(file.parent)
        if run.data["digest"] == dataset.digest:
            rows.append(_row(file.parent.name, run, dataset))
            print(rows[-1], flush=True)
    lines = [
        "# int8 twins",
        "",
        f"On {len(dataset.test):,} test images, calibrated on {CALIBRATION_IMAGES} training images each; by "
        "the gate's rules, with the float version for champion. "
        "Written by `python -m benchmarks.training.int8`.",
        "",
        _HEAD,
        *rows,
        "",
    ]
    (arguments.results / "int8.md").write_text("\n".join(lines))


def _row(name: str, run: Run, dataset: Dataset) -> str:
    test = dataset.test
    with tempfile.TemporaryDirectory(prefix="cnn-image-") as scratch:
        graphs = export_graphs(run.network(), run.temperature, Path(scratch) / "float")
        images = calibration_images(dataset, run.seed)
        quantized, _ = quantize_graphs(graphs, images, Path(scratch) / "int8")
        original, twin = (
            Answers(number, onnx_outputs(graph.classifier, test.images))
            for number, graph in enumerate((graphs, quantized))
        )
    before, after = (figures(one, test.labels) for one in (original, twin))
    passed = all(check.passed for check in rules.twin_checks(twin, original, test.labels))
    bound = rules.lower_bound(twin.right(test.labels), original.right(test.labels))
    moved = int((original.probs.argmax(axis=1) != twin.probs.argmax(axis=1)).sum())
    gate = "passed" if passed else "refused"
    return (
        f"| {name} | {before.accuracy:.4f}, {before.ece:.4f} | {after.accuracy:.4f}, {after.ece:.4f} "
        f"| {after.accuracy - before.accuracy:+.4f}, {bound:+.4f} | {moved} | {gate} |"
    )


if __name__ == "__main__":
    main()
