"""POST /train in the cluster: the Job that it starts trains, publishes, is judged and promoted."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from cluster.kube import say, wait_for
from cluster.load import Load
from cluster.release import EXAMPLES, ON_SAMPLE, TWO, Release, write_values
from cluster.volumes import seed_data

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1500)]

TOKEN = {"Authorization": "Bearer open-sesame"}


@pytest.fixture(scope="module")
def release(serving: Release, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    """The session's service with data, a token, and /train switched on; afterwards as it was."""
    seed_data(serving.namespace)
    serving.namespace.kubectl(
        "create", "secret", "generic", "train-token", "--from-literal=token=open-sesame"
    )
    api = "serving: {trainApi: {enabled: true, tokenSecret: train-token}}"
    values = write_values(tmp_path_factory.mktemp("train-api"), TWO, ON_SAMPLE, api)
    switched_on = Release(serving.namespace, values)
    switched_on.upgrade()
    yield switched_on
    if serving.ask().headers["X-Model-Version"] != "1":
        serving.namespace.job("after-train-api", "rollback")
    serving.upgrade()


def test_who_holds_no_token_is_refused(release: Release) -> None:
    before = release.namespace.names("job")
    answer = httpx.post(f"{release.url}/train", json={"epochs": 1}, timeout=30)
    assert answer.status_code == 401, answer.text
    assert release.namespace.names("job") == before


def test_a_training_that_succeeds_is_answered_and_serves(release: Release) -> None:
    # What version 1 was made with: the same again is not worse, so the gate lets it through.
    wishes = {"epochs": 1, "batch_size": 256}
    say("training over HTTP")
    with Load(release.url, (EXAMPLES / "cat.jpg").read_bytes(), rate=5) as load:
        answer = httpx.post(f"{release.url}/train", json=wishes, headers=TOKEN, timeout=900)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert set(body) == {"status", "metrics", "model_path"}
    assert body["status"] == "success"
    assert set(body["metrics"]) == {"accuracy", "val_accuracy", "loss", "val_loss"}
    assert 0 < body["metrics"]["val_accuracy"] < 1
    assert body["model_path"] == "s3://cnn-image/store/versions/000003"
    assert release.namespace.served_uri() == body["model_path"]
    assert release.ask().headers["X-Model-Version"] == "3"
    assert load.answers.failures == []
    assert set(load.answers.versions) == {"1", "3"}
    # It is there to be looked at afterwards, under the name that it was given.
    looked = httpx.get(f"{release.url}{answer.headers['Location']}", headers=TOKEN, timeout=30)
    assert looked.json() == body


def test_a_training_that_the_gate_refuses_is_heard_of(release: Release) -> None:
    namespace = release.namespace
    asking = {**TOKEN, "Prefer": "respond-async"}
    # One step: all images become one class.
    wishes = {"epochs": 1, "batch_size": 2048}
    accepted = httpx.post(f"{release.url}/train", json=wishes, headers=asking, timeout=30)
    assert accepted.status_code == 202, accepted.text
    assert accepted.headers["Preference-Applied"] == "respond-async"
    location = f"{release.url}{accepted.headers['Location']}"
    container = namespace.get("job", location.rpartition("/")[2])["spec"]["template"]["spec"]["containers"][0]
    assert {"name": "EPOCHS", "value": "1"} in container["env"]
    assert {"name": "BATCH_SIZE", "value": "2048"} in container["env"]
    assert container["args"] == ["retrain"]
    second = httpx.post(f"{release.url}/train", json=wishes, headers=asking, timeout=30)
    assert second.status_code == 409, second.text
    assert second.json()["code"] == "training_under_way"

    def ended() -> dict[str, Any] | None:
        looked = httpx.get(location, headers=TOKEN, timeout=30)
        assert looked.status_code == 200, looked.text
        body: dict[str, Any] = looked.json()
        return body if body["status"] in ("success", "failed") else None

    say("training over HTTP")
    body = wait_for(ended, "the end of the training", 900)
    assert body["status"] == "failed", body
    assert str(body["detail"]).startswith("Version 4 is refused against version 3"), body
    assert release.ask().headers["X-Model-Version"] == "3"


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
