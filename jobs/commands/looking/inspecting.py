"""Looking at versions: `versions`, `history`, `info`."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from export.store.lineage import Pretrained
from export.store.manifest import Manifest
from export.store.versions import Store
from jobs.commands.options import JsonFlag, StoreFlag, VersionArgument
from jobs.console import answer, listing, say, table
from jobs.errors import JobError
from jobs.gate.attached import last_verdict
from jobs.laptop.serving_folder import ServingFolder
from jobs.settings import Settings, load_settings
from model.contract import Contract

_NAMES_SHOWN = 12


def versions(
    made_from: Annotated[
        str | None,
        typer.Option(
            "--from", help="Only those of this MLflow run, commit or data digest, or its beginning."
        ),
    ] = None,
    store: StoreFlag = None,
    as_json: JsonFlag = False,
) -> None:
    """List all versions: which one is promoted, and served right now, how good, how old, by whom."""
    settings = load_settings(store=store)
    opened = settings.open_store()
    champion, before = opened.ledger.served(), opened.ledger.previous()
    live = _live(settings, opened)
    listed = []
    for manifest in opened.versions():
        if made_from is not None and not _is_from(manifest, made_from):
            continue
        verdict = last_verdict(opened, manifest.version)
        listed.append(
            {
                "version": manifest.version,
                "champion": manifest.version == champion,
                "served": manifest.version == live,
                "served_before": manifest.version == before,
                "precision": manifest.precision,
                "quantized_from": manifest.quantized_from,
                "test_accuracy": verdict.candidate.accuracy if verdict else None,
                "verdict": verdict.word if verdict else None,
                "metrics": manifest.metrics,
                "data": manifest.data.model_dump(),
                "classes": len(manifest.contract.learned),
                "size": manifest.contract.size,
                "fit": manifest.contract.fit,
                "created": manifest.created.isoformat(),
                "created_by": manifest.created_by,
                "commit": manifest.commit,
                "mlflow_run": manifest.mlflow_run,
            }
        )
    if as_json:
        answer(json.dumps(listed, indent=1))
    elif not listed and made_from is not None:
        say(f"No version in {opened.url} was made by an MLflow run, of a commit or of data {made_from!r}.")
    elif not listed:
        say(f"There is no version in {opened.url} yet; `cnn-image run` or `cnn-image retrain` makes one.")
    else:
        head = ("version", "", "precision", "validation", "test", "verdict", "data", "age", "by", "commit")
        table(head, map(_row, listed))


def _is_from(manifest: Manifest, origin: str) -> bool:
    origins = (manifest.mlflow_run, manifest.commit, manifest.data.digest)
    return any(known is not None and known.startswith(origin) for known in origins)


def _row(facts: dict[str, Any]) -> tuple[str, ...]:
    marks = [name for name in ("champion", "served") if facts[name]]
    tested = facts["test_accuracy"]
    return (
        str(facts["version"]),
        ", ".join(marks) or ("before" if facts["served_before"] else ""),
        facts["precision"] + (f" of {facts['quantized_from']}" if facts["quantized_from"] else ""),
        f"{facts['metrics']['val_accuracy']:.3f}",
        f"{tested:.3f}" if tested is not None else "",
        facts["verdict"] or "",
        facts["data"]["kind"]
        if facts["data"]["kind"] != "images"
        else f"{facts['classes']} classes at {facts['size']}, {facts['fit']}",
        _age(datetime.fromisoformat(facts["created"])),
        facts["created_by"],
        facts["commit"][:10],
    )


def _live(settings: Settings, store: Store) -> int | None:
    """What is served right now, as the place that serves says; None where it cannot be asked."""
    try:
        if settings.namespace is None:
            status = ServingFolder(settings.serving, settings.model).status()
            return status.version if status else None
        from jobs.places import open_deployer

        return open_deployer(settings, store).served()
    except JobError as error:
        say(f"What is served right now is not known: {error}")
        return None


def history(store: StoreFlag = None, as_json: JsonFlag = False) -> None:
    """List who promoted what, when and why."""
    opened = load_settings(store=store).open_store()
    entries = opened.ledger.entries()
    if as_json:
        answer(json.dumps([entry.model_dump(mode="json") for entry in entries], indent=1))
        return
    if not entries:
        say(f"Nothing was promoted in {opened.url} yet.")
        return
    rows = [
        (
            str(entry.number),
            entry.at.astimezone().strftime("%Y-%m-%d %H:%M"),
            entry.action,
            str(entry.version or "none"),
            str(entry.previous or "none"),
            entry.by,
            entry.reason,
        )
        for entry in entries
    ]
    table(("entry", "at", "action", "version", "before", "by", "reason"), rows)


def info(version: VersionArgument, store: StoreFlag = None, as_json: JsonFlag = False) -> None:
    """Show where a version comes from and what became of it."""
    opened = load_settings(store=store).open_store()
    manifest = opened.manifest(version)
    verdict = last_verdict(opened, version)
    promotions = [entry for entry in opened.ledger.entries() if entry.version == version]
    if as_json:
        facts = manifest.model_dump(mode="json") | {"classes": manifest.classes}
        facts["uri"] = opened.uri(version)
        facts["verdict"] = verdict.model_dump(mode="json") if verdict else None
        facts["attachments"] = opened.attachments(version)
        facts["promotions"] = [entry.model_dump(mode="json") for entry in promotions]
        answer(json.dumps(facts, indent=1))
        return
    listing(
        {
            "version": version,
            "address": opened.uri(version),
            "served": "yes" if opened.ledger.served() == version else "no",
            "created": f"{manifest.created:%Y-%m-%d %H:%M} UTC by {manifest.created_by}",
            "metrics": ", ".join(f"{name} {value:.3f}" for name, value in manifest.metrics.items()),
            "data": f"{manifest.data.kind}, {manifest.data.source}, digest {manifest.data.digest[:16]}",
            "classes": _classes(manifest.contract),
            "input": f"{manifest.contract.size} x {manifest.contract.size} pixels, {manifest.contract.fit}",
            "network": manifest.contract.network,
            **({"pretrained": _pretrained(manifest.pretrained)} if manifest.pretrained else {}),
            "code": manifest.commit,
            "MLflow run": manifest.mlflow_run or "none",
            "verdict": verdict.sentence if verdict else "never judged",
            "parity": f"{manifest.parity.max_difference:.1e} on {manifest.parity.images} images",
            "precision": manifest.precision
            + (f", made from version {manifest.quantized_from}" if manifest.quantized_from else ""),
            "decoder": manifest.decoder_version,
            "attached": _attached(opened, version),
            "promotions": "; ".join(f"{e.action} {e.at:%Y-%m-%d %H:%M} by {e.by}" for e in promotions)
            or "none",
        }
    )


def _classes(contract: Contract) -> str:
    """Their number and the first names; those that it only keeps a place for are counted."""
    learned = [contract.classes[number] for number in contract.learned]
    more = f" and {len(learned) - _NAMES_SHOWN} more" if len(learned) > _NAMES_SHOWN else ""
    kept = f"; {len(contract.unlearned)} known by name alone" if contract.unlearned else ""
    return f"{len(learned)}: {', '.join(learned[:_NAMES_SHOWN])}{more}{kept}"


def _pretrained(source: Pretrained) -> str:
    """Where the weights are from that it began with."""
    dataset, licence = source.dataset or "data unknown", source.licence or "licence unknown"
    return f"{source.origin} ({dataset}; {licence}; sha256 {source.sha256[:16]})"


def _attached(store: Store, version: int) -> str:
    names = store.attachments(version)
    return f"{', '.join(names)} in {store.attachments_uri(version)}" if names else "nothing"


def _age(since: datetime) -> str:
    seconds = max(0.0, (datetime.now(UTC) - since).total_seconds())
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


COMMANDS: tuple[Callable[..., None], ...] = (versions, history, info)
