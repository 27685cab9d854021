"""Fixtures that several rooms share, and what the tests as a whole are told and say."""

import shutil
import signal
from collections.abc import Iterator

import pytest
from serving import (
    RunningTransformer,
    RunningTriton,
    SmallModel,
    StartTransformer,
    StartTriton,
    transformers,
    tritons,
    write_filters_model,
)

from model.data.remote.proxies import leave_this_machine_out

PROGRAMS = (
    "wrk",
    "vegeta",
    "nginx",
    "haproxy",
    "curl",
    "javac",
    "go",
    "node",
    "chromium",
    "grpcurl",
    "grpc-health-probe",
)

pytest_plugins = ["minio_server", "side_by_side"]


def pytest_configure() -> None:
    """Let Ctrl-C reach what tests start, and let them ask it without the proxy of the machine they run on.

    A shell's background job ignores SIGINT, and its children inherit that.
    """
    leave_this_machine_out()
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header() -> list[str]:
    """The programs that some tests need beside the locked packages; a skip's reason says how to get one."""
    from minio_server import installed_minio  # a plugin, which pytest imports itself after this file

    minio = installed_minio() or (
        "missing, built by go once (four minutes on two cores)" if shutil.which("go") else "missing"
    )
    others = (f"{name}: {shutil.which(name) or 'missing'}" for name in PROGRAMS)
    return [f"minio: {minio}", *others]


@pytest.fixture
def start_triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartTriton]:
    """Starts real Tritons that end with the test. Only for tests marked slow."""
    with tritons(tmp_path_factory.mktemp("triton")) as start:
        yield start


@pytest.fixture(scope="session")
def small_model() -> SmallModel:
    """Version 7 of a model with the contract's signature."""
    return SmallModel(7)


@pytest.fixture(scope="session")
def small_triton(
    small_model: SmallModel, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningTriton]:
    """A real Triton that serves `small_model`, shared by the session: leave it as it is."""
    repository = tmp_path_factory.mktemp("repository")
    small_model.write(repository)
    write_filters_model(repository, small_model)
    with tritons(tmp_path_factory.mktemp("triton")) as start:
        yield start(repository)


@pytest.fixture
def start_transformer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartTransformer]:
    """Starts real transformers that end with the test. Only for tests marked slow."""
    with transformers(tmp_path_factory.mktemp("transformer")) as start:
        yield start


@pytest.fixture(scope="session")
def transformer(
    small_triton: RunningTriton, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningTransformer]:
    """A transformer in front of `small_triton`, shared by the session: leave both as they are."""
    with transformers(tmp_path_factory.mktemp("transformer")) as start:
        yield start(small_triton.address)
