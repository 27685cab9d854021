"""Look at each link between data and answers, and name the one that is broken with what mends it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import httpx

from export.errors import ExportError
from export.store.versions import Store
from jobs.errors import Exit, FaultError, JobError, MistakeError, exit_code
from jobs.gate.attached import last_verdict
from jobs.health import ask_health, require_all
from jobs.laptop.deployer import LaptopDeployer
from jobs.laptop.serving_folder import ServingFolder
from jobs.pipeline.data import read_data
from jobs.pipeline.mlflow import links, registry
from jobs.places import open_deployer
from jobs.settings import Settings
from jobs.store_doctor import store_links
from jobs.training_runs import request_of
from model.contract import MODEL_NAME
from model.data.errors import DataError
from model.data.remote.http_client import has_way_to

State = Literal["ok", "absent", "broken"]


class _AbsentError(Exception):
    """The link is not there, and that is no fault: nothing is served yet, for example."""


@dataclass(frozen=True)
class Finding:
    """What was found of one link.

    Attributes:
        link: Its name.
        state: `absent` is no fault: what is not started is not broken.
        text: What was found, or what is wrong and what to do.
        code: How the command ends if this is the worst.
    """

    link: str
    state: State
    text: str
    code: Exit = Exit.OK


def examine(settings: Settings) -> Iterator[Finding]:
    """Look at every link in the order in which data becomes answers; each is looked at by itself.

    Yields:
        A finding a link, as soon as it is known.
    """
    yield _look("data", lambda: _data(settings))
    try:
        store = settings.open_store()
    except (ExportError, JobError) as error:
        yield Finding("store", "broken", str(error), Exit.MISTAKE)
        return
    unreadable = False
    for link, check in store_links(store).items():
        finding = _look(link, check, unreadable=unreadable and link in {"store, lock", "store, way back"})
        yield finding
        unreadable = unreadable or (link == "store, reading" and finding.state == "broken")
    yield _look("promoted version", lambda: _promoted(store), unreadable=unreadable)
    tracking = _look("MLflow", lambda: _mlflow(settings))
    yield tracking
    if tracking.state == "broken":
        yield Finding("MLflow's alias", "absent", "not looked at, since MLflow cannot be used")
    else:
        yield _look("MLflow's alias", lambda: _alias(settings, store), unreadable=unreadable)
    if settings.namespace:
        from jobs.cluster.doctor import cluster_links

        serving = cluster_links(settings, store)
    else:
        serving = {
            "Triton": lambda: _triton(settings, store),
            "service": lambda: _service(settings, store),
        }
    serving["decoder"] = lambda: _decoder(settings, store)
    for link, check in serving.items():
        yield _look(link, check, unreadable=unreadable)


def _look(link: str, check: Callable[[], str], *, unreadable: bool = False) -> Finding:
    """Look at one link; that the store is `unreadable` is not said again of all that hangs on it."""
    try:
        return Finding(link, "ok", check())
    except _AbsentError as absent:
        return Finding(link, "absent", str(absent))
    except (JobError, ExportError, DataError) as error:
        if unreadable and isinstance(error, ExportError):
            return Finding(link, "absent", "not looked at, since the store cannot be read")
        return Finding(link, "broken", str(error), exit_code(error) or Exit.MISTAKE)


def _data(settings: Settings) -> str:
    from model.data.fetch import keras_cache

    if settings.data is None and settings.namespace:
        raise _AbsentError("none is named here; in the cluster the trainings' Jobs have it")
    if settings.data is None and settings.model != MODEL_NAME:
        raise _AbsentError("none is named here; trainings of this model name it with --data")
    if settings.data is None and keras_cache() is None:
        raise _AbsentError(
            "none is named and none is in Keras' cache: it would be downloaded; or set CIFAR10_DIR"
        )
    request = request_of(settings, 0)
    try:
        dataset = read_data(request, settings, settings.open_store(), sample_allowed=False)
    except (ExportError, JobError):  # what is wrong with the store, its own links say
        dataset = read_data(request, settings, None, sample_allowed=False)
    return f"{dataset.source}: {len(dataset.train):,} training and {len(dataset.test):,} test images"


def _promoted(store: Store) -> str:
    version = store.ledger.served()
    if version is None:
        raise _AbsentError("none yet; `cnn-image run` or `cnn-image retrain` makes one")
    manifest = store.verify(version)
    return f"version {version}, {len(manifest.files)} files as published"


def _mlflow(settings: Settings) -> str:
    if not registry.in_use(settings):
        raise _AbsentError(
            f"the first training makes {settings.local_tracking_db}; or set MLFLOW_TRACKING_URI"
        )
    return links.server(settings)


def _alias(settings: Settings, store: Store) -> str:
    found = links.alias(settings, store) if registry.in_use(settings) else None
    if found is None:
        raise _AbsentError("compared with the ledger where there is an MLflow and a version is promoted")
    return found


def _triton(settings: Settings, store: Store) -> str:
    version = store.ledger.served()
    if version is None:
        raise _AbsentError("tried with a promoted version; there is none yet")
    LaptopDeployer(settings, store).preflight(version)
    return f"the embedded server starts, loads version {version} and answers known images"


def _service(settings: Settings, store: Store) -> str:
    status = ServingFolder(settings.serving, settings.model).status()
    if status is None:
        raise _AbsentError("none runs here; `cnn-image run` starts it")
    ips = [ip for ip in ("127.0.0.1", "::1") if has_way_to(ip)] if status.host == "::" else []
    answers = ask_health(status.url, ips)
    log = settings.logs / "transformer.log"
    if all(answer.status is None for answer in answers):
        raise FaultError(f"{status.url} does not answer ({answers[0].text}): look at {log}")
    require_all(status.url, answers, f"look at {log}, or set CNN_IMAGE_HOST to one address")
    for answer in answers:
        if answer.status != httpx.codes.OK:
            raise FaultError(f"{status.url}/health says {answer.text}: look at {settings.logs}")
    promoted = store.ledger.served()
    if status.version != promoted:
        reason = f" ({status.failed.reason})" if status.failed else ""
        raise FaultError(
            f"{status.url} serves version {status.version} and version {promoted} is promoted{reason}: "
            "run `cnn-image deploy`"
        )
    return f"{status.url} serves version {status.version}"


def _decoder(settings: Settings, store: Store) -> str:
    version = store.ledger.served()
    live = open_deployer(settings, store).decoder()
    if version is None or live is None:
        raise _AbsentError("compared while a version is served")
    verdict = last_verdict(store, version)
    judged = verdict.decoder_version if verdict else store.manifest(version).decoder_version
    if judged != live:
        raise MistakeError(
            f"version {version} was judged with decoder {judged} and the service decodes with {live}: "
            f"upgrade the older of the two, or `cnn-image judge {version}` again"
        )
    return f"decoder {live}, the one that version {version} was judged with"


def worst(findings: list[Finding]) -> Exit:
    """How the command ends: a mistake counts more than a fault, for it stays."""
    codes = {finding.code for finding in findings if finding.state == "broken"}
    for code in sorted(codes - {Exit.FAULT}):
        return code
    return Exit.FAULT if codes else Exit.OK
