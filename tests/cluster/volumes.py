"""Namespaces with training data in a volume, and what becomes of their volumes afterwards."""

import fcntl
import io
import json
import os
import shutil
import tarfile
import tempfile
from pathlib import Path

from cluster.kube import CLUSTER, ROOT, Namespace, run

SAMPLE = ROOT / "model" / "sample" / "cifar10-sample.zip"
TRAIN_IMAGE = os.environ.get("TRAIN_IMAGE", "cnn-image-train:0.1.0")


def seed_data(namespace: Namespace) -> None:
    """Make the claim cifar10 and put the sample there; it is in CIFAR-10's official layout."""
    _seed(namespace, "cifar10", "cat > /data/cifar10.zip", SAMPLE.read_bytes())


def seed_folder(namespace: Namespace, claim: str, folder: Path) -> None:
    """Make a claim and put what is in a folder there."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for entry in sorted(
            folder.iterdir()
        ):  # not the folder itself: the volume's own is not ours to change
            tar.add(entry, arcname=entry.name)
    _seed(namespace, claim, "tar -xf - -C /data", packed.getvalue())


def _seed(namespace: Namespace, claim: str, command: str, data: bytes) -> None:
    """Make a claim and fill it through a pod, by a command that reads the data."""
    namespace.kubectl("apply", "-f", "-", stdin=_SEED.format(image=TRAIN_IMAGE, claim=claim))
    try:
        namespace.kubectl("wait", "--for=condition=Ready", "pod/seed", "--timeout=120s")
    except AssertionError as late:
        events = namespace.kubectl("get", "events", "--sort-by=.lastTimestamp")
        raise AssertionError(f"{late}\n{events[-3000:]}") from late
    namespace.kubectl("exec", "-i", "seed", "--", "sh", "-c", command, stdin=data)
    namespace.kubectl("delete", "pod", "seed", "--grace-period=0", "--force")


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


_leaving: list[Namespace] = []


def discard(namespace: Namespace) -> None:
    """Begin to remove a namespace with all that is in it; `await_discarded` waits for its end."""
    run("kubectl", "delete", "namespace", namespace.name, "--wait=false")
    _leaving.append(namespace)


def await_discarded(seconds: float = 300) -> None:
    """Wait for the end of the namespaces that were discarded, and make their volumes usable again."""
    for namespace in _leaving:
        deleted = ("--for=delete", f"namespace/{namespace.name}", f"--timeout={seconds:g}s")
        run("kubectl", "wait", *deleted, seconds=seconds + 10)
    _leaving.clear()
    free_volumes()


def free_volumes() -> None:
    """Empty this machine's local volumes whose claims are gone, so that the next claims find one.

    The cluster has twenty, and all files together ask for more. Of the session's workers one at a time does
    it: a volume that another has freed may hold somebody's new data already.
    """
    if not CLUSTER.exists():
        return
    with (Path(tempfile.gettempdir()) / "cnn-image-volumes.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for volume in json.loads(run("kubectl", "get", "pv", "-o", "json"))["items"]:
            folder = Path(volume["spec"].get("local", {}).get("path", "/nowhere"))
            claim = volume["spec"].get("claimRef", {}).get("namespace", "")
            released = volume["status"]["phase"] == "Released" and claim.startswith("test-")
            if released and folder.is_dir():
                for entry in folder.iterdir():
                    shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
                free = '[{"op": "remove", "path": "/spec/claimRef"}]'
                run("kubectl", "patch", "pv", volume["metadata"]["name"], "--type=json", "-p", free)
