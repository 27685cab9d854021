"""Versions are registered in real MLflow servers, old and new, whatever happens to them meanwhile."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from mlflow_server import (
    ASKS_FOR_A_USER,
    OLD_VERSIONS,
    PASSWORD,
    PINNED,
    USER,
    Mlflow,
    StartMlflow,
    mlflows,
)
from serving import SmallModel

from export.store.manifest import Manifest, file_digest
from export.store.versions import Store
from jobs import doctor
from jobs.errors import FaultError, MistakeError
from jobs.pipeline.mlflow import links, registry
from jobs.pipeline.mlflow.registry import ALIAS, STORE_TAG, VERSION_TAG
from jobs.settings import Settings, load_settings
from model.contract import IMAGE_SHAPE, INPUT_NAME, MODEL_NAME, OUTPUT_NAME
from model.training.tracking.server import EXPERIMENT, connect

pytestmark = pytest.mark.slow

Publish = Callable[..., int]
CHAMPION = f"models:/{MODEL_NAME}@{ALIAS}"


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartMlflow]:
    with mlflows(tmp_path_factory) as start:
        yield start


@pytest.fixture(scope="module", params=[PINNED, *OLD_VERSIONS])
def server(request: pytest.FixtureRequest, start: StartMlflow) -> Mlflow:
    """A server of each version."""
    return start(request.param)


@pytest.fixture
def settings(
    server: Mlflow, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Settings]:
    for name, value in {
        "MLFLOW_TRACKING_URI": server.uri,
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    }.items():
        monkeypatch.setenv(name, value)
    if server.process is None:
        server.start()
    yield load_settings(store=store.url, state=tmp_path / "var")
    if server.process is not None and (named := registry.champion(connect(server.uri), MODEL_NAME)):
        connect(server.uri).delete_registered_model_alias(named.name, ALIAS)


@pytest.fixture
def client(settings: Settings) -> Any:
    return connect(settings.tracking_uri)


@pytest.fixture
def publish(store: Store, build: Callable[..., Manifest], tmp_path: Path) -> Publish:
    """Publishes a version whose classifier is a real graph."""

    def with_graph(number: int, folder: Path, changes: dict[str, Any]) -> Manifest:
        manifest = build(number, folder, **changes)
        name = f"{MODEL_NAME}/{number}/model.onnx"
        SmallModel(number).write(tmp_path / f"small-{number}")
        shutil.copy(tmp_path / f"small-{number}" / name, folder / name)
        return manifest.model_copy(update={"files": {**manifest.files, name: file_digest(folder / name)}})

    return lambda **changes: store.publish(lambda *place: with_graph(*place, changes)).version


def trained(client: Any, status: str = "FINISHED", **experiment: str) -> str:
    """A run as a training leaves it."""
    name = EXPERIMENT if not experiment else f"{EXPERIMENT}-elsewhere"
    found = client.get_experiment_by_name(name)
    run: str = client.create_run(
        found.experiment_id if found else client.create_experiment(name, **experiment)
    ).info.run_id
    if status != "RUNNING":
        client.set_terminated(run, status)
    return run


def serve(store: Store, version: int | None) -> None:
    store.ledger.record("promote", version, by="me", reason="why", after=len(store.ledger.entries()))


def named(client: Any) -> str | None:
    found = registry.champion(client, MODEL_NAME)
    return found and found.tags[VERSION_TAG]


def test_a_version_can_be_loaded_and_its_run_stays_as_it_ended(
    settings: Settings,
    store: Store,
    publish: Publish,
    client: Any,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = trained(client, "KILLED")
    ended = client.get_run(run).info
    version = publish(mlflow_run=run)
    registry.register(settings, store, version)
    registry.register(settings, store, version)  # again: it is there
    serve(store, version)
    registry.follow(settings, store)
    assert capfd.readouterr() == ("", "")

    (one,) = (
        each
        for each in client.search_model_versions(f"name = '{MODEL_NAME}'")
        if each.tags[STORE_TAG] == store.url
    )
    assert (one.run_id, one.status, one.tags[VERSION_TAG]) == (run, "READY", str(version))
    now = client.get_run(run)
    assert (now.info.status, now.info.end_time) == ("KILLED", ended.end_time)
    assert now.data.tags[VERSION_TAG] == str(version)

    import mlflow

    monkeypatch.setattr("mlflow.tracking._tracking_service.utils._tracking_uri", settings.tracking_uri)
    images = np.random.default_rng(0).integers(0, 256, (3, *IMAGE_SHAPE), np.uint8)
    loaded = mlflow.pyfunc.load_model(CHAMPION)
    np.testing.assert_allclose(
        loaded.predict(images)[OUTPUT_NAME], SmallModel(version).probs(images), atol=1e-5
    )
    (takes,) = loaded.metadata.signature.inputs
    assert (takes.name, takes.type, takes.shape) == (INPUT_NAME, np.uint8, (-1, *IMAGE_SHAPE))
    assert mlflow.onnx.load_model(CHAMPION).graph.output[0].name == OUTPUT_NAME


def test_the_pinned_server_lists_the_model_beside_its_run(
    settings: Settings, store: Store, publish: Publish, client: Any, server: Mlflow
) -> None:
    run = trained(client)
    version = publish(mlflow_run=run)
    registry.register(settings, store, version)
    there = registry.registered(client, MODEL_NAME, store, version)
    listed = {file.path for file in client.list_artifacts(run)}
    if server.version == PINNED:
        (output,) = client.get_run(run).outputs.model_outputs
        logged = client.get_logged_model(output.model_id)
        assert json.loads(logged.tags["mlflow.modelVersions"]) == [
            {"name": MODEL_NAME, "version": int(there.version)}
        ]
        assert (logged.name, logged.status, logged.source_run_id) == (f"{MODEL_NAME}-1", "READY", run)
        assert not listed
    else:
        assert listed == {f"{MODEL_NAME}-1"}


def test_the_alias_follows_the_ledger_and_what_is_missing_is_registered_first(
    settings: Settings, store: Store, publish: Publish, client: Any
) -> None:
    """Published while MLflow was away, promoted, rolled back, and taken back altogether."""
    first, second = publish(mlflow_run=trained(client)), publish(mlflow_run=None)
    serve(store, first)
    registry.follow(settings, store)
    assert named(client) == "1"
    serve(store, second)
    with pytest.raises(FaultError, match=r"names version 1 and the ledger version 2: run `cnn-image deploy`"):
        links.alias(settings, store)
    registry.follow(settings, store)
    assert named(client) == "2"
    assert links.alias(settings, store) == "names version 2, as the ledger does; it may be written"

    run = client.get_run(registry.registered(client, MODEL_NAME, store, second).run_id)
    assert run.info.status == "FINISHED"
    assert (run.data.params["seed"], run.data.params["data_digest"]) == ("0", "d" * 64)
    assert run.data.metrics["final_val_accuracy"] == 0.79

    serve(store, first)
    registry.follow(settings, store)
    assert named(client) == "1"
    serve(store, None)
    with pytest.raises(FaultError, match=r"names version 1 and the ledger none"):
        links.alias(settings, store)
    registry.follow(settings, store)
    assert named(client) is None
    assert links.alias(settings, store) is None


def test_a_version_of_another_store_is_not_taken_for_this_ones(
    settings: Settings, store: Store, publish: Publish, client: Any, tmp_path: Path
) -> None:
    version = publish()
    serve(store, version)
    registry.follow(settings, store)
    number = registry.registered(client, MODEL_NAME, store, version).version
    client.set_model_version_tag(MODEL_NAME, number, STORE_TAG, "s3://another/store")
    with pytest.raises(FaultError, match="names version 1 of s3://another/store and the ledger version 1"):
        links.alias(settings, store)
    registry.follow(settings, store)
    assert registry.champion(client, MODEL_NAME).version != number


@pytest.mark.parametrize("server", OLD_VERSIONS[:1], indirect=True)  # the one that starts fastest
def test_mlflow_that_is_away_and_comes_back(
    settings: Settings,
    store: Store,
    publish: Publish,
    client: Any,
    server: Mlflow,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ended, unended = trained(client), trained(client, "RUNNING")
    server.stop()
    versions = publish(mlflow_run=ended), publish(mlflow_run=unended)
    registry.register(settings, store, *versions)
    away = f"MLflow at {server.uri} does not answer (Connection refused): start it, or correct"
    otherwise = "Versions 1 and 2 are not registered there yet; promoting does that, too."
    assert capsys.readouterr().err == f"{away} MLFLOW_TRACKING_URI. {otherwise}\n"
    serve(store, 2)
    registry.follow(settings, store)
    assert capsys.readouterr().err.endswith(
        "Its alias 'champion' stays where it is until `cnn-image deploy`.\n"
    )
    for look in (links.server, lambda settings: links.alias(settings, store)):
        with pytest.raises(FaultError, match="does not answer"):
            look(settings)

    server.start()
    registry.follow(settings, store)
    assert capsys.readouterr().err == ""
    assert named(client) == "2"
    assert client.get_run(unended).info.status == "FINISHED"  # what could not be told at its end


def test_a_failure_while_registering_leaves_the_run_as_it_ended(
    settings: Settings, store: Store, publish: Publish, client: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its files have no place that can be written from here."""
    run = trained(client, artifact_location="file:///proc/nowhere")
    registry.register(settings, store, publish(mlflow_run=run))
    said = capsys.readouterr().err
    assert "stores files at file:///proc/nowhere/" in said
    assert "ask its owner to let the server pass files on (`mlflow server --serve-artifacts`" in said
    assert said.count("\n") == 1
    assert client.get_run(run).info.status == "FINISHED"
    assert registry.registered(client, MODEL_NAME, store, 1) is None


def test_a_run_that_this_server_never_had_or_has_removed(
    settings: Settings, store: Store, publish: Publish, client: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    removed = trained(client)
    client.delete_run(removed)
    versions = publish(mlflow_run="0" * 32), publish(mlflow_run=removed)
    registry.register(settings, store, *versions)
    assert capsys.readouterr().err == ""
    runs = [registry.registered(client, MODEL_NAME, store, version).run_id for version in versions]
    assert removed not in runs
    assert [client.get_run(run).info.run_name for run in runs] == ["cnn-image-1", "cnn-image-2"]


def test_doctor_asks_for_all_that_is_used(
    settings: Settings, store: Store, publish: Publish, client: Any
) -> None:
    before = len(client.search_experiments()), len(client.search_model_versions(f"name = '{MODEL_NAME}'"))
    assert doctor._mlflow(settings).startswith(f"{settings.tracking_uri}: runs, files, ")
    after = len(client.search_experiments()), len(client.search_model_versions(f"name = '{MODEL_NAME}'"))
    assert after == before


def test_rights_that_are_missing(
    start: StartMlflow,
    store: Store,
    publish: Publish,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By MLflow's own basic-auth: no user, a wrong one, and one that may only read."""
    server = start(ASKS_FOR_A_USER, auth=True)
    settings = load_settings(mlflow_tracking_uri=server.uri, store=store.url, state=tmp_path / "var")
    with pytest.raises(MistakeError, match=r"\(401\): ask its owner for a user or a token"):
        links.server(settings)
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", USER)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
    run = trained(connect(server.uri))
    serve(store, publish(mlflow_run=run))
    registry.follow(settings, store)
    reader = {"username": "reader", "password": "reader-password"}
    made = httpx.post(
        f"{server.uri}/api/2.0/mlflow/users/create", json=reader, auth=(USER, PASSWORD), timeout=60
    )
    assert made.status_code == 200
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "reader")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "reader-password")
    refusal = "does not allow it (403): ask its owner for the right to make and edit the experiment and the"
    with pytest.raises(MistakeError) as caught:
        links.alias(settings, store)
    assert refusal in str(caught.value)
    assert capsys.readouterr().err == ""
    registry.register(settings, store, publish(mlflow_run=run))
    assert refusal in capsys.readouterr().err
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "wrong")
    with pytest.raises(MistakeError, match=r"\(401\): check MLFLOW_TRACKING_USERNAME and"):
        links.server(settings)
