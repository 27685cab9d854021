"""Retraining and promotion where the cluster fails them: pods die, no room, the store or a right is gone."""

import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cluster.kube import CHART, Namespace, run, say, wait_for
from cluster.load import Load
from cluster.release import EXAMPLES, ON_SAMPLE, Release, write_values
from cluster.store import TrialStore
from cluster.volumes import seed_data

from export.artifact import assemble
from export.graph.export import Graphs
from export.store.lineage import Lineage
from jobs.cluster.serving.preflight_job import VERSION_VARIABLE
from model.contract import FILTERS_MODEL_NAME, MODEL_NAME

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1500)]


@pytest.fixture(scope="module")
def release(namespace: Namespace, tmp_path_factory: pytest.TempPathFactory) -> Release:
    """The chart just installed; its first training has begun."""
    seed_data(namespace)
    # Fewer epochs leave a calibration error near the gate's limit.
    training = "training: {enabled: true, epochs: 8}"
    installed = Release(namespace, write_values(tmp_path_factory.mktemp("faults"), ON_SAMPLE, training))
    installed.helm("install", str(CHART), *installed.flags)
    return installed


@pytest.fixture(scope="module")
def store(release: Release) -> Iterator[TrialStore]:
    """The store in the release's MinIO."""
    with pytest.MonkeyPatch.context() as patch:
        yield TrialStore(release.namespace, patch)


def fresh_pod_says(namespace: Namespace, words: str, gone: Collection[str]) -> str | None:
    """The first training's pod that has said something; not one of those that are gone."""
    training = namespace.first_training()
    assert namespace.job_end(training) is None, f"the Job ended before {words!r}"
    for name in namespace.names("pods", "-l", f"job-name={training}"):
        pod = name.removeprefix("pod/")
        if pod not in gone and words in namespace.kubectl("logs", pod, check=False):
            return pod
    return None


def kill(namespace: Namespace, pod: str) -> None:
    """End a pod at once, as a node that is taken away does; its Job counts no failure."""
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}}
    eviction["deleteOptions"] = {"gracePeriodSeconds": 0}
    path = f"/api/v1/namespaces/{namespace.name}/pods/{pod}/eviction"
    run("kubectl", "create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))


def test_a_first_training_whose_pod_is_deleted_and_killed_serves_one_version(
    release: Release, store: TrialStore
) -> None:
    namespace = release.namespace
    # Deleted by hand, or with its node without an eviction: it is told to end, and no condition says why.
    killed = [wait_for(lambda: fresh_pod_says(namespace, "epoch 1/8", ()), "an epoch", 400)]
    say(f"deleting {killed[0]}")
    namespace.kubectl("delete", "pod", killed[0])
    goes_on = wait_for(lambda: fresh_pod_says(namespace, "goes on with epoch", killed), "the next pod", 120)
    assert goes_on != killed[0]
    # Gate, pre-flight, rollout. After each end Kubernetes waits twice as long, so another would cost 160 s. A
    # kill anywhere else is gone on from too, such as in the export: tests/jobs/pipeline/test_crashes.py.
    for words in ("Published as version 1", "Pre-flight: Job", "rolling out"):
        pod = wait_for(lambda words=words: fresh_pod_says(namespace, words, killed), repr(words), 400)  # type: ignore[misc]
        say(f"killing {pod}, which says {words!r}")
        kill(namespace, pod)
        killed.append(pod)
    training = namespace.first_training()
    assert wait_for(lambda: namespace.job_end(training), "the end of the training", 400) == "Complete"
    # A pod that is deleted, and then ends with 143, costs no retry either, though this Job has none.
    assert namespace.get("job", training)["status"].get("failed", 0) == 0
    assert store.store.numbers() == [1]
    assert [(entry.action, entry.version) for entry in store.store.ledger.entries()] == [("promote", 1)]
    assert namespace.served_uri().endswith("/versions/000001")
    assert release.ask().headers["X-Model-Version"] == "1"


def publish_copy(store: TrialStore, folder: Path, *, broken: bool = False) -> int:
    """Publish version 1 once more; `broken`: with an operator that no runtime knows."""
    import onnx

    original = store.store.manifest(1)
    fetched = store.store.fetch(1, folder)
    classifier, filters = (fetched / name / "1" / "model.onnx" for name in (MODEL_NAME, FILTERS_MODEL_NAME))
    if broken:
        graph = onnx.load(classifier)
        graph.graph.node[0].op_type = "Unheard"
        onnx.save(graph, classifier)
    lineage = Lineage(**{name: getattr(original, name) for name in Lineage.model_fields})
    published = store.store.publish(
        lambda number, place: assemble(Graphs(classifier, filters), lineage, number, place)
    )
    return published.version


def wait_for_preflight(namespace: Namespace, version: int) -> None:
    """Wait until the pod of a version's pre-flight is there."""
    asked = {"name": VERSION_VARIABLE, "value": str(version)}

    def there() -> bool:
        return any(asked in pod["spec"]["containers"][0]["env"] for pod in namespace.pods("preflight"))

    wait_for(there, "the pre-flight's pod", 120)


@contextmanager
def removed(namespace: Namespace, kind: str, name: str) -> Iterator[None]:
    """An object is gone while the block runs."""
    kept: Any = namespace.get(kind, name)
    namespace.kubectl("delete", kind, name)
    for field in ("resourceVersion", "uid", "creationTimestamp"):
        del kept["metadata"][field]
    try:
        yield
    finally:
        namespace.kubectl("create", "-f", "-", stdin=json.dumps(kept))


def test_a_candidate_that_triton_cannot_load_never_serves(
    release: Release, store: TrialStore, tmp_path: Path
) -> None:
    namespace, version = release.namespace, publish_copy(store, tmp_path, broken=True)
    entries = store.store.ledger.entries()
    said = namespace.job("broken", "promote", str(version), "--override-gate=a test", ok=False)
    assert f"The pre-flight refused version {version}: Triton cannot load cnn-image:" in said
    assert "Unheard" in said
    assert store.store.ledger.entries() == entries
    assert namespace.served_uri().endswith("/versions/000001")


def test_a_rollout_that_finds_no_room_is_taken_back(
    release: Release, store: TrialStore, tmp_path: Path
) -> None:
    namespace, version = release.namespace, publish_copy(store, tmp_path)
    with Load(release.url, (EXAMPLES / "cat.jpg").read_bytes()) as load:
        env = {"CNN_IMAGE_ROLLOUT_SECONDS": "40"}
        namespace.create_job("no-room", "promote", str(version), "--override-gate=a test", env=env)
        wait_for_preflight(namespace, version)
        # The pods that are there may stay, the pre-flight's aside; the new version's finds no room.
        running = [
            pod
            for pod in namespace.get("pods")["items"]
            if pod["status"]["phase"] not in {"Succeeded", "Failed"}
        ]
        namespace.kubectl("create", "quota", "full", f"--hard=pods={len(running) - 1}")
        try:
            assert wait_for(lambda: namespace.job_end("no-room"), "the end", 300) == "Failed"
        finally:
            namespace.kubectl("delete", "quota", "full")
    (pod,) = namespace.get("pods", "-l", "job-name=no-room")["items"]
    ended = pod["status"]["containerStatuses"][0]["state"]["terminated"]
    assert ended["exitCode"] == 5, ended
    assert f"Version {version} failed; version 1 serves again" in ended["message"]
    entries = [(entry.action, entry.version) for entry in store.store.ledger.entries()]
    assert entries[-2:] == [("promote", version), ("return", 1)]
    assert namespace.served_uri().endswith("/versions/000001")
    assert load.answers.failures == []
    assert set(load.answers.versions) == {"1"}


def test_a_promotion_outlasts_a_store_that_goes_away(
    release: Release, store: TrialStore, tmp_path: Path
) -> None:
    namespace, version = release.namespace, publish_copy(store, tmp_path)
    minio = "deployment/cnn-image-minio"
    with Load(release.url, (EXAMPLES / "cat.jpg").read_bytes()) as load:
        namespace.create_job("store-away", "promote", str(version), "--override-gate=a test", retries=3)
        wait_for_preflight(namespace, version)
        namespace.kubectl("scale", minio, "--replicas=0")
        try:
            wait_for(lambda: namespace.get("job", "store-away")["status"].get("failed"), "a failed try", 400)
        finally:
            namespace.kubectl("scale", minio, "--replicas=1")
            namespace.kubectl("rollout", "status", minio, "--timeout=120s")
        assert wait_for(lambda: namespace.job_end("store-away"), "the end", 400) == "Complete"
    assert store.store.ledger.served() == version
    assert namespace.served_uri().endswith(f"/versions/{version:06d}")
    assert load.answers.failures == []
    assert set(load.answers.versions) == {"1", str(version)}


def test_a_missing_right_is_named(release: Release) -> None:
    namespace = release.namespace
    with removed(namespace, "rolebinding", "cnn-image-jobs"):
        said = namespace.job("no-right", "deploy", ok=False)
    account = f"system:serviceaccount:{namespace.name}:cnn-image-jobs"
    assert f"{account} lacks the right to" in said
    assert "grant it as the chart's Role cnn-image-jobs does" in said
    assert "is served" in namespace.job("right-again", "deploy")
