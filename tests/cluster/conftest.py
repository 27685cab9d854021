"""A Kubernetes with KServe (KUBECONFIG), our images on it, a fresh namespace with data for each module.

Beside the repository the shared test cluster may lie; images are then built and loaded by it. With any other
cluster they are expected to be there: `make images`, then a registry, kind or k3d (docs/kubernetes.md).
"""

import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster.kube import ROOT, Namespace, run, say

CLUSTER = ROOT.parent / "shared" / "cluster" / "cluster"
DATA = ROOT.parent / "shared" / "data" / "cifar10-jpeg.tar.xz"
TRAIN_IMAGE = os.environ.get("TRAIN_IMAGE", "cnn-image-train:0.1.0")


@pytest.fixture(scope="session", autouse=True)
def cluster() -> None:
    """A cluster that answers, with our images."""
    if CLUSTER.exists() and "KUBECONFIG" not in os.environ:
        for line in run(CLUSTER, "env").splitlines():
            for word in line.removeprefix("export ").split():
                name, _, value = word.partition("=")
                os.environ[name] = value.replace("$PATH", os.environ["PATH"])
    for program in ("kubectl", "helm"):
        if shutil.which(program) is None:
            pytest.fail(f"{program} is not on the PATH; the cluster tests need it.")
    run("kubectl", "get", "crd", "inferenceservices.serving.kserve.io", seconds=30)
    if CLUSTER.exists() and os.environ.get("IMAGES") != "loaded":
        say("building and loading the images (IMAGES=loaded skips this)")
        environment = {**os.environ, "BUILD_COMMAND": f"{CLUSTER} image"}
        subprocess.run([ROOT / "images" / "build", "train", "transformer"], env=environment, check=True)


@pytest.fixture(scope="module")
def namespace(request: pytest.FixtureRequest) -> Iterator[Namespace]:
    """A fresh namespace under restricted pod security; removed with all that is in it."""
    word = request.module.__name__.rpartition("test_")[2].replace("_", "-")
    fresh = Namespace(f"test-{word}-{secrets.token_hex(2)}")
    say(f"namespace {fresh.name}")
    run("kubectl", "create", "namespace", fresh.name)
    run(
        *("kubectl", "label", "namespace", fresh.name),
        *("pod-security.kubernetes.io/enforce=restricted", "pod-security.kubernetes.io/warn=restricted"),
    )
    yield fresh
    if request.session.testsfailed and os.environ.get("KEEP"):
        say(f"{fresh.name} is kept (KEEP is set)")
        return
    run("kubectl", "delete", "namespace", fresh.name, "--wait=true", "--timeout=180s", seconds=200)
    _free_volumes(fresh.name)


@pytest.fixture(scope="module")
def data(namespace: Namespace) -> str:
    """A volume claim with CIFAR-10; returns its name."""
    return seed_data(namespace)


def seed_data(namespace: Namespace, claim: str = "cifar10") -> str:
    """Make a claim and put the archive there, through a pod."""
    if not DATA.exists():
        pytest.skip(f"no CIFAR-10 at {DATA}")
    namespace.kubectl("apply", "-f", "-", stdin=_SEED.format(claim=claim, image=TRAIN_IMAGE))
    namespace.kubectl("wait", "--for=condition=Ready", "pod/seed", "--timeout=120s")
    put = ("exec", "-i", "seed", "--", "sh", "-c", "cat > /data/cifar10.tar.xz")
    namespace.kubectl(*put, stdin=DATA.read_bytes())
    namespace.kubectl("delete", "pod", "seed", "--grace-period=0", "--force")
    return claim


_SEED = """
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: {claim}}}
spec:
  accessModes: [ReadWriteOnce]
  resources: {{requests: {{storage: 1Gi}}}}
---
apiVersion: v1
kind: Pod
metadata: {{name: seed}}
spec:
  restartPolicy: Never
  securityContext:
    {{runAsNonRoot: true, runAsUser: 1000, fsGroup: 1000, seccompProfile: {{type: RuntimeDefault}}}}
  containers:
    - name: seed
      image: {image}
      imagePullPolicy: IfNotPresent
      command: [sleep, "600"]
      securityContext: {{allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}}}
      volumeMounts: [{{name: data, mountPath: /data}}]
  volumes: [{{name: data, persistentVolumeClaim: {{claimName: {claim}}}}}]
"""


def _free_volumes(namespace: str) -> None:
    """Empty this machine's local volumes that the namespace had, so that the next claim finds one."""
    if not CLUSTER.exists():
        return
    for volume in json.loads(run("kubectl", "get", "pv", "-o", "json"))["items"]:
        folder = Path(volume["spec"].get("local", {}).get("path", "/nowhere"))
        if volume["spec"].get("claimRef", {}).get("namespace") == namespace and folder.is_dir():
            for entry in folder.iterdir():
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
            free = '[{"op": "remove", "path": "/spec/claimRef"}]'
            run("kubectl", "patch", "pv", volume["metadata"]["name"], "--type=json", "-p", free)
