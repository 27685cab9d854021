"""Versions in a namespace's MinIO without a training Job: made once on this machine, then uploaded."""

import base64
import shutil
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import boto3
import numpy as np
from cluster.kube import Namespace, say, wait_for

from export.artifact import assemble
from export.graph.export import Graphs
from export.store.lineage import DataLineage, Lineage
from export.store.versions import KNOWN, Store, open_store
from jobs.known import make_known
from model.contract import CLASSES, FILTERS_MODEL_NAME, MODEL_NAME, Contract
from model.data.dataset import Split
from model.data.sources import load_sample
from model.images.decode import DECODER_VERSION

BUCKET, PREFIX = "cnn-image", "store"


def next_class(name: str) -> str:
    """What version 2 of `make_versions` answers where version 1 answers `name`."""
    return CLASSES[(CLASSES.index(name) + 1) % len(CLASSES)]


def make_versions(folder: Path) -> Path:
    """Publish two versions to a folder's store: one trained for an epoch, and one with its answers moved on.

    The first is what `EPOCHS=1 BATCH_SIZE=256 cnn-image retrain --data=sample` makes. The second is the same
    network with the classes of its last layer moved on by one, so that it never gives the first one's answer.
    """
    from export.graph.export import export_graphs
    from export.graph.parity import prove
    from model.training.train import QUICK, train

    say("making two versions on this machine")
    sample = load_sample()
    trained = train(sample, QUICK.override(epochs=1, batch_size=256), run_dir=folder / "run")
    last = trained.network.get_layer("logits")
    store = open_store(str(folder / "store"))
    for moved in range(2):
        last.set_weights([np.roll(weights, moved, axis=-1) for weights in last.get_weights()])
        graphs = export_graphs(trained.network, trained.temperature, folder / f"graphs-{moved}")
        parity, filters_parity = prove(trained.network, trained.temperature, graphs, sample.test.images[:256])
        lineage = Lineage(
            created=datetime.now(UTC),
            created_by="test",
            metrics={
                name: trained.metrics[name] for name in ("accuracy", "val_accuracy", "loss", "val_loss")
            },
            data=DataLineage(digest=sample.digest, source=sample.source, kind=sample.kind),
            commit="a-test",
            mlflow_run=None,
            recipe=asdict(trained.recipe),
            seed=trained.seed,
            temperature=trained.temperature,
            parity=parity,
            filters_parity=filters_parity,
            decoder_version=DECODER_VERSION,
        )
        store.publish(partial(assemble, graphs, lineage))
    return folder / "store"


def made_another(versions: Path, folder: Path, contract: Contract) -> Path:
    """A folder's store with one version: the first of `versions`, by other names of model and classes."""
    theirs = open_store(str(versions))
    original = theirs.manifest(1)
    place = theirs.fetch(1, folder)
    graphs = Graphs(place / MODEL_NAME / "1" / "model.onnx", place / FILTERS_MODEL_NAME / "1" / "model.onnx")
    fields = {name: getattr(original, name) for name in Lineage.model_fields}
    lineage = Lineage(**fields | {"contract": contract})
    known = {KNOWN: make_known(load_sample().test)}
    open_store(str(folder / "store")).publish(partial(assemble, graphs, lineage), known)
    return folder / "store"


def made_larger(versions: Path, folder: Path) -> Path:
    """A folder's store with version 3 beside `versions`: ten classes at 64 pixels, and nothing learned.

    The first five classes are those of the others.
    """
    from export.graph.export import export_graphs
    from export.graph.parity import prove
    from model.network.cnn import build_network

    contract = Contract(classes=(*CLASSES, "frog", "horse", "ship", "truck", "deer"), size=64)
    network = build_network(3, contract)
    last = network.get_layer("logits")
    # As it comes, it answers all pictures nearly alike.
    last.set_weights([30 * weights for weights in last.get_weights()])
    graphs = export_graphs(network, 1.0, folder / "graphs", contract)
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (64, *contract.image_shape), np.uint8)
    parity, filters_parity = prove(network, 1.0, graphs, images, contract)
    shutil.copytree(versions, folder / "store")
    store = open_store(str(folder / "store"))
    fields = {name: getattr(store.manifest(1), name) for name in Lineage.model_fields}
    own = {"contract": contract, "parity": parity, "filters_parity": filters_parity}
    known = {KNOWN: make_known(Split(images, np.arange(len(images)) % 10, contract.classes))}
    store.publish(partial(assemble, graphs, Lineage(**fields | own)), known)
    return folder / "store"


@dataclass(frozen=True)
class Stored:
    """A version of a folder's store, as the load of every kind takes it."""

    store: Path
    version: int

    @property
    def contract(self) -> Contract:
        """What it takes and answers."""
        return open_store(str(self.store)).manifest(self.version).contract

    def write(self, folder: Path) -> None:
        """Writes it as a whole Triton repository."""
        shutil.copytree(self.store / "versions" / f"{self.version:06d}", folder)


class TrialStore:
    """A store in a namespace's MinIO, reached from this machine through a node port."""

    def __init__(self, namespace: Namespace, monkeypatch: object, prefix: str = PREFIX) -> None:
        self._prefix = prefix
        namespace.kubectl("apply", "-f", "-", stdin=_NODE_PORT)
        secret = namespace.get("secret", "cnn-image-store")["data"]
        environment = {
            "AWS_ENDPOINT_URL": f"http://{namespace.outside('minio-outside')}",
            "AWS_DEFAULT_REGION": "us-east-1",
            **{name: base64.b64decode(value).decode() for name, value in secret.items()},
        }
        for name, value in environment.items():
            monkeypatch.setenv(name, value)  # type: ignore[attr-defined]
        namespace.kubectl("rollout", "status", "deployment/cnn-image-minio", "--timeout=120s")
        # A session of its own: the default one keeps the credentials of the first namespace.
        self.s3 = boto3.session.Session().client("s3")
        wait_for(self._bucket, "the bucket", 60)
        self.store: Store = open_store(f"s3://{BUCKET}/{prefix}")

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
                key = f"{self._prefix}/{file.relative_to(versions)}"
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
