"""A run's evaluation report: one HTML page that needs nothing beside it, and its pictures as files."""

import html
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.contract import CLASSES
from model.data.dataset import Dataset, Split
from model.network.cnn import classifier
from model.report import pictures
from model.report.evaluate import Evaluation, calibration_bins, evaluate, wilson_interval
from model.report.html import document, inline, table
from model.report.robustness import Robustness, robustness
from model.training.runs import Run

if TYPE_CHECKING:
    import keras

REPORT_FILE: Final = "report.html"
PICTURES_FOLDER: Final = "pictures"
_MISTAKES: Final = 30


@dataclass(frozen=True)
class Report:
    """What was written, and what it says about the test split."""

    page: Path
    pictures: Path
    evaluation: Evaluation


def write_report(run: Run, dataset: Dataset, network: "keras.Model | None" = None) -> Report:
    """Judge a finished run on the test split; write `report.html` and `pictures/*.png` into its folder.

    Args:
        run: The finished run.
        dataset: The data it was trained on.
        network: Its network, if it is loaded already.
    """
    test = dataset.test
    classify = classifier(network or run.network(), run.temperature)
    probs = classify(test.images)
    evaluation = evaluate(probs, test.labels)
    bins = calibration_bins(probs, test.labels)
    degraded = robustness(test, classify)
    figures = {
        "curves": pictures.curves(run.history),
        "confusion": pictures.confusion_matrix(evaluation),
        "reliability": pictures.reliability(bins, evaluation.ece),
        "robustness": pictures.robustness(degraded),
        "filters": pictures.filters_seen(test),
    }
    drawn = {name: pictures.png(figure) for name, figure in figures.items()}
    folder = run.folder / PICTURES_FOLDER
    folder.mkdir(exist_ok=True)
    for name, png in drawn.items():
        (folder / f"{name}.png").write_bytes(png)
    page = run.folder / REPORT_FILE
    page.write_text(_page(run, dataset, probs, evaluation, degraded, drawn), encoding="utf-8")
    return Report(page, folder, evaluation)


def _page(
    run: Run,
    dataset: Dataset,
    probs: NDArray[np.float32],
    evaluation: Evaluation,
    degraded: Robustness,
    drawn: dict[str, bytes],
) -> str:
    test = dataset.test
    low, high = evaluation.interval
    warning = (
        "<p><b>Trained on the small sample in the repository: for trying things out, not for use.</b></p>"
        if dataset.kind == "sample"
        else ""
    )
    teacher = run.recipe.get("teacher")
    facts = {
        "recipe": _settings(run.recipe),
        "teacher": _settings(teacher) if teacher else "none",
        "seed": run.seed,
        "data": f"{dataset.source}, sha256 {run.data['digest']}",
        "images": ", ".join(f"{name} {count:,}" for name, count in run.data["images"].items()),
        "code": run.commit or "unknown commit",
        "MLflow run": run.mlflow_run or "none",
        "trained": f"{run.created}, {run.metrics['seconds']:.0f} s, "
        f"{run.metrics['images_per_second']:,.0f} images/s in the last epoch",
        "temperature": f"{run.temperature:.3f}, fitted on the validation split",
    }
    sections = [
        f"<h1>{html.escape(run.folder.name)}</h1>{warning}",
        f"<p><span class='big'>{evaluation.accuracy:.1%}</span> of {evaluation.images:,} test images, which "
        f"no choice was made on (95 % interval {low:.1%} to {high:.1%}); negative log-likelihood "
        f"{evaluation.nll:.3f}, expected calibration error {evaluation.ece:.3f}.</p>",
        "<h2>Per class</h2>" + table(_by_class(evaluation), ("", "recall", "95 % interval", "precision")),
        "<div class='side'>"
        f"<div><h2>Confusion</h2>{_picture(drawn['confusion'], 'Right class against answer')}</div>"
        f"<div><h2>Calibration</h2>{_picture(drawn['reliability'], 'Accuracy by confidence')}</div></div>",
        f"<h2>Robustness</h2>{_picture(drawn['robustness'], 'Accuracy by degradation and strength')}"
        f'<p class="note">On {degraded.images:,} test images, {degraded.plain:.1%} right as they are.</p>'
        + table(
            (name, ", ".join(f"{strength:g}: {share:.1%}" for strength, share in by_strength.items()))
            for name, by_strength in degraded.degraded.items()
        ),
        "<h2>Worst mistakes</h2>" + _mistakes(test, probs),
        "<h2>What the filters see</h2>"
        + _picture(drawn["filters"], "An image of each class through each filter")
        + '<p class="note">Edges and sharpness reach below black and beyond white; shown cut off there.</p>',
        "<h2>Training</h2>"
        + _picture(drawn["curves"], "Loss and accuracy by epoch")
        + table((k, str(v)) for k, v in facts.items()),
    ]
    return document(f"{run.folder.name}: evaluation", sections)


def _settings(recipe: Mapping[str, Any]) -> str:
    """A recipe in a line; a teacher, itself a recipe, has a line of its own."""
    return ", ".join(
        f"{name} {value}" for name, value in recipe.items() if value is not None and name != "teacher"
    )


def _by_class(evaluation: Evaluation) -> Iterator[tuple[str, ...]]:
    """Of each class: recall, its interval, precision."""
    counts = evaluation.confusion
    for name, right, of_class, said in zip(
        CLASSES, np.diag(counts), counts.sum(axis=1), counts.sum(axis=0), strict=True
    ):
        low, high = wilson_interval(int(right), int(of_class))
        precision = f"{right / said:.1%}" if said else "never said"
        yield name, f"{right / of_class:.1%}", f"{low:.1%} to {high:.1%}", precision


def _mistakes(test: Split, probs: NDArray[np.float32]) -> str:
    """The wrong answers given with most confidence."""
    given = probs.argmax(axis=1)
    wrong = np.flatnonzero(given != test.labels)
    worst = wrong[np.argsort(-probs[wrong, given[wrong]])][:_MISTAKES]
    shown = [
        f'<figure><img src="{_thumbnail(test.images[row])}" alt="test image {row}"><figcaption>'
        f"{CLASSES[test.labels[row]]}, taken for {CLASSES[given[row]]} ({probs[row, given[row]]:.0%} sure)"
        "</figcaption></figure>"
        for row in worst
    ]
    return f'<div class="mistakes">{"".join(shown)}</div>'


def _thumbnail(image: NDArray[np.uint8]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return inline(buffer.getvalue())


def _picture(png: bytes, says: str) -> str:
    return f'<p><img src="{inline(png)}" alt="{says}"></p>'
