"""Jobs from the installed template: what is created, and how a Job's state is told."""

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from jobs.cluster import launch
from jobs.cluster.client import ApiError
from jobs.cluster.names import Names
from jobs.cluster.outcome import Outcome
from jobs.commands import cluster_jobs
from jobs.errors import FaultError, JobFailedError, MistakeError

CRONJOB = {
    "metadata": {"name": "cnn-image-retrain", "uid": "u1"},
    "spec": {
        "jobTemplate": {
            "metadata": {"labels": {"app.kubernetes.io/component": "training"}},
            "spec": {
                "backoffLimit": 2,
                "template": {
                    "spec": {
                        "containers": [
                            {
                                "name": "cnn-image",
                                "args": ["retrain", "--unless-unchanged"],
                                "env": [
                                    {"name": "EPOCHS", "value": "45"},
                                    {"name": "CNN_IMAGE_STORE", "value": "s3://b/p"},
                                ],
                            }
                        ]
                    }
                },
            },
        }
    },
}
OUTCOME = Outcome(7, {"accuracy": 0.9, "val_accuracy": 0.8, "loss": 0.1, "val_loss": 0.2}, "s3://b/p/7", True)


class FakeKubernetes:
    """One namespace whose answers are set by the test."""

    namespace = "ns"
    names = Names("cnn-image")

    def __init__(self) -> None:
        command = copy.deepcopy(CRONJOB)
        command["metadata"] = {"name": "cnn-image-command", "uid": "u2"}
        self.objects: dict[tuple[str, str], Any] = {
            ("cronjobs", "cnn-image-retrain"): copy.deepcopy(CRONJOB),
            ("cronjobs", "cnn-image-command"): command,
        }
        self.lists: dict[str, list[Any]] = {"jobs": [], "pods": []}
        self.created: list[Any] = []
        self.selectors: set[str] = set()
        self.refusal: ApiError | None = None
        self.log: bytes | None = b""

    def get(self, kind: str, name: str) -> Any:
        if (kind, name) not in self.objects:
            raise ApiError(
                404, {"message": f"{kind} {name!r} not found", "details": {"name": name}}, "Not Found"
            )
        found = self.objects[kind, name]
        return found.pop(0) if isinstance(found, list) else found

    def list(self, kind: str, selector: str) -> list[Any]:
        self.selectors.add(selector)
        return self.lists[kind]

    def logs(self, pod: str, container: str, *, follow: bool) -> Any:
        if self.log is None:
            raise ApiError(404, {"message": 'pods "p" not found'}, "Not Found")
        return SimpleNamespace(stream=lambda: iter([self.log]))

    def create(self, kind: str, body: Any) -> Any:
        if self.refusal:
            raise self.refusal
        self.created.append(body)
        return {"metadata": {"name": body["metadata"]["generateName"] + "x7f2k"}}


@pytest.fixture
def kubernetes() -> FakeKubernetes:
    return FakeKubernetes()


def job(condition: str | None = None, name: str = "j", message: str = "") -> dict[str, Any]:
    conditions = [{"type": condition, "status": "True", "message": message}] if condition else []
    return {
        "metadata": {"name": name, "creationTimestamp": "2026-11-22T18:00:00Z"},
        "spec": {"template": {"spec": {"containers": [{"name": "cnn-image", "args": ["rollback"]}]}}},
        "status": {"conditions": conditions},
    }


def pod(
    phase: str = "Running",
    *,
    code: int | None = None,
    message: str = "",
    created: str = "2026-11-22T18:00:01Z",
    conditions: Any = (),
) -> dict[str, Any]:
    state = {"terminated": {"exitCode": code, "message": message}} if code is not None else {"running": {}}
    return {
        "metadata": {"name": "p", "creationTimestamp": created, "labels": {"job-name": "j"}},
        "status": {
            "phase": phase,
            "conditions": list(conditions),
            "containerStatuses": [{"name": "cnn-image", "state": state, "restartCount": 0, "ready": False}],
        },
    }


def test_a_job_is_the_templates_with_its_own_words_and_variables(kubernetes: FakeKubernetes) -> None:
    name = launch.start(kubernetes, args=["judge", "3"], env={"EPOCHS": "3", "BATCH_SIZE": "64"})
    assert name == "cnn-image-retrain-x7f2k"
    created = kubernetes.created[0]
    container = created["spec"]["template"]["spec"]["containers"][0]
    assert container["args"] == ["judge", "3"]
    assert {entry["name"]: entry["value"] for entry in container["env"]} == {
        "CNN_IMAGE_STORE": "s3://b/p",
        "EPOCHS": "3",
        "BATCH_SIZE": "64",
    }
    assert created["spec"]["backoffLimit"] == 2
    assert created["metadata"]["labels"] == {"app.kubernetes.io/component": "training"}
    assert created["metadata"]["ownerReferences"][0]["uid"] == "u1"


def test_many_pods_are_the_indexed_job_that_is_installed(kubernetes: FakeKubernetes) -> None:
    template = yaml.safe_load((Path(__file__).parents[3] / "k8s" / "scoring.yaml").read_text())
    template["metadata"]["uid"] = "u1"
    kubernetes.objects["cronjobs", "cnn-image-score"] = template
    due = copy.deepcopy(template["spec"]["jobTemplate"]["spec"])
    words = ["score", "s3://b/in", "--out", "s3://b/out", "--of", "20"]
    launch.start(kubernetes, args=words, pods=20)
    made = kubernetes.created[0]["spec"]
    due["template"]["spec"]["containers"][0]["args"] = words
    assert made == due | {"completions": 20, "parallelism": 20}
    assert (made["completionMode"], made["backoffLimitPerIndex"]) == ("Indexed", 2)
    assert [rule["action"] for rule in made["podFailurePolicy"]["rules"]] == ["Ignore", "FailJob"]
    # It looks at pictures, so it needs neither the data of trainings nor a GPU, nor does it ask Kubernetes.
    pod = made["template"]["spec"]
    assert "persistentVolumeClaim" not in str(pod["volumes"])
    assert "nvidia.com/gpu" not in str(pod)
    assert pod["automountServiceAccountToken"] is False


def test_a_scoring_is_no_training_under_way(kubernetes: FakeKubernetes) -> None:
    launch.list_jobs(kubernetes)
    assert not [selector for selector in kubernetes.selectors if "scoring" in selector]
    launch.list_jobs(kubernetes, launch.COMPONENTS)
    (seen,) = [selector for selector in kubernetes.selectors if "scoring" in selector]
    assert "deploy" in seen  # Helm's hook: where an install fails, its reason is there


def test_another_model_has_templates_and_jobs_of_its_own(kubernetes: FakeKubernetes) -> None:
    kubernetes.names = Names("hands")
    with pytest.raises(MistakeError, match=r"no CronJob hands-retrain in namespace ns: .*--model"):
        launch.start(kubernetes)
    with pytest.raises(MistakeError, match="no CronJob hands-command in namespace ns: "):
        launch.start(kubernetes, args=["rollback"])
    launch.list_jobs(kubernetes)
    assert kubernetes.selectors == {
        "app.kubernetes.io/name=hands,app.kubernetes.io/component in (training,command)"
    }


@pytest.mark.parametrize("command", [["rollback"], ["promote", "7"], ["deploy", "--force"]])
def test_what_trains_nothing_waits_for_no_gpu(kubernetes: FakeKubernetes, command: list[str]) -> None:
    assert launch.start(kubernetes, args=command) == "cnn-image-command-x7f2k"
    assert kubernetes.created[0]["spec"]["template"]["spec"]["containers"][0]["args"] == command
    assert kubernetes.created[0]["metadata"]["ownerReferences"][0]["uid"] == "u2"


def test_a_flag_is_no_command(kubernetes: FakeKubernetes) -> None:
    with pytest.raises(MistakeError, match="`cnn-image jobs run retrain --recipe"):
        launch.start(kubernetes, args=["--recipe", "best"])
    assert kubernetes.created == []


def test_without_words_it_retrains_even_where_the_schedule_would_not(kubernetes: FakeKubernetes) -> None:
    launch.start(kubernetes)
    container = kubernetes.created[0]["spec"]["template"]["spec"]["containers"][0]
    assert container["args"] == ["retrain"]
    assert {"name": "EPOCHS", "value": "45"} in container["env"]


def test_no_template_says_to_install_the_chart(kubernetes: FakeKubernetes) -> None:
    kubernetes.objects.clear()
    with pytest.raises(MistakeError, match="install the chart"):
        launch.start(kubernetes)


def test_a_missing_right_is_named(kubernetes: FakeKubernetes) -> None:
    said = (
        'jobs.batch is forbidden: User "system:serviceaccount:ns:cnn-image-transformer" cannot create '
        'resource "jobs" in API group "batch" in the namespace "ns"'
    )
    kubernetes.refusal = ApiError(403, {"message": said}, "Forbidden")
    with pytest.raises(MistakeError, match="cnn-image-transformer lacks the right to create jobs"):
        launch.start(kubernetes)


def test_kubernetes_in_trouble_is_a_fault(kubernetes: FakeKubernetes) -> None:
    kubernetes.refusal = ApiError(503, {}, "Service Unavailable")
    with pytest.raises(FaultError, match="503"):
        launch.start(kubernetes)


def test_the_outcome_comes_from_the_pods_last_words(
    kubernetes: FakeKubernetes, tmp_path: Any, monkeypatch: Any
) -> None:
    monkeypatch.setenv("CNN_IMAGE_OUTCOME", str(tmp_path / "log"))
    OUTCOME.write()
    kubernetes.objects["jobs", "j"] = [job(), job("Complete")]
    kubernetes.lists["pods"] = [pod("Succeeded", code=0, message=(tmp_path / "log").read_text())]
    monkeypatch.setattr(launch, "_POLL_SECONDS", 0)
    state = launch.wait(kubernetes, "j", seconds=10)
    assert (state.state, state.outcome) == ("succeeded", OUTCOME)


def test_elsewhere_no_outcome_is_written(monkeypatch: Any) -> None:
    monkeypatch.delenv("CNN_IMAGE_OUTCOME", raising=False)
    OUTCOME.write()
    assert Outcome.parse("Version 7 is published.") is None
    assert Outcome.parse('{"version": 7}') is None


def test_a_failed_job_says_what_its_newest_pod_said() -> None:
    pods = [
        pod("Failed", code=69, message="MinIO is away.", created="2026-11-22T18:00:01Z"),
        pod("Failed", code=2, message="Epoch 1\nThere is no data in /data.", created="2026-11-22T18:05:00Z"),
    ]
    state = launch.state_of(job("Failed", message="Pod failed"), pods)
    assert (state.state, state.reason, state.exit_code) == ("failed", "There is no data in /data.", 2)
    assert launch.state_of(job("Failed", message="deadline"), []).reason == "deadline"


def test_a_failed_job_says_what_its_pod_did_and_not_those_that_were_ended_with_it() -> None:
    pods = [
        pod("Failed", code=2, message="s3://b/in holds no pictures.", created="2026-11-22T18:00:01Z"),
        pod("Failed", code=143, message="Looking …", created="2026-11-22T18:00:02Z"),
        pod("Failed", code=137, message="", created="2026-11-22T18:00:03Z"),
    ]
    state = launch.state_of(job("Failed"), pods)
    assert (state.reason, state.exit_code) == ("s3://b/in holds no pictures.", 2)
    assert launch.state_of(job("Failed"), pods[1:2]).exit_code == 143
    # Who took more memory than it may was not told by anybody.
    for container in pods[2]["status"]["containerStatuses"]:
        container["state"]["terminated"]["reason"] = "OOMKilled"
    state = launch.state_of(job("Failed"), pods)
    assert (state.reason, state.exit_code) == ("exit code 137 (OOMKilled)", 137)


def test_a_pod_without_a_place_says_why_the_job_waits() -> None:
    lacking = {"type": "PodScheduled", "status": "False", "message": "Insufficient nvidia.com/gpu"}
    state = launch.state_of(job(), [pod("Pending", conditions=[lacking])])
    assert (state.state, state.reason) == ("waiting", "Insufficient nvidia.com/gpu")
    assert launch.state_of(job(), [pod()]).state == "running"


def test_a_job_that_is_tried_again_says_why_meanwhile() -> None:
    away = pod("Failed", code=69, message="Reading …\nThe S3 at http://minio:9000 does not answer.")
    state = launch.state_of(job(), [away])
    assert state.state == "waiting"
    assert state.reason == "tried again: The S3 at http://minio:9000 does not answer."
    # Somebody else's wish, an eviction for example, is no fault of the Job.
    assert launch.state_of(job(), [pod("Failed", code=143)]).reason == ""
    (container,) = (killed := pod("Failed", code=137, message=""))["status"]["containerStatuses"]
    assert launch.state_of(job(), [killed]).reason == ""
    container["state"]["terminated"]["reason"] = "OOMKilled"
    assert launch.state_of(job(), [killed]).reason == "tried again: exit code 137 (OOMKilled)"
    # A mistake has it end, which takes a moment.
    assert launch.state_of(job("FailureTarget"), [pod("Failed", code=2, message="No.")]).reason == ""


def test_waiting_has_an_end(kubernetes: FakeKubernetes) -> None:
    kubernetes.objects["jobs", "j"] = job()
    kubernetes.lists["pods"] = [pod()]
    with pytest.raises(FaultError, match="not ended within 0 s; it is running"):
        launch.wait(kubernetes, "j", seconds=0)


@pytest.mark.parametrize(
    ("log", "said"),
    [
        (
            b"Going back.\nRolled back to version 1, from 2.\n",
            " ended well: Rolled back to version 1, from 2.",
        ),
        (b"", " ended well."),
        (None, " ended well."),  # the pod is removed by now
    ],
)
def test_waiting_for_what_makes_no_version_says_what_it_did(
    kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch, capsys: Any, log: bytes | None, said: str
) -> None:
    kubernetes.objects["jobs", "j"] = job("Complete")
    kubernetes.lists["pods"] = [pod("Succeeded", code=0)]
    kubernetes.log = log
    monkeypatch.setattr(cluster_jobs, "_kubernetes", lambda _: kubernetes)
    cluster_jobs.wait("j", timeout=1)
    assert capsys.readouterr() == ("", f"The Job j{said}\n")


def test_waiting_says_once_why_a_job_is_tried_again(
    kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    kubernetes.objects["jobs", "j"] = [job(), job(), job(), job("Complete")]  # the first for its words
    away = pod("Failed", code=69, message="The S3 does not answer.")
    kubernetes.lists["pods"] = [away]
    kubernetes.log = None
    monkeypatch.setattr(launch, "_POLL_SECONDS", 0)
    monkeypatch.setattr(cluster_jobs, "_kubernetes", lambda _: kubernetes)
    cluster_jobs.wait("j", timeout=60)
    assert capsys.readouterr().err == (
        "The Job j is waiting: tried again: The S3 does not answer.\nThe Job j ended well.\n"
    )


def test_an_unknown_job_is_a_mistake(kubernetes: FakeKubernetes) -> None:
    with pytest.raises(MistakeError, match="no Job nope"):
        launch.look(kubernetes, "nope")


def test_jobs_are_listed_newest_first_with_their_own_pods(kubernetes: FakeKubernetes) -> None:
    older = job(name="old")
    newer = job("Failed", name="j")
    newer["metadata"]["creationTimestamp"] = "2026-11-22T19:00:00Z"
    kubernetes.lists = {
        "jobs": [older, newer],
        "pods": [pod("Failed", code=3, message="Refused by the gate.")],
    }
    listed = launch.list_jobs(kubernetes)
    assert [(state.name, state.state, state.reason) for state in listed] == [
        ("j", "failed", "Refused by the gate."),
        ("old", "waiting", ""),
    ]


@pytest.mark.parametrize(("code", "ends"), [(2, 2), (3, 3), (69, 69), (137, 69), (None, 69)])
def test_waiting_ends_as_the_pod_did(code: int | None, ends: int) -> None:
    assert JobFailedError("The Job failed.", code).exit_code == ends
