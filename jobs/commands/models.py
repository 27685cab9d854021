"""All models at a glance: `models`."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, Final

import httpx

from export.errors import ExportError
from jobs.commands.options import JsonFlag
from jobs.console import about, answer, say, table
from jobs.errors import FaultError, JobError
from jobs.gate.attached import last_verdict
from jobs.health import ask_health
from jobs.laptop.serving_folder import ServingFolder
from jobs.settings import Settings, load_settings
from model.contract import ContractError, check_model_name

_AT_ONCE: Final = 16
"""Models that are looked at side by side."""


@dataclass
class _Row:
    """What is known of a model.

    Attributes:
        model: Its name.
        store: Where its versions are.
        versions: Their number.
        promoted: The version that should be served.
        precision: Of that version, as the next four.
        classes: That it has learned.
        size: Side of its input.
        test_accuracy: By its last verdict.
        data: What it learned from.
        url: Where a service of this machine serves the model.
        pid: That service's process.
        served: The version that it serves.
        problem: Why not all of this is known, or what is wrong with the service.
    """

    model: str
    store: str
    versions: int | None = None
    promoted: int | None = None
    precision: str | None = None
    classes: int | None = None
    size: int | None = None
    test_accuracy: float | None = None
    data: str | None = None
    url: str | None = None
    pid: int | None = None
    served: int | None = None
    problem: str | None = None


def models(as_json: JsonFlag = False) -> None:
    """List the models of this folder: how good, and where each is served; one that is broken says why."""
    settings = load_settings()
    each = [settings.of_model(name) for name in settings.models()]
    # Side by side: a store that is away takes its time to be found so, and the others' rows wait for it.
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        rows = [row for row, of in zip(threads.map(_row, each), each, strict=True) if _is_there(row, of)]
    if as_json:
        answer(json.dumps([asdict(row) for row in rows], indent=1))
    elif rows:
        head = ("model", "versions", "promoted", "classes", "size", "test", "served", "")
        table(head, map(_cells, rows))
    else:
        say(f"There is no model in {settings.state} yet; `cnn-image run` makes one.")


def _is_there(row: _Row, settings: Settings) -> bool:
    """Whether there is anything of a model; the default may never have been trained or served here."""
    return bool(row.versions or row.url or row.problem or settings.runs.is_dir())


def _row(settings: Settings) -> _Row:
    """Look at a model; whatever is wrong with it is the row's, and no other's."""
    row = _Row(settings.model, settings.store_url)
    problems = []
    for look in (_look_at_service, _look_at_store):
        try:
            look(row, settings)
        except (ExportError, JobError, ContractError) as error:
            problems.append(about(settings.model, str(error)))
        except OSError as error:  # of a folder that belongs to somebody else, for example
            problems.append(f"{error.filename} cannot be read ({error.strerror}); look at its rights.")
    row.problem = " ".join(problems) or None
    return row


def _look_at_service(row: _Row, settings: Settings) -> None:
    status = ServingFolder(settings.serving, settings.model).status()
    if status is None:
        return
    row.url, row.pid = status.url, status.pid
    row.store = settings.store or status.store or row.store
    if status.state == "starting":
        return
    row.served = status.version
    (health,) = ask_health(status.url, [])
    if health.status != httpx.codes.OK:
        said = f"says {health.text}" if health.status else f"does not answer ({health.text})"
        raise FaultError(f"{status.url}/health {said}; look at {settings.logs}.")
    if status.failed is not None:
        raise FaultError(f"Version {status.failed.version} cannot be served: {status.failed.reason}")


def _look_at_store(row: _Row, settings: Settings) -> None:
    check_model_name(settings.model)
    store = settings.model_copy(update={"store": row.store}).open_store()
    row.store = store.url
    row.versions = len(store.numbers())
    row.promoted = store.ledger.served()
    if row.promoted is None:
        return
    manifest = store.manifest(row.promoted)
    row.precision, row.classes = manifest.precision, len(manifest.contract.learned)
    row.size, row.data = manifest.contract.size, manifest.data.source
    verdict = last_verdict(store, row.promoted)
    row.test_accuracy = verdict.candidate.accuracy if verdict else None
    if not store.url.startswith("s3://"):  # out of a bucket it would take long; `doctor` does it
        store.verify(row.promoted)


def _cells(row: _Row) -> tuple[str, ...]:
    known: dict[str, Any] = {name: "" if value is None else value for name, value in asdict(row).items()}
    served = ""
    if row.url is not None:
        what = "starting" if row.served is None else f"version {row.served}"
        served = f"{row.url} ({what}, process {row.pid})"
    return (
        row.model,
        str(known["versions"]),
        f"{row.promoted} {row.precision or ''}".strip() if row.promoted else "",
        str(known["classes"]),
        str(known["size"]),
        "" if row.test_accuracy is None else f"{row.test_accuracy:.3f}",
        served,
        row.problem or "",
    )


COMMANDS: tuple[Callable[..., None], ...] = (models,)
