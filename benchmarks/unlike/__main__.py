"""`python -m benchmarks.unlike RUN…`: what the score tells apart.

RUN is the folder of a finished training of CIFAR-10, as `benchmarks.training.seeds` leaves them. Each is
exported with its score, and its int8 twin made. AUROC is between the test pictures of the served classes and
each set of `benchmarks.unlike.sets.reported`, none of which the score was chosen by. Beside it stands what
the highest probability alone would tell, and how many pictures are marked and refused.
"""

import argparse
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from benchmarks.unlike import sets
from export.graph.export import Graphs, export_graphs
from export.graph.parity import onnx_outputs
from export.graph.quantize import quantize_graphs
from export.store.unlike import Unlike
from jobs.pipeline.quantization import calibration_images
from jobs.pipeline.unlike import thresholds, usual_pictures
from model.contract import SCORE_NAME
from model.data.dataset import Dataset
from model.data.images import Images
from model.data.sources import load_dataset
from model.network.unlike import fit_score
from model.training.runs import Run, load_run

RESULTS: Final = Path(__file__).parents[1] / "results" / "unlike.md"
_HEAD: Final = (
    "| run | precision | set | pictures | AUROC | AUROC of the highest probability | marked | refused |\n"
    "|---|---|---|--:|--:|--:|--:|--:|"
)


@dataclass(frozen=True)
class Told:
    """What a graph says of some pictures.

    Attributes:
        scores: How unlike anything learned, `[N]`.
        unsure: Minus the highest probability, `[N]`.
    """

    scores: NDArray[np.float32]
    unsure: NDArray[np.float32]


def command(description: str, results: Path) -> argparse.ArgumentParser:
    """The arguments of who looks at trained networks and these sets."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("runs", type=Path, nargs="+", help="folders of finished runs of CIFAR-10")
    parser.add_argument("--data", type=Path, required=True, help="folder of CIFAR-10's official batches")
    parser.add_argument("--signs", type=Path, help="photographs of hands that show digits, by class")
    parser.add_argument("--textures", type=Path, help="folder of GIMP's patterns, of Debian's gimp-data")
    parser.add_argument("--results", type=Path, default=results)
    return parser


def main() -> None:
    """Print and write the table."""
    parser = command(__doc__ or "", RESULTS)
    parser.add_argument("--chosen-on", action="store_true", help="the sets that it was chosen on instead")
    arguments = parser.parse_args()
    dataset = load_dataset(str(arguments.data.parent), allow_sample=False)
    others = {"the five other classes": sets.cifar10(arguments.data, "test_batch", served=False)}
    others |= sets.chosen_on() if arguments.chosen_on else sets.reported(arguments.signs, arguments.textures)
    rows: list[str] = []
    for folder in arguments.runs:
        for row in _rows(load_run(folder), dataset, others):
            rows.append(f"| {folder.name} {row}")
            print(rows[-1], flush=True)
    arguments.results.write_text(
        "\n".join(["# Unlike anything learned", "", *_about(dataset), "", _HEAD, *rows, ""])
    )


def _about(dataset: Dataset) -> list[str]:
    return [
        f"Against {len(dataset.test):,} test pictures of the served classes; thresholds from "
        f"{len(dataset.validation):,} validation pictures. Written by `python -m benchmarks.unlike`.",
    ]


def _rows(run: Run, dataset: Dataset, others: Mapping[str, Images]) -> Iterator[str]:
    network, usual = run.network(), usual_pictures(dataset)
    score = fit_score(network, run.temperature, run.contract, dataset.train.images, usual, run.seed)
    with tempfile.TemporaryDirectory(prefix="cnn-image-") as scratch:
        graphs = export_graphs(network, run.temperature, Path(scratch) / "float", run.contract, score)
        twin, _ = quantize_graphs(graphs, calibration_images(dataset, run.seed), Path(scratch) / "int8")
        for precision, made in (("float32", graphs), ("int8", twin)):
            limits = thresholds(made, usual)
            known = _told(made, dataset.test.images)
            yield _line(precision, "served classes, test", known, known, limits)
            for name, pictures in others.items():
                yield _line(precision, name, _told(made, pictures), known, limits)


def _told(graphs: Graphs, pictures: Images) -> Told:
    probs = onnx_outputs(graphs.classifier, pictures)
    return Told(onnx_outputs(graphs.classifier, pictures, output=SCORE_NAME)[:, 0], -probs.max(axis=1))


def _line(precision: str, name: str, told: Told, known: Told, limits: Unlike) -> str:
    marked, refused = (float((told.scores > at).mean()) for at in (limits.mark_at, limits.refuse_at))
    apart = "" if told is known else f"{auroc(known.scores, told.scores):.3f}"
    unsure = "" if told is known else f"{auroc(known.unsure, told.unsure):.3f}"
    return (
        f"| {precision} | {name} | {len(told.scores):,} | {apart} | {unsure} | {marked:.3f} | {refused:.4f} |"
    )


def auroc(usual: NDArray[np.floating], unusual: NDArray[np.floating]) -> float:
    """How often an unusual picture scores above a usual one; ties count half."""
    ranks: Any = rankdata(np.concatenate([usual, unusual]))
    above = ranks[len(usual) :].sum() - len(unusual) * (len(unusual) + 1) / 2
    return float(above / (len(usual) * len(unusual)))


if __name__ == "__main__":
    main()
