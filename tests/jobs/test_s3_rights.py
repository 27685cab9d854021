"""The two policies that docs/kubernetes.md asks a bucket's owner for: enough, and not one right too many."""

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from minio_server import Minio

from export.errors import AbsentError, AccessError
from export.store.lease import Lease
from export.store.versions import Store, open_store
from jobs.gate.attached import attach_verdict, last_verdict
from jobs.gate.judge import judging
from jobs.pipeline.upkeep import prune
from jobs.promotion.promote import promote
from jobs.store_doctor import store_links

pytestmark = pytest.mark.slow

TEXT = (Path(__file__).parents[2] / "docs" / "kubernetes.md").read_text()
JOBS, PREDICTOR = (json.loads(block) for block in re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL))

Statements = list[dict[str, Any]]


def statements(policy: dict[str, Any], bucket: str, without: str = "") -> Statements:
    """A documented policy's, for another bucket, less one right."""
    found: Statements = json.loads(
        json.dumps(policy["Statement"]).replace("arn:aws:s3:::models", f"arn:aws:s3:::{bucket}")
    )
    for statement in found:
        statement["Action"] = [action for action in statement["Action"] if action != without]
    return [statement for statement in found if statement["Action"]]


@pytest.fixture
def name(bucket: str) -> str:
    return bucket.removeprefix("s3://")


@pytest.fixture
def become(name: str, minio: Minio, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Store]:
    """Opens the store with the rights of a documented policy, less one."""

    def become(policy: dict[str, Any], without: str = "") -> Store:
        for variable, value in minio.session(*statements(policy, name, without)).items():
            monkeypatch.setenv(variable, value)
        return open_store(f"s3://{name}/cnn-image")

    return become


def work(store: Store, deployer: Any, build: Any, verdict: Any, folder: Path) -> None:
    """What the jobs do with the store: three versions published, judged, promoted, and the first pruned."""
    for number in (1, 2, 3):
        served = store.ledger.served()
        with Lease(store.blobs, "retrain", holder="me") as lease:
            assert store.publish(build).version == number
            with Lease(store.blobs, judging(number), holder="me"):
                # Of the three the last is the best, and the second what a rollback goes to.
                attach_verdict(store, verdict(number, 0.7 + number / 100), {})
            lease.check()
            promote(store, deployer, number, judged_against=served, decoder="1", by="me", reason="why")
    assert prune(store, folder, keep=1) == [1]
    assert store.numbers() == [2, 3]
    assert last_verdict(store, 3) is not None
    store.verify(3)
    with pytest.raises(AbsentError):
        store.manifest(1)


def test_the_policy_of_the_jobs_is_enough(
    become: Callable[..., Store], deployer: Any, build: Any, verdict: Any, tmp_path: Path
) -> None:
    store = become(JOBS)
    work(store, deployer, build, verdict, tmp_path)
    links = store_links(store)
    assert links["store, writing"]().endswith("an object was written, read, replaced, listed and removed")
    assert "s3:GetBucketObjectLockConfiguration" in links["store, lock"]()


@pytest.mark.parametrize("right", ["s3:ListBucket", "s3:GetObject", "s3:PutObject", "s3:DeleteObject"])
def test_each_right_of_the_jobs_is_needed_and_named_where_it_is_missing(
    become: Callable[..., Store], deployer: Any, build: Any, verdict: Any, tmp_path: Path, right: str
) -> None:
    store = become(JOBS, without=right)
    with pytest.raises(AccessError, match=f"allow it in their policy: {right} on"):
        work(store, deployer, build, verdict, tmp_path)


def test_nothing_but_versions_can_be_removed(become: Callable[..., Store], build: Any) -> None:
    store = become(JOBS)
    store.publish(build)
    store.ledger.record("promote", 1, by="me", reason="why", after=0)
    store.classes.learn(["truck"], by="me")
    for key in ("claims/000001", "ledger/000001.json", "classes/000001.json"):
        with pytest.raises(AccessError, match="s3:DeleteObject"):
            store.blobs.delete(key)


def download(bucket: str, prefix: str) -> dict[str, bytes]:
    """What KServe 0.20's storage initializer asks for (kserve_storage.py, _download_s3), in its order."""
    s3 = boto3.session.Session().resource("s3")
    s3.meta.client.head_bucket(Bucket=bucket)
    found = {}
    for item in s3.Bucket(bucket).objects.filter(Prefix=prefix):
        s3.meta.client.head_object(Bucket=bucket, Key=item.key)
        found[item.key.removeprefix(f"{prefix}/")] = item.get()["Body"].read()
    return found


def test_the_policy_of_the_predictor_reads_versions_and_no_more(
    become: Callable[..., Store], name: str, build: Any
) -> None:
    store = become(JOBS)
    manifest = store.publish(build)
    store.attach(1, "verdict-001.json", b"{}")
    store = become(PREDICTOR)
    assert download(name, "cnn-image/versions/000001").keys() == {*manifest.files, "manifest.json"}
    with pytest.raises(AccessError, match="s3:GetObject"):
        store.attachment(1, "verdict-001.json")
    with pytest.raises(AccessError, match="s3:PutObject"):
        store.blobs.put_if_absent("versions/000002/manifest.json", b"")
    with pytest.raises(AccessError, match="s3:DeleteObject"):
        store.blobs.delete("versions/000001/manifest.json")


@pytest.mark.parametrize("right", ["s3:ListBucket", "s3:GetObject"])
def test_each_right_of_the_predictor_is_needed(
    become: Callable[..., Store], name: str, build: Any, right: str
) -> None:
    become(JOBS).publish(build)
    become(PREDICTOR, without=right)
    with pytest.raises(Exception, match="403"):
        download(name, "cnn-image/versions/000001")


def test_a_download_whose_listing_is_held_to_a_prefix_is_refused(
    become: Callable[..., Store], name: str, build: Any
) -> None:
    """Why the predictor's policy is as it is."""
    become(JOBS).publish(build)
    held = copy.deepcopy(PREDICTOR)
    held["Statement"][0]["Condition"] = {"StringLike": {"s3:prefix": ["cnn-image/*"]}}
    become(held)
    with pytest.raises(Exception, match="HeadBucket"):
        download(name, "cnn-image/versions/000001")
