"""From data to a published version: train, export with proof, publish. Each step can be run on its own."""

from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from export.errors import IntegrityError
from export.store.lineage import DataLineage, Lineage, Pretrained
from export.store.manifest import Manifest
from export.store.unlike import UNLIKE, Unlike
from export.store.versions import KNOWN, SPLITS, Store
from jobs.console import say
from jobs.errors import MistakeError
from jobs.gate.attached import last_verdict
from jobs.known import make_known
from jobs.pipeline.data import give_ids
from jobs.pipeline.mlflow import registry
from jobs.pipeline.networks import weights_of
from jobs.pipeline.progress import ProgressBar
from jobs.pipeline.quantization import twin_or_itself
from jobs.pipeline.reporting import attach_reports, report_on
from jobs.pipeline.unlike import exported_score, learn_score, thresholds
from jobs.settings import Settings
from jobs.training_runs import Request, Run

if TYPE_CHECKING:
    from model.data.dataset import Dataset
    from model.training.recipe import Recipe

PARITY_IMAGES = 1024
"""Held-out images that the exported graph is compared with the trained model on, at most."""

_PARITY_BYTES: Final = 64 * 2**20


def made_before(request: Request, dataset: "Dataset", store: Store) -> int | None:
    """The newest judged version that the same data, recipe, seed and code made.

    A verdict on its int8 twin counts as one. None also where the code is not known for certain: no commit, or
    changes that are in none.
    """
    from model.training.runs import code_commit

    commit = code_commit()
    if commit is None or commit.endswith("-dirty"):
        return None
    recipe = recipe_of(request, dataset)
    wanted = (commit, dataset.digest, asdict(recipe), request.seed, "float32")
    judged: set[int] = set()
    for manifest in reversed(store.versions()):
        if last_verdict(store, manifest.version) is not None:
            judged.add(manifest.quantized_from or manifest.version)
        found = (manifest.commit, manifest.data.digest, manifest.recipe, manifest.seed, manifest.precision)
        if found == wanted and manifest.version in judged:
            return manifest.version
    return None


def require_gpu(settings: Settings) -> None:
    """Look for the GPU before the data is fetched and read, which takes longer.

    Raises:
        TrainingError: There is none, and one is required.
    """
    if settings.require_gpu:
        from model.training.device import prepare_device

        prepare_device(require_gpu=True)


def train_run(run: Run, dataset: "Dataset", settings: Settings, store: Store) -> None:
    """Train a run, or go on where it was interrupted; save it and its report in its folder.

    Args:
        run: The run.
        dataset: What to train on; classes that the store does not know yet get their ids.
        settings: Of the model and the machine.
        store: Has the list of class ids.

    Raises:
        LostError: Someone else has given the next class ids at the same moment.
        TrainingError: Training cannot start: no GPU where one is required.
        KeyboardInterrupt: Ctrl-C; the checkpoint of the last whole epoch is kept.
    """
    from model.training.runs import save_run
    from model.training.tracking.recorder import Tracking
    from model.training.train import train

    request = run.request()
    recipe = recipe_of(request, dataset)
    tracking = Tracking(
        run.folder, settings.mlflow_tracking_uri, var=settings.state, experiment=settings.model
    )
    with run.held():
        run.of_class_list(give_ids(dataset, request, settings, store))
        trained = train(
            dataset,
            recipe,
            model=settings.model,
            run_dir=run.folder,
            seed=request.seed,
            observers=(ProgressBar(), tracking),
            require_gpu=settings.require_gpu,
            teacher_dir=settings.state / "teachers",
            teacher_observers=[ProgressBar()],
            weights=weights_of(request),
        )
        _keep_evidence(run, dataset)
        learn_score(run, dataset, trained)
        saved = save_run(run.folder, trained, dataset, mlflow_run=tracking.run_id)
        report = report_on(saved, dataset, recipe, settings, trained.network, weights=weights_of(request))
        tracking.record_files(report.page)
        tracking.record_files(report.pictures, "pictures")
        tracking.close()


def export_run(run: Run, settings: Settings) -> Lineage:
    """Export a trained run's graphs and prove them equal to the model.

    Raises:
        MistakeError: The run is not trained yet.
        ParityError: The graphs answer differently; nothing is left that could be published.
    """
    if not run.trained:
        raise MistakeError(
            f"Run {run.name} is not trained yet; go on with `cnn-image train --run {run.name}`."
        )
    from export.graph.export import export_graphs
    from export.graph.parity import prove
    from model.data.sources import load_sample
    from model.images.decode import DECODER_VERSION
    from model.training.runs import load_run

    say("Exporting to ONNX …")
    saved = load_run(run.folder)
    network = saved.network()
    contract = saved.contract
    score = exported_score(run)
    graphs = export_graphs(network, saved.temperature, run.export_folder, contract, score)
    own = run.held_out.is_file()
    images = np.load(run.held_out) if own else load_sample().test.images[:PARITY_IMAGES]
    parity, filters_parity = prove(network, saved.temperature, graphs, images, contract, score)
    if score is not None:
        said = thresholds(graphs, np.load(run.usual, mmap_mode="r"))
        (run.export_folder / UNLIKE).write_text(said.model_dump_json(indent=1) + "\n")
    lineage = Lineage(
        created=datetime.now(UTC),
        created_by=settings.who,
        metrics={name: saved.metrics[name] for name in ("accuracy", "val_accuracy", "loss", "val_loss")},
        data=DataLineage(**{name: saved.data[name] for name in ("digest", "source", "kind")}),
        commit=saved.commit or "unknown",
        mlflow_run=saved.mlflow_run,
        recipe=saved.recipe,
        seed=saved.seed,
        temperature=saved.temperature,
        parity=parity,
        filters_parity=filters_parity,
        decoder_version=DECODER_VERSION,
        contract=contract,
        class_list=run.class_list,
        pretrained=Pretrained(**asdict(saved.pretrained)) if saved.pretrained else None,
    )
    (run.export_folder / "lineage.json").write_text(lineage.model_dump_json(indent=1) + "\n")
    say(f"Parity: at most {parity.max_difference:.1e} apart on {parity.images:,} held-out images.")
    return lineage


def publish_run(run: Run, store: Store) -> Manifest:
    """Publish an exported run as the next version.

    Raises:
        MistakeError: The run is not exported yet.
        StoreError: Nothing was published.
    """
    if not run.exported:
        raise MistakeError(
            f"Run {run.name} is not exported yet; do it with `cnn-image export --run {run.name}`."
        )
    version = run.version(store)
    if version is not None and version in store.numbers():
        say(f"Run {run.name} is published already, as version {version}.")
        return store.manifest(version)
    from export.artifact import assemble
    from export.graph.export import graph_files

    lineage = _lineage(run.export_folder / "lineage.json")
    graphs = graph_files(run.export_folder, lineage.contract)
    evidence = {path.name: path.read_bytes() for path in sorted(run.evidence_folder.glob("*"))}
    unlike = None
    if (said := run.export_folder / UNLIKE).is_file():
        evidence[UNLIKE] = said.read_bytes()
        unlike = Unlike.model_validate_json(evidence[UNLIKE])
    manifest = store.publish(
        lambda number, folder: assemble(graphs, lineage, number, folder, unlike), evidence
    )
    run.published_as(store, manifest.version)
    attach_reports(run, store, manifest.version)
    say(f"Published as version {manifest.version} in {store.url}.")
    return manifest


def publish_candidate(run: Run, settings: Settings, store: Store, data: Callable[[], "Dataset"]) -> Manifest:
    """Publish an exported run, its int8 twin too where that is preferred, and make both known in MLflow.

    Args:
        run: The run.
        settings: Whether there is to be a twin; MLflow.
        store: Gets the versions.
        data: What the run was trained on; asked for where there is to be a twin.

    Returns:
        The version to go on with.

    Raises:
        MistakeError: The run is not exported yet, or was trained on other data.
        StoreError: The version, or its twin, was not published.
    """
    manifest = publish_run(run, store)
    made = {manifest.version}
    if settings.prefers_int8:
        manifest = twin_or_itself(store, manifest.version, data(), by=settings.who)
        made.add(manifest.version)
    registry.register(settings, store, *sorted(made))
    return manifest


def _keep_evidence(run: Run, dataset: "Dataset") -> None:
    """Keep what a version of one's own images needs of them, since they may be elsewhere when it is made."""
    if dataset.kind != "images" or dataset.splits is None:
        return
    run.evidence_folder.mkdir(exist_ok=True)
    (run.evidence_folder / SPLITS).write_bytes(dataset.splits)
    (run.evidence_folder / KNOWN).write_bytes(make_known(dataset.test))
    images = dataset.test.images
    np.save(run.held_out, images[: min(PARITY_IMAGES, _PARITY_BYTES // images[0].nbytes)])


def recipe_of(request: Request, dataset: "Dataset") -> "Recipe":
    """The recipe that was asked for, fitted to the data; a network that knows photographs has its own.

    Raises:
        WeightsError: There are no weights for that.
    """
    from model.network.pretrained.source import find_weights
    from model.training.finetune import FINE_TUNE
    from model.training.fitting import fit_recipe
    from model.training.train import RECIPES

    recipe: Recipe = RECIPES[request.recipe]
    if dataset.network != "cnn":
        _, source = find_weights(dataset.network, weights_of(request))
        recipe = replace(FINE_TUNE, pretrained=dataset.network, weights=source.sha256)
    return fit_recipe(
        recipe,
        dataset,
        epochs=request.epochs,
        batch_size=request.batch_size,
        mirror=request.mirror,
    )


def _lineage(path: Path) -> Lineage:
    try:
        return Lineage.model_validate_json(path.read_text())
    except ValueError as error:
        raise IntegrityError(f"{path} is damaged; export the run again.") from error
