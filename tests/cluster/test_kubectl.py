"""The product by `kubectl apply -f k8s/`, and the InferenceService by itself."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml
from cluster.kube import ROOT, Namespace, run, say, wait_for
from cluster.load import Load
from cluster.release import EXAMPLES
from cluster.store import TrialStore, next_class
from cluster.volumes import await_discarded, discard, seed_data

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1500)]

IMAGE = (EXAMPLES / "bird.jpg").read_bytes()
ANNOTATIONS = ("s3-endpoint=cnn-image-minio:9000", "s3-usehttps=0", "s3-region=us-east-1")


@pytest.fixture(scope="module")
def namespace() -> Iterator[Namespace]:
    """The namespace that k8s/ names, with the Secret and the claim that docs/kubernetes.md asks for."""
    fixed = Namespace("cnn-image")
    if run("kubectl", "get", "namespace", "cnn-image", "--ignore-not-found"):
        discard(fixed)
        await_discarded()
    run("kubectl", "apply", "-f", ROOT / "k8s" / "00-namespace.yaml")
    fixed.kubectl(
        *("create", "secret", "generic", "cnn-image-store"),
        *("--from-literal=AWS_ACCESS_KEY_ID=someone", "--from-literal=AWS_SECRET_ACCESS_KEY=a-long-password"),
    )
    annotations = [f"serving.kserve.io/{each}" for each in ANNOTATIONS]
    fixed.kubectl("annotate", "secret", "cnn-image-store", *annotations)
    yield fixed
    discard(fixed)


@pytest.fixture(scope="module")
def store(namespace: Namespace, versions: Path) -> Iterator[TrialStore]:
    """MinIO out of k8s/ with two versions, the first promoted."""
    run("kubectl", "apply", "-f", ROOT / "k8s" / "serviceaccounts.yaml", "-f", ROOT / "k8s" / "minio.yaml")
    with pytest.MonkeyPatch.context() as monkeypatch:
        filled = TrialStore(namespace, monkeypatch)
        filled.upload(versions)
        filled.promote(1)
        yield filled


def pods(namespace: Namespace) -> set[str]:
    found = [*namespace.pods("predictor"), *namespace.pods("transformer")]
    return {pod["metadata"]["uid"] for pod in found}


def outside(namespace: Namespace) -> str:
    """The service's address on this machine, by a Service of the test's own beside k8s/."""
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "outside"},
        "spec": {
            "type": "NodePort",
            "selector": {"app.kubernetes.io/name": "cnn-image", "app.kubernetes.io/component": "transformer"},
            "ports": [{"port": 80, "targetPort": 8080}],
        },
    }
    namespace.kubectl("apply", "-f", "-", stdin=json.dumps(service))
    return f"http://{namespace.outside('outside')}"


def ask(url: str) -> httpx.Response:
    """The first answer that is no failure; the node port is not open from the first moment."""

    def answered() -> httpx.Response | None:
        try:
            answer = httpx.post(f"{url}/predict", files={"file": ("bird.jpg", IMAGE)}, timeout=30)
        except httpx.TransportError:
            return None
        return answer if answer.status_code == 200 else None

    return wait_for(answered, "an answer", 60)


def test_applied_twice_with_a_promotion_between(namespace: Namespace, store: TrialStore) -> None:
    seed_data(namespace)
    say("kubectl apply -f k8s/")
    run("kubectl", "apply", "-f", ROOT / "k8s")
    deploy = next(name for name in namespace.names("job") if "cnn-image-deploy" in name).partition("/")[2]
    wait_for(lambda: namespace.job_end(deploy) == "Complete", "the deploy Job", 600)
    train = namespace.first_training()
    assert wait_for(lambda: namespace.job_end(train), "the training Job", 300) == "Complete"
    assert "promoted" in namespace.kubectl("logs", f"job/{train}", "-c", "cnn-image")
    url = outside(namespace)
    first = ask(url)
    assert first.headers["X-Model-Version"] == "1"
    namespace.job("promote", "promote", "2", "--override-gate", "a test")
    before = pods(namespace)
    with Load(url, IMAGE) as load:
        run("kubectl", "apply", "-f", ROOT / "k8s")
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            assert namespace.served_uri().endswith("/versions/000002")
            time.sleep(1)
    assert run("kubectl", "diff", "-f", ROOT / "k8s") == ""
    assert pods(namespace) == before
    assert load.answers.failures == []
    assert {version: set(classes) for version, classes in load.answers.classes.items()} == {
        "2": {next_class(first.json()["class_name"])}
    }


def test_the_inferenceservice_by_itself(namespace: Namespace, store: TrialStore) -> None:
    for kind in ("job", "cronjob", "configmap/cnn-image-inferenceservice", "isvc", "role", "rolebinding"):
        which = (kind,) if "/" in kind else (kind, "--all")
        namespace.kubectl("delete", *which, "--wait=true")
    # The old pods answer until they have drained.
    served_by = ("pods", "-l", "serving.kserve.io/inferenceservice=cnn-image")
    wait_for(lambda: not namespace.get(*served_by)["items"], "the end of the old pods", 120)
    manifest = Path(ROOT / "k8s" / "pinned" / "inferenceservice.yaml")
    kinds = {each["kind"] for each in yaml.safe_load_all(manifest.read_text()) if each}
    assert kinds == {"InferenceService", "Service", "ServiceAccount", "ServingRuntime"}
    run("kubectl", "apply", "-f", manifest)
    namespace.kubectl("wait", "--for=condition=Ready", "isvc/cnn-image", "--timeout=300s", seconds=310)
    url = outside(namespace)
    assert ask(url).headers["X-Model-Version"] == "1"
