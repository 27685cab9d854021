"""Changing what is served: `judge`, `preflight`, `promote`, `rollback`, `deploy`."""

from collections.abc import Callable
from typing import Annotated

import typer

from jobs.commands.options import (
    DataFlag,
    DropLeaksFlag,
    FixFlag,
    JsonFlag,
    NewClassesFlag,
    OutputsFlag,
    StoreFlag,
    VersionArgument,
    WeakFlag,
    write_outputs,
)
from jobs.console import answer, out, say
from jobs.errors import MistakeError, RefusedError
from jobs.settings import load_settings
from jobs.training_runs import request_of

ForceFlag = Annotated[
    bool, typer.Option("--force", help="On Kubernetes, take back what someone changed by hand.")
]
ReasonFlag = Annotated[str, typer.Option("--reason", help="Why, for the ledger.")]


def judge(
    version: VersionArgument,
    data: DataFlag = None,
    fix: FixFlag = None,
    drop_leaks: DropLeaksFlag = None,
    store: StoreFlag = None,
    as_json: JsonFlag = False,
    outputs: OutputsFlag = None,
) -> None:
    """Judge a version on the test images, against what is served; exit code 3 if it is refused."""
    from jobs.gate.judge import judge as carry_out
    from jobs.pipeline.data import read_data, tests_of
    from jobs.pipeline.mlflow import registry

    settings = load_settings(data=data, drop_leaks=drop_leaks, store=store)
    opened = settings.open_store()
    manifest = opened.manifest(version)
    request = request_of(settings, 0, fix=fix)
    dataset = read_data(request, settings, opened, sample_allowed=False, version=manifest)
    tests = tests_of(lambda: dataset, request, settings, opened, manifest)
    verdict = carry_out(opened, version, tests, settings)
    registry.record_verdict(settings, opened, verdict)
    write_outputs(
        outputs, verdict=verdict.word, accuracy=verdict.candidate.accuracy, sentence=verdict.sentence
    )
    if as_json:
        answer(verdict.model_dump_json(indent=1))
    else:
        verdict.show(out)
    if not verdict.passed:
        raise RefusedError(f"Version {version} must not be promoted.")


def preflight(version: VersionArgument, store: StoreFlag = None) -> None:
    """Let a real Triton load a version as it would serve it, out of users' sight, and answer known images."""
    from jobs.places import open_deployer

    settings = load_settings(store=store)
    opened = settings.open_store()
    opened.manifest(version)
    open_deployer(settings, opened).preflight(version)
    answer(f"Version {version} loads and answers as it should.")


def promote(
    version: VersionArgument,
    accept_weak: WeakFlag = None,
    override: Annotated[
        str | None, typer.Option("--override-gate", help="Promote against the gate; say why, for the ledger.")
    ] = None,
    reason: ReasonFlag = "by hand",
    new_classes: NewClassesFlag = False,
    store: StoreFlag = None,
    outputs: OutputsFlag = None,
) -> None:
    """Serve a judged version from now on, and go back by itself if the service fails with it."""
    from jobs.gate.attached import last_verdict
    from jobs.gate.verdict import require_passed
    from jobs.pipeline.mlflow import registry
    from jobs.places import open_deployer
    from jobs.promotion.promote import promote as carry_out

    settings = load_settings(store=store, accept_weak_evidence=accept_weak)
    opened = settings.open_store()
    manifest = opened.manifest(version)
    verdict = last_verdict(opened, version)
    if override is not None:
        judged_against = opened.ledger.served()
        decoder = (verdict or manifest).decoder_version  # one that was judged again since is as good as new
        reason = f"against the gate: {override}"
    elif verdict is None:
        raise MistakeError(f"Version {version} was never judged; do it with `cnn-image judge {version}`.")
    else:
        require_passed(verdict, weak_accepted=settings.accept_weak_evidence)
        judged_against, decoder = verdict.judged_against, verdict.decoder_version
        reason = f"{reason}: {verdict.sentence}"
    entry = carry_out(
        opened,
        open_deployer(settings, opened),
        version,
        judged_against=judged_against,
        decoder=decoder,
        by=settings.who,
        reason=reason,
        new_classes=new_classes,
    )
    registry.follow(settings, opened)
    write_outputs(outputs, entry=entry.number, version=version)
    answer(f"Version {version} is promoted, in place of {entry.previous or 'none'}.")


def rollback(
    version: Annotated[int | None, typer.Argument(min=1, help="Where to. [what last served]")] = None,
    reason: ReasonFlag = "by hand",
    force: ForceFlag = False,
    store: StoreFlag = None,
) -> None:
    """Serve again what last served, or another version that served before; again, it makes sure of it."""
    from jobs.pipeline.mlflow import registry
    from jobs.places import open_deployer
    from jobs.promotion.promote import roll_back

    settings = load_settings(store=store)
    opened = settings.open_store()
    deployer = open_deployer(settings, opened, force=force)
    entry = roll_back(opened, deployer, version, by=settings.who, reason=reason)
    registry.follow(settings, opened)
    answer(f"Rolled back to version {entry.version}, from {entry.previous}.")


def deploy(store: StoreFlag = None, force: ForceFlag = False) -> None:
    """Bring the service, and MLflow's alias, to the promoted version; does nothing where they are there."""
    from jobs.pipeline.mlflow import registry
    from jobs.places import open_deployer

    settings = load_settings(store=store)
    opened = settings.open_store()
    version = opened.ledger.served()
    if version is None:
        say(f"No version is promoted in {opened.url} yet; there is nothing to deploy.")
        registry.follow(settings, opened)
        return
    deployer = open_deployer(settings, opened, force=force)
    deployer.deploy(version)
    deployer.verify(version)
    registry.follow(settings, opened)
    answer(f"Version {version} is served.")


COMMANDS: tuple[Callable[..., None], ...] = (judge, preflight, promote, rollback, deploy)
