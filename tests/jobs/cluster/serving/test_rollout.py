"""When a rollout is done, when it has failed, and what a pre-flight's pod says."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jobs.cluster.client import ApiError
from jobs.cluster.names import Names
from jobs.cluster.serving import preflight_job, rollout
from jobs.cluster.serving.rollout import SOURCE, Rollout, last_word
from jobs.errors import FaultError, MistakeError, RefusedError

URI = "s3://b/versions/000002/"


def service(generation: int = 2, observed: int = 2, ready: str = "True") -> dict[str, Any]:
    return {
        "metadata": {"generation": generation},
        "spec": {"predictor": {}, "transformer": {}},
        "status": {"observedGeneration": observed, "conditions": [{"type": "Ready", "status": ready}]},
    }


def deployment(
    uri: str = URI, *, updated: int = 2, available: int = 2, total: int = 2, observed: int = 5
) -> dict[str, Any]:
    return {
        "metadata": {"generation": 5},
        "spec": {"replicas": 2, "template": {"metadata": {"annotations": {SOURCE: uri}}}},
        "status": {
            "observedGeneration": observed,
            "updatedReplicas": updated,
            "availableReplicas": available,
            "replicas": total,
        },
    }


def container(
    name: str = "kserve-container", restarts: int = 0, *, waiting: Any = None, ended: Any = None
) -> dict[str, Any]:
    return {
        "name": name,
        "ready": False,
        "restartCount": restarts,
        "state": {"waiting": waiting} if waiting else {"running": {}},
        "lastState": {"terminated": ended} if ended else {},
    }


def pod(name: str, uri: str = URI, containers: Any = ()) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "annotations": {SOURCE: uri}},
        "status": {"containerStatuses": list(containers)},
    }


class FakeKubernetes:
    """A service whose parts the test sets."""

    namespace = "ns"
    names = Names("cnn-image")

    def __init__(self) -> None:
        self.service = service()
        self.deployments = {"cnn-image-predictor": deployment(), "cnn-image-transformer": deployment()}
        self.pods = [pod("new")]
        self.jobs = {"metadata": {"uid": "u1"}, "status": {"succeeded": 1}}
        self.others: list[Any] = []
        self.created: list[Any] = []
        self.deleted: list[str] = []

    def get(self, kind: str, name: str) -> Any:
        return self.jobs if kind == "jobs" else self.service

    def find(self, kind: str, name: str) -> Any:
        if kind == "jobs":
            return self.others[0] if self.others else None
        return self.deployments.get(name)

    def list(self, kind: str, selector: str) -> list[Any]:
        return [] if "component=transformer" in selector else self.pods

    def create(self, kind: str, body: Any) -> Any:
        if self.others:
            raise ApiError(409, {"reason": "AlreadyExists"}, "Conflict")
        self.created.append(body)
        return {"metadata": {"name": body["metadata"]["name"], "uid": "u1"}}

    def delete(self, kind: str, name: str, *, uid: str) -> None:
        self.deleted.append(f"{name} {uid}")
        self.others = [job for job in self.others if job["metadata"]["uid"] != uid]


@pytest.fixture
def kubernetes() -> FakeKubernetes:
    return FakeKubernetes()


def wait(kubernetes: FakeKubernetes) -> None:
    Rollout(kubernetes, URI).wait(0)


def test_done_when_the_new_version_alone_runs(kubernetes: FakeKubernetes) -> None:
    wait(kubernetes)


@pytest.mark.parametrize("fault", [429, 500, 503, None])
def test_a_question_that_fails_is_asked_again(
    kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch, fault: int | None
) -> None:
    answers = kubernetes.get
    faults = [FaultError("no answer")] if fault is None else [ApiError(fault, {"message": "busy"}, "busy")]

    def get(kind: str, name: str) -> Any:
        if faults:
            raise faults.pop()
        return answers(kind, name)

    monkeypatch.setattr(kubernetes, "get", get)
    monkeypatch.setattr(rollout.time, "sleep", lambda _seconds: None)
    Rollout(kubernetes, URI).wait(60)
    assert not faults


def test_kserve_need_not_say_that_it_has_read_what_all_pods_show(
    kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubernetes.service = service(generation=3)
    now = iter(range(1000))
    monkeypatch.setattr(rollout.time, "monotonic", lambda: float(next(now)))
    monkeypatch.setattr(rollout.time, "sleep", lambda _seconds: None)
    Rollout(kubernetes, URI).wait(60)
    assert next(now) > rollout.SETTLE_SECONDS


@pytest.mark.parametrize(
    ("change", "awaited"),
    [
        ({"service": service(generation=3)}, "KServe has not read it yet"),
        ({"service": service(ready="False")}, "not Ready"),
        ({"deployments": {}}, "KServe has not made the predictor"),
        ({"deployments": {"cnn-image-predictor": deployment("s3://b/versions/000001/")}}, "has not changed"),
        ({"deployments": {"cnn-image-predictor": deployment(observed=4)}}, "not been read"),
        (
            {"deployments": {"cnn-image-predictor": deployment(updated=1)}},
            "1 new pods and 2 ready of 2, 2 in all",
        ),
        ({"deployments": {"cnn-image-predictor": deployment(total=3)}}, "3 in all"),
        ({"deployments": {"cnn-image-predictor": deployment()}}, "KServe has not made the transformer"),
        ({"pods": [pod("new"), pod("old", "s3://b/versions/000001/")]}, "old still ends"),
    ],
)
def test_what_is_awaited_is_said_at_the_deadline(
    kubernetes: FakeKubernetes, change: dict[str, Any], awaited: str
) -> None:
    vars(kubernetes).update(change)
    with pytest.raises(FaultError, match=awaited):
        wait(kubernetes)


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (
            container(waiting={"reason": "ErrImagePull", "message": "no such tag"}),
            "ErrImagePull.*no such tag",
        ),
        (
            container("storage-initializer", 3, ended={"exitCode": 1, "message": "a\nno such bucket"}),
            "storage-initializer in bad ended 3 times with exit code 1: no such bucket",
        ),
    ],
)
def test_pods_that_will_not_start_end_the_wait_at_once(
    kubernetes: FakeKubernetes, state: dict[str, Any], said: str
) -> None:
    kubernetes.deployments["cnn-image-predictor"] = deployment(available=1)
    kubernetes.pods = [pod("bad", containers=[state])]
    with pytest.raises(RefusedError, match=said):
        Rollout(kubernetes, URI).wait(600)


@pytest.mark.parametrize(("minutes", "word"), [(1, "ended 4 times with exit code 1: No."), (6, None)])
def test_what_a_container_ended_of_long_ago_is_not_its_last_word(minutes: float, word: str | None) -> None:
    one = container(restarts=4, ended={"exitCode": 1, "message": "No."})
    started = datetime.now(UTC) - timedelta(minutes=minutes)
    one["state"] = {"running": {"startedAt": started.isoformat()}}
    assert last_word(one) == word


def test_a_pod_of_the_old_version_in_trouble_is_not_the_new_ones_fault(kubernetes: FakeKubernetes) -> None:
    broken = container(waiting={"reason": "ErrImagePull"})
    kubernetes.pods = [pod("old", "s3://b/versions/000001/", [broken]), pod("new")]
    with pytest.raises(FaultError, match="old still ends"):
        wait(kubernetes)


def template() -> dict[str, Any]:
    return {
        "metadata": {"name": "cnn-image-preflight"},
        "spec": {
            "template": {"spec": {"initContainers": [{"name": "triton"}], "containers": [{"name": "check"}]}}
        },
    }


def test_a_preflight_runs_with_the_version_and_is_removed(kubernetes: FakeKubernetes) -> None:
    preflight_job.run(kubernetes, template(), 7)
    pod_spec = kubernetes.created[0]["spec"]["template"]["spec"]
    assert pod_spec["containers"][0]["env"] == [{"name": "CNN_IMAGE_PREFLIGHT_VERSION", "value": "7"}]
    assert pod_spec["initContainers"][0]["env"] == [{"name": "CNN_IMAGE_PREFLIGHT_VERSION", "value": "7"}]
    assert kubernetes.deleted == ["cnn-image-preflight u1"]


def other(**status: Any) -> dict[str, Any]:
    return {"metadata": {"name": "cnn-image-preflight", "uid": "u0"}, "status": status}


def test_a_preflight_waits_for_another_one(
    kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kubernetes.others = [other()]
    naps: list[float] = []

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 3:  # whoever made it has removed it
            kubernetes.others = []

    monkeypatch.setattr(preflight_job.time, "sleep", sleep)
    preflight_job.run(kubernetes, template(), 7)
    assert kubernetes.deleted == ["cnn-image-preflight u1"]
    assert capsys.readouterr().err.count("waiting for its end") == 1


def test_a_preflight_that_nobody_removed_is_removed_by_the_next(
    kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight_job.time, "sleep", lambda _seconds: None)
    ended = {"type": "Failed", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    kubernetes.others = [other(conditions=[ended])]
    preflight_job.run(kubernetes, template(), 7)
    assert kubernetes.deleted == ["cnn-image-preflight u0", "cnn-image-preflight u1"]


def test_another_ones_preflight_is_never_taken_for_ones_own(kubernetes: FakeKubernetes) -> None:
    kubernetes.jobs = {"metadata": {"uid": "u2"}, "status": {"succeeded": 1}}
    with pytest.raises(FaultError, match="was removed while it ran"):
        preflight_job.run(kubernetes, template(), 7)


@pytest.mark.parametrize(
    ("state", "error", "said"),
    [
        (
            container(
                "triton",
                1,
                ended={"exitCode": 139, "message": "I1 start\nSignal (11) received."},
            ),
            RefusedError,
            r"Triton ends with version 7 \(exit code 139\): Signal \(11\) received.",
        ),
        (
            container("triton", 1, ended={"exitCode": 1}),
            RefusedError,
            r"Triton ends with version 7 \(exit code 1\): it ended without a word",
        ),
        (
            container("check", ended={"exitCode": 3, "message": "Triton differs by 0.4."}),
            RefusedError,
            "refused version 7: Triton differs by 0.4",
        ),
        (
            container("fetch", ended={"exitCode": 69, "message": "S3 is away."}),
            FaultError,
            "fetch failed: S3 is away",
        ),
        (
            container("fetch", ended={"exitCode": 2, "message": "There is no version 7."}),
            MistakeError,
            "There is no version 7",
        ),
        (
            container("check", waiting={"reason": "ErrImagePull"}),
            FaultError,
            "check cannot start: ErrImagePull",
        ),
    ],
)
def test_what_a_preflights_pod_says(
    kubernetes: FakeKubernetes, state: dict[str, Any], error: type[Exception], said: str
) -> None:
    kubernetes.jobs = {"metadata": {"uid": "u1"}, "status": {}}
    kubernetes.pods = [pod("p", containers=[state])]
    with pytest.raises(error, match=said):
        preflight_job.run(kubernetes, template(), 7)
    assert kubernetes.deleted == ["cnn-image-preflight u1"]


def test_a_right_that_is_missing_while_watching_is_named(
    kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_kind: str, _name: str) -> Any:
        raise ApiError(403, {"message": 'User "sa" cannot get resource "deployments" in'}, "Forbidden")

    monkeypatch.setattr(kubernetes, "find", refuse)
    with pytest.raises(Exception, match="sa lacks the right to get deployments"):
        wait(kubernetes)
