"""Versions in a namespace's MinIO without a training Job: made once on this machine, then uploaded."""

import base64
from pathlib import Path

import boto3
from cluster.kube import ROOT, Namespace, run, say, wait_for

from export.store import Store, open_store

BUCKET, PREFIX = "cnn-image", "store"


def make_versions(folder: Path, count: int) -> Path:
    """Train so many versions of one epoch on the sample; different seeds, so that they answer differently."""
    say(f"making {count} versions on this machine")
    for seed in range(count):
        run(
            *(
                "env",
                "CNN_IMAGE_RECIPE=quick",
                f"CNN_IMAGE_STATE={folder}/state",
                f"CNN_IMAGE_STORE={folder}/store",
            ),
            *(ROOT / ".venv/bin/cnn-image", "retrain", "--data=sample", "--epochs=1", "--batch-size=256"),
            *(f"--seed={seed}", "--no-promote"),
            seconds=600,
        )
    return folder / "store"


class TrialStore:
    """The store in a namespace's MinIO, reached from this machine through a node port."""

    def __init__(self, namespace: Namespace, monkeypatch: object) -> None:
        namespace.kubectl("apply", "-f", "-", stdin=_NODE_PORT)
        secret = namespace.get("secret", "cnn-image-store")["data"]
        port = namespace.get("service", "minio-outside")["spec"]["ports"][0]["nodePort"]
        environment = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_DEFAULT_REGION": "us-east-1",
            **{name: base64.b64decode(value).decode() for name, value in secret.items()},
        }
        for name, value in environment.items():
            monkeypatch.setenv(name, value)  # type: ignore[attr-defined]
        namespace.kubectl("rollout", "status", "deployment/cnn-image-minio", "--timeout=120s")
        # A session of its own: the default one keeps the credentials of the first namespace.
        self.s3 = boto3.session.Session().client("s3")
        wait_for(self._bucket, "the bucket", 60)
        self.store: Store = open_store(f"s3://{BUCKET}/{PREFIX}")

    def _bucket(self) -> bool:
        try:
            self.s3.create_bucket(Bucket=BUCKET)
        except self.s3.exceptions.BucketAlreadyOwnedByYou:
            return True
        except Exception as error:  # MinIO is still coming up behind the node port
            say(f"waiting for MinIO: {error}")
            return False
        return True

    def upload(self, versions: Path) -> None:
        """Put a folder's versions there as they are."""
        for file in versions.rglob("*"):
            if file.is_file():
                key = f"{PREFIX}/{file.relative_to(versions)}"
                self.s3.put_object(Bucket=BUCKET, Key=key, Body=file.read_bytes())

    def promote(self, version: int) -> None:
        """Say in the ledger that a version is to be served."""
        self.store.ledger.record(
            "promote", version, by="test", reason="a test", after=len(self.store.ledger.entries())
        )


_NODE_PORT = """
apiVersion: v1
kind: Service
metadata: {name: minio-outside}
spec:
  type: NodePort
  selector: {app.kubernetes.io/name: cnn-image, app.kubernetes.io/component: minio}
  ports: [{port: 9000, targetPort: 9000}]
"""
