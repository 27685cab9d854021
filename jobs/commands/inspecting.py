"""Looking at versions: `versions`, `history`, `info`."""

import json
from collections.abc import Callable
from datetime import UTC, datetime

from export.manifest import Manifest
from export.store import open_store
from jobs.commands.options import JsonFlag, StoreFlag, VersionArgument
from jobs.console import answer, listing, say, table
from jobs.settings import load_settings


def versions(store: StoreFlag = None, as_json: JsonFlag = False) -> None:
    """List all versions: which one is served, how good, how old, by whom."""
    opened = open_store(load_settings(store=store).store_url)
    served, before = opened.ledger.served(), opened.ledger.previous()
    manifests = opened.versions()
    if as_json:
        answer(json.dumps([_summary(manifest, served, before) for manifest in manifests], indent=1))
        return
    if not manifests:
        say(f"There is no version in {opened.url} yet; `cnn-image run` or `cnn-image retrain` makes one.")
        return
    rows = []
    for manifest in manifests:
        mark = "served" if manifest.version == served else "before" if manifest.version == before else ""
        rows.append(
            (
                str(manifest.version),
                mark,
                f"{manifest.metrics['val_accuracy']:.3f}",
                manifest.data.kind,
                _age(manifest.created),
                manifest.created_by,
                manifest.commit[:10],
            )
        )
    table(("version", "", "val_accuracy", "data", "age", "by", "commit"), rows)


def history(store: StoreFlag = None, as_json: JsonFlag = False) -> None:
    """List who promoted what, when and why."""
    opened = open_store(load_settings(store=store).store_url)
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
    opened = open_store(load_settings(store=store).store_url)
    manifest = opened.manifest(version)
    promotions = [entry for entry in opened.ledger.entries() if entry.version == version]
    if as_json:
        facts = manifest.model_dump(mode="json")
        facts["uri"] = opened.uri(version)
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
            "code": manifest.commit,
            "MLflow run": manifest.mlflow_run or "none",
            "parity": f"{manifest.parity.max_difference:.1e} on {manifest.parity.images} images",
            "decoder": manifest.decoder_version,
            "attached": ", ".join(opened.attachments(version)) or "nothing",
            "promotions": "; ".join(f"{e.action} {e.at:%Y-%m-%d %H:%M} by {e.by}" for e in promotions)
            or "none",
        }
    )


def _summary(manifest: Manifest, served: int | None, before: int | None) -> dict[str, object]:
    return {
        "version": manifest.version,
        "served": manifest.version == served,
        "served_before": manifest.version == before,
        "metrics": manifest.metrics,
        "data": manifest.data.model_dump(),
        "created": manifest.created.isoformat(),
        "created_by": manifest.created_by,
        "commit": manifest.commit,
        "mlflow_run": manifest.mlflow_run,
    }


def _age(since: datetime) -> str:
    seconds = max(0.0, (datetime.now(UTC) - since).total_seconds())
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


COMMANDS: tuple[Callable[..., None], ...] = (versions, history, info)
