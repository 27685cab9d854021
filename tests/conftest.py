"""Fixtures that several rooms share, and what the tests as a whole are told and say."""

import shutil
from collections.abc import Iterator

import pytest
from minio_server import installed_minio
from serving import (
    RunningTransformer,
    RunningTriton,
    SmallModel,
    StartTransformer,
    StartTriton,
    transformer_starter,
    triton_starter,
)

pytest_plugins = ["minio_server"]


def pytest_report_header() -> list[str]:
    """The programs that some tests need beside the locked packages; a skip's reason says how to get one."""
    minio = installed_minio() or (
        "missing, built by go once (four minutes on two cores)" if shutil.which("go") else "missing"
    )
    others = (f"{name}: {shutil.which(name) or 'missing'}" for name in ("wrk", "vegeta"))
    return [f"minio: {minio}", *others]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Side by side, what shares a fixture that trains stays on one worker, and so does a file.

    The longest go first, so that none of them is begun while the other workers have nothing left to do.
    """
    trains = ("laptop", "served")

    def group(item: pytest.Item) -> str:
        shared = [name for name in trains if name in getattr(item, "fixturenames", ())]
        return shared[0] if shared else item.nodeid.partition("::")[0]

    for item in items:
        item.add_marker(pytest.mark.xdist_group(group(item)))
    items.sort(key=lambda item: group(item) not in trains)


@pytest.fixture(scope="session")
def start_triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartTriton]:
    """Starts real Tritons; all are ended after the session. Only for tests marked slow."""
    started: list[RunningTriton] = []
    yield triton_starter(tmp_path_factory.mktemp("triton"), started)
    for running in started:
        running.stop()


@pytest.fixture(scope="session")
def small_model() -> SmallModel:
    """Version 7 of a model with the contract's signature."""
    return SmallModel(7)


@pytest.fixture(scope="session")
def small_triton(
    start_triton: StartTriton, small_model: SmallModel, tmp_path_factory: pytest.TempPathFactory
) -> RunningTriton:
    """A real Triton that serves `small_model`, shared by the session: leave it as it is."""
    repository = tmp_path_factory.mktemp("repository")
    small_model.write(repository)
    return start_triton(repository)


@pytest.fixture(scope="session")
def start_transformer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartTransformer]:
    """Starts real transformers; all are ended after the session. Only for tests marked slow."""
    started: list[RunningTransformer] = []
    yield transformer_starter(tmp_path_factory.mktemp("transformer"), started)
    for running in started:
        running.stop()


@pytest.fixture(scope="session")
def transformer(start_transformer: StartTransformer, small_triton: RunningTriton) -> RunningTransformer:
    """A transformer in front of `small_triton`, shared by the session: leave both as they are."""
    return start_transformer(small_triton.address)
