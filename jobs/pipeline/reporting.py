"""A run's report, and for one's own images the labels that networks doubt which have not learned them."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from export.store.versions import Store
from jobs.console import say
from jobs.pipeline.networks import weights_of
from jobs.pipeline.progress import ProgressBar
from jobs.settings import Settings
from jobs.training_runs import Run

if TYPE_CHECKING:
    import keras

    from model.data.dataset import Dataset
    from model.report.page import Report
    from model.training.recipe import Recipe
    from model.training.runs import Run as Saved

ATTACHED: Final = ("report.html", "disputed.csv")
"""What of a run's folder goes beside its version."""


def report_on(
    saved: "Saved",
    dataset: "Dataset",
    recipe: "Recipe",
    settings: Settings,
    network: "keras.Model | None" = None,
    *,
    weights: Path | None = None,
) -> "Report":
    """Write a trained run's report into its folder.

    Args:
        saved: The run.
        dataset: What it was trained on.
        recipe: By which it was.
        settings: Whether the training images' labels are looked at too, which trains for longer.
        network: The run's, where it is loaded already.
        weights: The file of one's own that the run began with, where it did.
    """
    from model.report.page import write_report

    doubts = None
    if dataset.kind == "images" and settings.check_labels:
        from model.training.out_of_fold import FOLDS, out_of_fold

        say(f"Looking for wrong labels: {FOLDS} short trainings, each answers the images of the others …")
        doubts = out_of_fold(
            dataset,
            recipe,
            run_dir=saved.folder,
            seed=saved.seed,
            observers=[ProgressBar()],
            require_gpu=settings.require_gpu,
            weights=weights,
        )
    filters = ", what the filters see" if saved.contract.filters else ""
    say(f"Writing the report: test images, robustness{filters} …")
    report = write_report(saved, dataset, network, doubts)
    say(f"Report: {report.page}")
    if report.disputed is not None:
        say(f"Labels to look at: {report.disputed}; fill in its last column for `cnn-image retrain --fix`.")
    return report


def finish_report(
    run: Run, settings: Settings, data: Callable[[], "Dataset"], recipe: Callable[["Dataset"], "Recipe"]
) -> None:
    """Write a trained run's report where the run was stopped while it was written; else do nothing."""
    from model.training.runs import load_run

    if (run.folder / ATTACHED[0]).is_file():
        return
    saved, dataset = load_run(run.folder), data()
    if saved.data["digest"] == dataset.digest:
        report_on(saved, dataset, recipe(dataset), settings, weights=weights_of(run.request()))


def attach_reports(run: Run, store: Store, version: int) -> None:
    """Put a run's reports beside its version."""
    for name in ATTACHED:
        file = run.folder / name
        if file.is_file():
            store.attach(version, name, file.read_bytes())
