"""A run's evaluation report: one HTML page that needs nothing beside it, and its pictures as files."""

import html
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from model.data.dataset import Dataset, Split
from model.network.cnn import classifier
from model.network.pretrained.source import PretrainedSource
from model.report import pictures
from model.report.by_class import class_table, confused_pairs, without_figures
from model.report.disputed import (
    DISPUTED_FILE,
    Answered,
    Doubts,
    disputed_section,
    find_doubts,
    write_disputed,
)
from model.report.evaluate import Evaluation, calibration_bins, evaluate, is_learned
from model.report.gallery import STYLE, gallery
from model.report.html import document, inline, table
from model.report.reasons.drawing import reasons, section
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
    disputed: Path | None = None


def write_report(
    run: Run,
    dataset: Dataset,
    network: "keras.Model | None" = None,
    out_of_fold: NDArray[np.float32] | None = None,
) -> Report:
    """Judge a finished run on the test split; write `report.html` and `pictures/*.png` into its folder.

    Of one's own pictures also `disputed.csv`, those whose label the model doubts.

    Args:
        run: The finished run.
        dataset: The data it was trained on.
        network: Its network, if it is loaded already.
        out_of_fold: Probabilities `[N, C]` of the training images by networks that have not learned them; see
            `model.training.out_of_fold`. None looks at the labels of the other splits alone.
    """
    test, contract = dataset.test, run.contract
    network = network or run.network()
    classify = classifier(network, run.temperature, contract)
    probs = classify(test.images)
    evaluation = evaluate(probs, test.labels, contract.classes, contract.unlearned)
    judged = is_learned(test.labels, contract.unlearned)
    bins = calibration_bins(probs[judged], test.labels[judged])
    degraded = robustness(test, classify, contract.unlearned)
    figures = {
        "curves": pictures.curves(run.history),
        "confusion": pictures.confusion_matrix(evaluation),
        "reliability": pictures.reliability(bins, evaluation.ece),
        "robustness": pictures.robustness(degraded),
        **({"filters": pictures.filters_seen(test)} if contract.filters else {}),
    }
    if (looked := reasons(network, test, probs, contract.unlearned)) is not None:
        figures["reasons"] = looked
    drawn = {name: pictures.png(figure) for name, figure in figures.items()}
    folder = run.folder / PICTURES_FOLDER
    folder.mkdir(exist_ok=True)
    for name, png in drawn.items():
        (folder / f"{name}.png").write_bytes(png)
    doubts = None
    if dataset.kind == "images":
        validation = Answered("validation", dataset.validation, classify(dataset.validation.images))
        parts = [validation, Answered("test", test, probs)]
        if out_of_fold is not None:
            parts.insert(0, Answered("train", dataset.train, out_of_fold))
        doubts = find_doubts(parts, contract.unlearned)
        write_disputed(run.folder / DISPUTED_FILE, doubts)
    page = run.folder / REPORT_FILE
    page.write_text(_page(run, dataset, probs, evaluation, degraded, drawn, doubts), encoding="utf-8")
    return Report(page, folder, evaluation, run.folder / DISPUTED_FILE if doubts else None)


def _page(
    run: Run,
    dataset: Dataset,
    probs: NDArray[np.float32],
    evaluation: Evaluation,
    degraded: Robustness,
    drawn: dict[str, bytes],
    doubts: Doubts | None,
) -> str:
    test, own = dataset.test, dataset.kind == "images"
    low, high = evaluation.interval
    warning = (
        "<p><b>Trained on the small sample in the repository: for trying things out, not for use.</b></p>"
        if dataset.kind == "sample"
        else ""
    )
    teacher = run.recipe.get("teacher")
    facts = {
        "network": run.contract.network,
        **({"begun with": _pretrained(run.pretrained)} if run.pretrained else {}),
        "recipe": _settings(run.recipe),
        "teacher": _settings(teacher) if teacher else "none",
        "seed": run.seed,
        "data": f"{dataset.source}, sha256 {run.data['digest']}",
        **({"input": f"{dataset.size} x {dataset.size} pixels, {dataset.fit}"} if own else {}),
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
        "<h2>Per class</h2>"
        + class_table(evaluation, worst_first=own)
        + without_figures(evaluation, run.contract.unlearned),
        _side_by_side(evaluation, drawn) + confused_pairs(evaluation),
        f"<h2>Robustness</h2>{_picture(drawn['robustness'], 'Accuracy by degradation and strength')}"
        f'<p class="note">On {degraded.images:,} test images, {degraded.plain:.1%} right as they are.</p>'
        + table(
            (name, ", ".join(f"{strength:g}: {share:.1%}" for strength, share in by_strength.items()))
            for name, by_strength in degraded.degraded.items()
        ),
        "<h2>Worst mistakes</h2>" + _mistakes(test, probs, run.contract.unlearned),
        *([section(drawn["reasons"])] if "reasons" in drawn else []),
        *([f"<h2>Doubtful labels</h2>{disputed_section(doubts)}"] if doubts else []),
        *([_filters(drawn["filters"])] if "filters" in drawn else []),
        "<h2>Training</h2>"
        + _picture(drawn["curves"], "Loss and accuracy by epoch")
        + table((k, str(v)) for k, v in facts.items()),
    ]
    return document(f"{run.folder.name}: evaluation", sections, STYLE)


def _pretrained(source: PretrainedSource) -> str:
    """Where the weights are from, in a line."""
    dataset, licence = source.dataset or "data unknown", source.licence or "licence unknown"
    return f"weights of {source.network}, {source.origin}: {dataset}, {licence}, sha256 {source.sha256}"


def _filters(png: bytes) -> str:
    return (
        "<h2>What the filters see</h2>"
        + _picture(png, "An image of each class through each filter")
        + '<p class="note">Edges and sharpness reach below black and beyond white; shown cut off there.</p>'
    )


def _side_by_side(evaluation: Evaluation, drawn: dict[str, bytes]) -> str:
    """Confusion and calibration; of many classes one below the other: the matrix needs the whole width."""
    parts = (
        f"<h2>Confusion</h2>{_picture(drawn['confusion'], 'Right class against answer')}",
        f"<h2>Calibration</h2>{_picture(drawn['reliability'], 'Accuracy by confidence')}",
    )
    if len(pictures.seen_classes(evaluation)) > pictures.SMALL:
        return "".join(parts)
    return f"<div class='side'>{''.join(f'<div>{part}</div>' for part in parts)}</div>"


def _settings(recipe: Mapping[str, Any]) -> str:
    """A recipe in a line; a teacher, itself a recipe, has a line of its own."""
    return ", ".join(
        f"{name} {value}" for name, value in recipe.items() if value is not None and name != "teacher"
    )


def _mistakes(test: Split, probs: NDArray[np.float32], unlearned: Collection[int]) -> str:
    """The wrong answers given with most confidence."""
    given = probs.argmax(axis=1)
    wrong = np.flatnonzero((given != test.labels) & is_learned(test.labels, unlearned))
    worst = wrong[np.argsort(-probs[wrong, given[wrong]])][:_MISTAKES]
    return gallery(
        (
            test.images[row],
            f"test image {row}",
            f"{test.classes[test.labels[row]]}, taken for {test.classes[given[row]]} "
            f"({probs[row, given[row]]:.0%} sure)",
            test.names[row] if test.names else None,
        )
        for row in worst
    )


def _picture(png: bytes, says: str) -> str:
    return f'<p><img src="{inline(png)}" alt="{says}"></p>'
