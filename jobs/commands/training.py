"""Making versions: `train`, `export`, `publish`, `quantize`, `retrain`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import typer

from jobs.cluster.outcome import Outcome
from jobs.commands.options import (
    DataFlag,
    DropLeaksFlag,
    FitFlag,
    FixFlag,
    MirrorFlag,
    NetworkFlag,
    NewClassesFlag,
    OutputsFlag,
    RenameFlag,
    SampleFlag,
    SizeFlag,
    StoreFlag,
    VersionArgument,
    WeakFlag,
    WeightsFlag,
    one_line,
    taking,
    write_outputs,
)
from jobs.console import answer, say
from jobs.settings import Settings, load_settings
from jobs.training_runs import Request, find_run, interrupted_run, new_run, request_of

RunFlag = Annotated[str | None, typer.Option("--run", help="The training run. [the newest]")]
RecipeFlag = Annotated[str | None, typer.Option("--recipe", help="quick or best. [CNN_IMAGE_RECIPE, quick]")]
EpochsFlag = Annotated[int | None, typer.Option("--epochs", min=1, help="In place of the recipe's. [EPOCHS]")]
BatchFlag = Annotated[int | None, typer.Option("--batch-size", min=1, help="[BATCH_SIZE]")]
SeedFlag = Annotated[int, typer.Option("--seed", min=0, help="Of everything random.")]
GpuFlag = Annotated[
    bool | None,
    typer.Option(
        "--gpu/--cpu", help="Train on a GPU or not at all, or also without. [CNN_IMAGE_REQUIRE_GPU]"
    ),
]
Int8Flag = Annotated[
    bool | None,
    typer.Option(
        "--int8/--float", help="Go on with its int8 twin, if that is no worse. [CNN_IMAGE_INT8, int8]"
    ),
]


@dataclass(frozen=True)
class Training:
    """What a training is asked by: the flags that `train` and `retrain` share, each a field."""

    data: DataFlag = None
    recipe: RecipeFlag = None
    epochs: EpochsFlag = None
    batch_size: BatchFlag = None
    seed: SeedFlag = 0
    size: SizeFlag = None
    fit: FitFlag = None
    network: NetworkFlag = None
    weights: WeightsFlag = None
    mirror: MirrorFlag = None
    fix: FixFlag = None
    new_classes: NewClassesFlag = False
    rename: RenameFlag = None
    drop_leaks: DropLeaksFlag = None
    gpu: GpuFlag = None

    def settings(self, **more: object) -> Settings:
        """The settings with these flags over them, and a command's own."""
        asked = ("data", "recipe", "epochs", "batch_size", "size", "fit", "network", "weights", "mirror")
        flags = {name: getattr(self, name) for name in (*asked, "rename", "drop_leaks")}
        return load_settings(**flags, require_gpu=self.gpu, **more)

    def request(self, settings: Settings) -> Request:
        """What is to be trained."""
        return request_of(
            settings,
            self.seed,
            fix=self.fix,
            new_classes=self.new_classes,
            rename=settings.rename,
        )


@taking(Training)
def train(
    wanted: Training,
    sample_allowed: SampleFlag = False,
    run: Annotated[str | None, typer.Option("--run", help="What to call the run. [date and time]")] = None,
    store: StoreFlag = None,
    outputs: OutputsFlag = None,
) -> None:
    """Train a model; after Ctrl-C the same command goes on with the last whole epoch."""
    from jobs.pipeline.candidate import require_gpu, train_run
    from jobs.pipeline.data import load_data
    from jobs.pipeline.networks import check_network

    settings = wanted.settings(store=store)
    opened, request = settings.open_store(), wanted.request(settings)
    begun = None if run else interrupted_run(settings.runs, request)
    begun = begun or new_run(settings.runs, request, run)
    if begun.trained:
        say(f"Run {begun.name} is trained already.")
    else:
        check_network(request, opened)
        require_gpu(settings)
        dataset = load_data(request, settings, opened, sample_allowed=sample_allowed)
        train_run(begun, dataset, settings, opened)
    write_outputs(outputs, run=begun.name)
    answer(begun.name)


def export(run: RunFlag = None, outputs: OutputsFlag = None) -> None:
    """Export a trained run to ONNX, and prove that it answers as the model does."""
    from jobs.pipeline.candidate import export_run

    settings = load_settings()
    found = find_run(settings.runs, run)
    lineage = export_run(found, settings)
    write_outputs(outputs, run=found.name, metrics=one_line(lineage.metrics))
    answer(str(found.export_folder))


def publish(
    run: RunFlag = None, int8: Int8Flag = None, store: StoreFlag = None, outputs: OutputsFlag = None
) -> None:
    """Publish an exported run as the next version; nobody is served by it yet."""
    from jobs.pipeline.candidate import publish_candidate
    from jobs.pipeline.data import load_data

    settings = load_settings(int8=int8, store=store)
    opened = settings.open_store()
    found = find_run(settings.runs, run)
    manifest = publish_candidate(
        found, settings, opened, lambda: load_data(found.request(), settings, opened, sample_allowed=True)
    )
    found.finish()  # where a retrain was stopped in this step
    write_outputs(outputs, version=manifest.version, metrics=one_line(manifest.metrics))
    answer(str(manifest.version))


def quantize(
    version: VersionArgument,
    data: DataFlag = None,
    fix: FixFlag = None,
    drop_leaks: DropLeaksFlag = None,
    store: StoreFlag = None,
    outputs: OutputsFlag = None,
) -> None:
    """Publish a version's int8 twin, calibrated on its training images; judge it like any other version."""
    from jobs.pipeline.data import load_data
    from jobs.pipeline.mlflow import registry
    from jobs.pipeline.quantization import publish_quantized

    settings = load_settings(data=data, drop_leaks=drop_leaks, store=store)
    opened = settings.open_store()
    original = opened.manifest(version)
    dataset = load_data(
        request_of(settings, 0, fix=fix),
        settings,
        opened,
        sample_allowed=original.data.kind == "sample",
        version=original,
    )
    manifest = publish_quantized(opened, version, dataset, by=settings.who)
    registry.register(settings, opened, manifest.version)
    write_outputs(outputs, version=manifest.version)
    answer(str(manifest.version))


@taking(Training)
def retrain(
    wanted: Training,
    int8: Int8Flag = None,
    sample_allowed: SampleFlag = False,
    promote: Annotated[bool, typer.Option("--promote/--no-promote", help="Serve it if it passes.")] = True,
    accept_weak: WeakFlag = None,
    unless_promoted: Annotated[
        bool, typer.Option("--unless-promoted", help="Do nothing where a version is promoted already.")
    ] = False,
    unless_unchanged: Annotated[
        bool,
        typer.Option("--unless-unchanged", help="Do nothing where data, recipe, seed and code are old ones."),
    ] = False,
    keep: Annotated[
        int | None,
        typer.Option("--keep", min=1, help="Prune first: so many of the newest versions and runs stay."),
    ] = None,
    store: StoreFlag = None,
    outputs: OutputsFlag = None,
) -> None:
    """Train, export, publish, judge, promote, verify: all steps in one process."""
    from jobs.pipeline import retrain as pipeline
    from jobs.places import open_deployer
    from jobs.promotion.promote import resume

    settings = wanted.settings(int8=int8, accept_weak_evidence=accept_weak, store=store)
    opened = settings.open_store()
    if unless_promoted and (served := opened.ledger.served()) is not None:
        say(f"Version {served} is promoted in {opened.url}; there is nothing to train.")
        if promote:
            resume(opened, open_deployer(settings, opened))
        return
    manifest = pipeline.retrain(
        settings,
        opened,
        open_deployer(settings, opened) if promote else None,
        wanted.request(settings),
        sample_allowed=sample_allowed,
        weak_accepted=settings.accept_weak_evidence,
        unless_unchanged=unless_unchanged,
        keep=keep,
    )
    if manifest is None:
        return
    Outcome(manifest.version, manifest.metrics, opened.uri(manifest.version), promote).write()
    write_outputs(outputs, version=manifest.version, metrics=one_line(manifest.metrics))
    answer(str(manifest.version))


COMMANDS: tuple[Callable[..., None], ...] = (train, export, publish, quantize, retrain)
