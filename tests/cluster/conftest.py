"""A Kubernetes with KServe (KUBECONFIG), our images on it, fresh namespaces, a service for several modules.

Beside the repository the shared test cluster may lie; images are then built and loaded by it. With any other
cluster they are expected to be there: `make images`, then a registry, kind or k3d (docs/kubernetes.md).
"""

import fcntl
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cluster import kube
from cluster.kube import CLUSTER, ROOT, Namespace, run, say
from cluster.release import TWO, Release, write_values
from cluster.store import TrialStore, make_versions
from cluster.volumes import await_discarded, discard, free_volumes


@pytest.fixture(scope="session", autouse=True)
def shown(request: pytest.FixtureRequest) -> None:
    """Progress is shown while it happens, though pytest captures what tests print."""
    capture = request.config.pluginmanager.getplugin("capturemanager")

    def write(line: str) -> None:
        with capture.global_and_fixture_disabled():
            sys.stderr.write(f"\n{line}")

    kube.progress.write = write  # type: ignore[method-assign]


@pytest.fixture(scope="session", autouse=True)
def cluster(shown: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cluster that answers, with our images."""
    if CLUSTER.exists() and "KUBECONFIG" not in os.environ:
        for line in run(CLUSTER, "env").splitlines():
            for word in line.removeprefix("export ").split():
                name, _, value = word.partition("=")
                os.environ[name] = value.replace("$PATH", os.environ["PATH"])
    for name in ("kubectl", "helm"):
        if shutil.which(name) is None:
            pytest.fail(f"{name} is not on the PATH; the cluster tests need it.")
    run("kubectl", "get", "crd", "inferenceservices.serving.kserve.io", seconds=30)
    if CLUSTER.exists() and os.environ.get("IMAGES") != "loaded":
        build_images(tmp_path_factory.getbasetemp())
    yield
    await_discarded()


def build_images(folder: Path) -> None:
    """Build and load all images; of the session's workers one does, and the others wait for it.

    Args:
        folder: Of this worker; the one above it is the session's, where there are workers.
    """
    shared = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    with (shared / "images.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / "images").exists():
            say("building and loading the images (IMAGES=loaded skips this)")
            environment = {**os.environ, "BUILD_COMMAND": f"{CLUSTER} image"}
            subprocess.run([ROOT / "images" / "build"], env=environment, check=True)
            (shared / "images").touch()


@contextmanager
def fresh_namespace(word: str, session: pytest.Session) -> Iterator[Namespace]:
    """A fresh namespace under restricted pod security; removed with all that is in it."""
    free_volumes()
    fresh = Namespace(f"test-{word}-{secrets.token_hex(2)}")
    say(f"namespace {fresh.name}")
    run("kubectl", "create", "namespace", fresh.name)
    run(
        *("kubectl", "label", "namespace", fresh.name),
        *("pod-security.kubernetes.io/enforce=restricted", "pod-security.kubernetes.io/warn=restricted"),
    )
    try:
        yield fresh
    finally:
        if session.testsfailed and os.environ.get("KEEP"):
            say(f"{fresh.name} is kept (KEEP is set)")
        else:
            discard(fresh)


@pytest.fixture(scope="module")
def namespace(request: pytest.FixtureRequest) -> Iterator[Namespace]:
    """A namespace for the module."""
    word = request.module.__name__.rpartition("test_")[2].replace("_", "-")
    with fresh_namespace(word, request.session) as fresh:
        yield fresh


@pytest.fixture(scope="session")
def versions(cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder's store with two versions that answer differently."""
    return make_versions(tmp_path_factory.mktemp("versions"))


@pytest.fixture(scope="session")
def serving(
    request: pytest.FixtureRequest, versions: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Release]:
    """The chart with its MinIO and two versions in it, the first promoted; two replicas of each component.

    Shared by the session: a test leaves it as it was.
    """
    values = write_values(tmp_path_factory.mktemp("serving"), TWO)
    with fresh_namespace("serving", request.session) as namespace, pytest.MonkeyPatch.context() as patch:
        release = Release(namespace, values)
        release.install()
        store = TrialStore(namespace, patch)
        store.upload(versions)
        store.promote(1)
        say("deploying version 1")
        namespace.job("first", "deploy")
        yield release
