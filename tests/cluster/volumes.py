"""Namespaces with training data in a volume, and what becomes of their volumes afterwards."""

import json
import os
import shutil
from pathlib import Path

import pytest
from cluster.kube import CLUSTER, DATA, Namespace, run

TRAIN_IMAGE = os.environ.get("TRAIN_IMAGE", "cnn-image-train:0.1.0")


def seed_data(namespace: Namespace, claim: str = "cifar10", archive: Path = DATA) -> str:
    """Make a claim and put an archive there, through a pod, as cifar10.tar.xz."""
    if not archive.exists():
        pytest.skip(f"no CIFAR-10 at {archive}")
    namespace.kubectl("apply", "-f", "-", stdin=_SEED.format(claim=claim, image=TRAIN_IMAGE))
    namespace.kubectl("wait", "--for=condition=Ready", "pod/seed", "--timeout=120s")
    put = ("exec", "-i", "seed", "--", "sh", "-c", "cat > /data/cifar10.tar.xz")
    namespace.kubectl(*put, stdin=archive.read_bytes())
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


def discard(namespace: Namespace) -> None:
    """Remove a namespace with all that is in it, and make its volumes usable again."""
    run("kubectl", "delete", "namespace", namespace.name, "--wait=true", "--timeout=180s", seconds=200)
    _free_volumes(namespace.name)


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
