"""POST /train in the cluster: the transformer starts the Job, which trains, publishes and is judged."""

from pathlib import Path

import httpx
import pytest
from cluster.kube import say, wait_for
from cluster.release import Release
from cluster.volumes import seed_data

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1500)]

VALUES = """
training:
  data: {volumeClaim: cifar10, path: cifar10.tar.xz}
  recipe: quick
  resources: {requests: {cpu: 500m, memory: 1Gi}, limits: {memory: 4Gi}}
serving: {trainApi: {enabled: true, tokenSecret: train-token}}
"""


@pytest.fixture(scope="module")
def release(serving: Release) -> Release:
    """The session's service with data, a token, and /train switched on."""
    seed_data(serving.namespace)
    serving.namespace.kubectl(
        "create", "secret", "generic", "train-token", "--from-literal=token=open-sesame"
    )
    file = Path(serving.values[0]).with_name("train-api")
    file.write_text(VALUES)
    switched_on = Release(serving.namespace, [*serving.values, file])
    switched_on.upgrade()
    return switched_on


def test_who_holds_no_token_is_refused(release: Release) -> None:
    before = release.namespace.names("job")
    answer = httpx.post(f"{release.url}/train", json={"epochs": 1}, timeout=30)
    assert answer.status_code == 401, answer.text
    assert release.namespace.names("job") == before


def test_who_holds_the_token_starts_a_training_and_hears_the_verdict(release: Release) -> None:
    namespace = release.namespace
    asking = {"Prefer": "respond-async", "Authorization": "Bearer open-sesame"}
    accepted = httpx.post(f"{release.url}/train", json={"epochs": 1}, headers=asking, timeout=30)
    assert accepted.status_code == 202, accepted.text
    location = f"{release.url}{accepted.headers['Location']}"
    container = namespace.get("job", location.rpartition("/")[2])["spec"]["template"]["spec"]["containers"][0]
    assert {"name": "EPOCHS", "value": "1"} in container["env"]
    assert container["args"] == ["retrain"]

    def ended() -> dict[str, object] | None:
        try:
            looked = httpx.get(location, headers=asking, timeout=30)
        except httpx.TransportError:
            return None
        assert looked.status_code == 200, looked.text
        body: dict[str, object] = looked.json()
        return body if body["status"] in ("success", "failed") else None

    say("training over HTTP")
    body = wait_for(ended, "the end of the training", 900)
    # The version that serves, of one epoch on the sample, calls most images airplanes: one class gets worse.
    assert body["status"] == "failed", body
    assert str(body["detail"]).startswith("Version 3 is refused against version 1"), body
    assert release.ask().headers["X-Model-Version"] == "1"


def test_the_service_account_may_start_jobs_and_nothing_else(release: Release) -> None:
    account = f"--as=system:serviceaccount:{release.namespace.name}:cnn-image-transformer"
    for verb, what, allowed in (
        ("create", "jobs", "yes"),
        ("patch", "inferenceservices", "no"),
        ("get", "secrets", "no"),
        ("delete", "pods", "no"),
    ):
        may = release.namespace.kubectl("auth", "can-i", verb, what, account, check=False)
        assert may.strip() == allowed, what
