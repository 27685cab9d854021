"""Scoring a bucket by pods side by side: an Indexed Job, a schedule's Job, a workflow's steps."""

import io
import json
import subprocess
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from cluster.argo import Workflow
from cluster.kube import ROOT, rendered, say, wait_for
from cluster.release import Release
from cluster.store import BUCKET, TrialStore
from own_pictures import paint

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

PICTURES = {f"{number:04}.png": paint(number % 20) for number in range(1_100)}
ODD = {
    "tab\there.png": paint(1),
    "100% ü+&#?= 'x'.png": paint(2),
    "line\nbreak.png": paint(3),
    " back\\slash ": paint(4),
    "e\u0301 \U0001f600 %2F\u2028.png": paint(5),
}
BROKEN = {"empty.jpg": b"", "page.jpg": b"<html>", "cut.png": paint(6)[:90]}


@pytest.fixture(scope="module")
def trial_store(serving: Release) -> Iterator[TrialStore]:
    """The release's MinIO, which the commands of this machine reach as well."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CNN_IMAGE_NAMESPACE", serving.namespace.name)
        yield TrialStore(serving.namespace, patch)


def put(trial_store: TrialStore, prefix: str, files: dict[str, bytes]) -> None:
    def one(name: str) -> None:
        trial_store.s3.put_object(Bucket=BUCKET, Key=f"{prefix}/{name}", Body=files[name])

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(one, files))


def command(*words: str, code: int = 0) -> tuple[str, str]:
    """What `cnn-image` answers on this machine, and what it says."""
    line = [str(ROOT / ".venv/bin/cnn-image"), *words]
    done = subprocess.run(line, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == code, f"{words} ended with {done.returncode}:\n{done.stderr[-3000:]}"
    return done.stdout, done.stderr


def shards(trial_store: TrialStore, prefix: str) -> list[str]:
    found = trial_store.s3.list_objects_v2(Bucket=BUCKET, Prefix=f"{prefix}/part-")
    return [item["Key"] for item in found.get("Contents", ())]


def rows(trial_store: TrialStore, prefix: str) -> list[dict[str, Any]]:
    """The table."""
    found: list[dict[str, Any]] = []
    for key in shards(trial_store, prefix):
        shard = trial_store.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        found += pq.read_table(io.BytesIO(shard)).to_pylist()
    return found


def test_each_picture_is_there_once_whatever_becomes_of_a_pod(
    serving: Release, trial_store: TrialStore
) -> None:
    namespace = serving.namespace
    put(trial_store, "archive", PICTURES | ODD | BROKEN | {"folder/": b""})
    where = (f"s3://{BUCKET}/archive", "--out", f"s3://{BUCKET}/table")
    say("scoring by three pods")
    name = command("score", *where, "--on-cluster", "--workers", "3")[0].strip()

    # The first pod, which has two of the five shards, is lost as soon as it runs, long before it can be done.
    selector = f"job-name={name},batch.kubernetes.io/job-completion-index=0"

    def running() -> list[Any]:
        return [
            pod
            for pod in namespace.get("pods", "-l", selector)["items"]
            if any("running" in each["state"] for each in pod["status"].get("containerStatuses", []))
        ]

    (lost,) = wait_for(running, "the first pod of three at work", 180)
    namespace.kubectl("delete", "pod", lost["metadata"]["name"], "--grace-period=1", "--wait=false")
    _, shown = command("jobs", "wait", name)
    assert " of 5 shards are there" in shown
    words = f"{len(PICTURES | ODD):,} of {len(PICTURES | ODD | BROKEN):,} pictures are answered"
    assert f"The Job {name} ended well: {words}" in shown
    pods = namespace.get("pods", "-l", f"job-name={name}")["items"]
    indexes = Counter(
        pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"] for pod in pods
    )
    assert set(indexes) == {"0", "1", "2"}
    assert lost["metadata"]["uid"] not in {pod["metadata"]["uid"] for pod in pods}
    assert all("serviceaccount" not in json.dumps(pod["spec"]["volumes"]).lower() for pod in pods)

    table = {row["image"]: row for row in rows(trial_store, "table")}
    assert len(rows(trial_store, "table")) == len(table)
    assert set(table) == set(PICTURES | ODD | BROKEN)
    errors = {image: row["error_code"] for image, row in table.items() if row["error_code"]}
    assert errors == {"empty.jpg": "not_an_image", "page.jpg": "not_an_image", "cut.png": "broken_image"}
    summary = json.loads(trial_store.s3.get_object(Bucket=BUCKET, Key="table/_summary.json")["Body"].read())
    assert (summary["pictures"], summary["answered"]) == (len(table), len(PICTURES | ODD))
    # As the service answers, whoever of the pods it was.
    for image in ("0000.png", "0700.png", "1099.png", *ODD):
        data = (PICTURES | ODD)[image]
        answer = httpx.post(f"{serving.url}/predict", files={"file": ("x", data)}, timeout=30).json()
        assert table[image]["class_name"] == answer["class_name"]
        np.testing.assert_allclose(table[image]["probabilities"], answer["probabilities"], rtol=0, atol=1e-5)

    log, _ = command("jobs", "logs", name)
    assert {line.partition(" ")[0] for line in log.splitlines()} == {"[0]", "[1]", "[2]"}
    assert name in command("jobs", "list")[1] + command("jobs", "list")[0]


def test_a_mistake_ends_the_job(serving: Release, trial_store: TrialStore) -> None:
    where = (f"s3://{BUCKET}/nothing-here", "--out", f"s3://{BUCKET}/none")
    name = command("score", *where, "--on-cluster", "--workers", "2")[0].strip()
    _, shown = command("jobs", "wait", name, code=2)
    assert "s3://cnn-image/nothing-here" in shown.splitlines()[-1]
    status = serving.namespace.get("job", name)["status"]
    (failed,) = (each for each in status["conditions"] if each["type"] == "Failed")
    assert failed["reason"] == "PodFailurePolicy"
    assert status["failed"] <= 2  # neither is tried again
    assert shards(trial_store, "none") == []


def test_hera_loads_the_workflow_and_loses_nothing() -> None:
    from hera.workflows import WorkflowTemplate

    values = ("minio.enabled=true", "training.enabled=false", "argo.enabled=true")
    flags = [flag for value in values for flag in ("--set", value)]
    body = yaml.safe_load(rendered(*flags, "--show-only", "templates/argo-scoring.yaml"))
    assert WorkflowTemplate.from_dict(body).to_dict() == body


def test_a_schedule_and_a_workflow_score_what_is_new(serving: Release, trial_store: TrialStore) -> None:
    namespace = serving.namespace
    first = {f"{number}.png": paint(number) for number in range(5)}
    put(trial_store, "growing", first)
    where = ("--set", f"scoring.source=s3://{BUCKET}/growing,scoring.out=s3://{BUCKET}/scored")
    flags = [*serving.flags, *where, "--set", "scoring.enabled=true,argo.enabled=true"]

    def template(file: str) -> Any:
        text = rendered(*flags, "--show-only", f"templates/{file}.yaml", namespace=namespace.name)
        return yaml.safe_load(text)

    schedule = template("scoring")
    assert schedule["spec"]["suspend"] is False
    schedule["metadata"]["name"] = "nightly"  # beside the release's own
    schedule["spec"]["suspend"] = True  # and it comes when the test says
    namespace.kubectl("apply", "-f", "-", stdin=json.dumps(schedule))
    namespace.kubectl("create", "job", "--from=cronjob/nightly", "monday")
    say("scoring as a schedule does")
    _, shown = command("jobs", "wait", "monday")
    assert "The Job monday ended well" in shown
    assert {row["image"] for row in rows(trial_store, "scored/monday")} == set(first)

    put(trial_store, "growing", {"0.png": paint(100), "new.png": paint(101)})
    workflow = Workflow(namespace, template("argo-scoring"), "tuesday")
    assert len(workflow.steps) == 2
    for step in workflow.steps:
        workflow.run(step)
    assert {row["image"] for row in rows(trial_store, "scored/tuesday")} == {"0.png", "new.png"}
    # There is nothing new any more, which is no failure; and no other folder is begun.
    namespace.kubectl("create", "job", "--from=cronjob/nightly", "wednesday")
    assert "No picture of" in command("jobs", "wait", "wednesday")[1]
    assert shards(trial_store, "scored/wednesday") == []
