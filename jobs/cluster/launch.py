"""Start Jobs from the installed templates, and follow them.

The templates are CronJobs that the chart always renders, suspended or not: `MODEL-retrain` for what needs
the training data or a GPU, `MODEL-command` for all else, so that a rollback waits for neither. Used by
`cnn-image jobs` and, in the cluster, by POST /train; imports nothing heavy but the kubernetes client.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from jobs.cluster.client import ApiError, Json, Kubernetes
from jobs.cluster.indexed import indexed
from jobs.cluster.names import Names
from jobs.cluster.outcome import Outcome
from jobs.cluster.serving.rollout import container_statuses, ending, last_word
from jobs.errors import FaultError, JobError, MistakeError

TRAINING_COMMANDS = frozenset(
    {"data", "train", "export", "publish", "quantize", "judge", "retrain", "doctor", "score"}
)
"""What runs with the training data, the workspace and the resources of training; doctor looks at them."""

CONTAINER = "cnn-image"
_POLL_SECONDS = 1.0

State = Literal["waiting", "running", "succeeded", "failed"]


@dataclass(frozen=True)
class JobState:
    """How a Job stands.

    Attributes:
        name: The Job's.
        state: `waiting` until its pod runs.
        reason: Why it waits or failed, in words.
        exit_code: The failed pod's; None where no pod says.
        started: When it was made.
        outcome: What it left; only of one that succeeded.
    """

    name: str
    state: State
    reason: str
    started: datetime
    outcome: Outcome | None
    exit_code: int | None = None


def start(
    kubernetes: Kubernetes,
    *,
    args: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    pods: int | None = None,
) -> str:
    """Start a Job from the template that suits the command.

    Args:
        kubernetes: The release's place.
        args: For `cnn-image`, beginning with the command; a plain retrain when empty.
        env: Variables in place of the template's, such as EPOCHS.
        pods: So many side by side, each with an index of its own; None for one pod.

    Returns:
        The Job's name.

    Raises:
        MistakeError: There is no template, a right is missing, or `args` begin with a flag.
        FaultError: Kubernetes does not answer.
    """
    if args and args[0].startswith("-"):
        raise MistakeError(
            f"{args[0]} is no command; name one first, as in `cnn-image jobs run retrain {args[0]} …`."
        )
    # Not the template's own: a schedule does nothing where nothing has changed, a person wants it done.
    args = args or ["retrain"]
    template = template_of(args, kubernetes.names)
    try:
        cronjob = kubernetes.get("cronjobs", template)
        job = job_from(cronjob, args, env or {})
        created = kubernetes.create("jobs", job if pods is None else indexed(job, pods))
    except ApiError as error:
        if error.code == 404:
            raise MistakeError(
                f"There is no CronJob {template} in namespace {kubernetes.namespace}: install the chart "
                "there first, or name another namespace (-n) or model (`cnn-image --model`)."
            ) from error
        raise error.explained("start a Job") from error
    return str(created["metadata"]["name"])


def template_of(args: Sequence[str], names: Names) -> str:
    """Return the name of the template that suits a command of `cnn-image`."""
    return names.training if args[0] in TRAINING_COMMANDS else names.command


def selector(names: Names) -> str:
    """Return the labels of the Jobs that are made of a model's templates."""
    return f"app.kubernetes.io/name={names.model},app.kubernetes.io/component in (training,command)"


def job_from(cronjob: Json, args: Sequence[str], env: Mapping[str, str]) -> Json:
    """Return the Job to create; owned by the CronJob, so that uninstalling removes it."""
    template = cronjob["spec"]["jobTemplate"]
    container = template["spec"]["template"]["spec"]["containers"][0]
    container["args"] = list(args)
    kept = [variable for variable in container.get("env", []) if variable["name"] not in env]
    container["env"] = [*kept, *({"name": name, "value": value} for name, value in env.items())]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "generateName": f"{cronjob['metadata']['name']}-",
            "labels": template.get("metadata", {}).get("labels", {}),
            "annotations": {"cronjob.kubernetes.io/instantiate": "manual"},
            "ownerReferences": [
                {
                    "apiVersion": "batch/v1",
                    "kind": "CronJob",
                    "name": cronjob["metadata"]["name"],
                    "uid": cronjob["metadata"]["uid"],
                }
            ],
        },
        "spec": template["spec"],
    }


def list_jobs(kubernetes: Kubernetes) -> list[JobState]:
    """Return the training Jobs that are there, the newest first.

    Raises:
        MistakeError: A right is missing.
    """
    try:
        jobs = kubernetes.list("jobs", selector(kubernetes.names))
        pods = kubernetes.list("pods", selector(kubernetes.names))
    except ApiError as error:
        raise error.explained("list the training Jobs") from error
    states = [state_of(job, [pod for pod in pods if _job_of(pod) == job["metadata"]["name"]]) for job in jobs]
    return sorted(states, key=lambda state: state.started, reverse=True)


def look(kubernetes: Kubernetes, name: str) -> JobState:
    """Return how a Job stands now.

    Raises:
        MistakeError: There is no such Job, or a right is missing.
    """
    try:
        job = kubernetes.get("jobs", name)
        return state_of(job, kubernetes.list("pods", f"job-name={name}"))
    except ApiError as error:
        if error.code == 404:
            raise MistakeError(
                f"There is no Job {name} in namespace {kubernetes.namespace}; see `cnn-image jobs list`."
            ) from error
        raise error.explained(f"look at the Job {name}") from error


def wait(kubernetes: Kubernetes, name: str, seconds: float) -> JobState:
    """Wait until a Job has ended.

    Raises:
        FaultError: It did not in time.
    """
    ends = time.monotonic() + seconds
    while (state := look(kubernetes, name)).state not in ("succeeded", "failed"):
        if time.monotonic() > ends:
            raise FaultError(
                f"The Job {name} has not ended within {seconds:g} s; it is {state.state}"
                + (f" ({state.reason})." if state.reason else ".")
            )
        time.sleep(_POLL_SECONDS)
    return state


def logs(kubernetes: Kubernetes, name: str, *, follow: bool, seconds: float = 600) -> Iterator[bytes]:
    """Yield the log of a Job's newest pod as it comes.

    Args:
        kubernetes: The cluster and the Job's namespace.
        name: The Job.
        follow: Wait for a pod that has not started yet, and go on until it ends.
        seconds: How long to wait for the pod.
    """
    ends = time.monotonic() + seconds
    while True:
        state = look(kubernetes, name)
        try:
            pods = kubernetes.list("pods", f"job-name={name}")
            begun = [pod for pod in pods if _begun(pod)]
            if begun:
                newest = max(begun, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))
                yield from kubernetes.logs(newest["metadata"]["name"], CONTAINER, follow=follow).stream()
                return
        except ApiError as error:
            raise error.explained(f"read the log of {name}") from error
        if not follow or state.state in ("succeeded", "failed") or time.monotonic() > ends:
            raise MistakeError(
                f"The Job {name} has no log: it is {state.state} ({state.reason or 'no pod'})."
            )
        time.sleep(_POLL_SECONDS)


def last_line(kubernetes: Kubernetes, name: str) -> str:
    """Return the last line that a Job said, such as what a rollback did; empty where its log is gone."""
    try:
        said = b"".join(logs(kubernetes, name, follow=False))
    except JobError:
        return ""
    return said.decode(errors="replace").strip().rpartition("\n")[2]


def state_of(job: Json, pods: Sequence[Json]) -> JobState:
    """Sum up a Job and its pods."""
    conditions = {
        condition["type"]: condition
        for condition in job.get("status", {}).get("conditions", [])
        if condition["status"] == "True"
    }
    state: State = "waiting"
    reason, code = "", None
    if "Complete" in conditions:
        state = "succeeded"
    elif "Failed" in conditions:
        state, (reason, code) = "failed", _failure(pods)
        reason = reason or str(conditions["Failed"].get("message", ""))
    elif any(pod.get("status", {}).get("phase") == "Running" for pod in pods):
        state = "running"
    else:
        reason = _hindrance(pods)
    return JobState(
        name=job["metadata"]["name"],
        state=state,
        reason=reason,
        started=datetime.fromisoformat(job["metadata"]["creationTimestamp"]),
        outcome=_outcome(pods) if state == "succeeded" else None,
        exit_code=code,
    )


def _outcome(pods: Sequence[Json]) -> Outcome | None:
    for pod in pods:
        for container in container_statuses(pod):
            ended = ending(container)
            if container["name"] == CONTAINER and ended and ended["exitCode"] == 0:
                return Outcome.parse(str(ended.get("message", "")))
    return None


def _failure(pods: Sequence[Json]) -> tuple[str, int | None]:
    """The last line that a failed pod said, and its exit code."""
    for pod in sorted(pods, key=lambda pod: str(pod["metadata"]["creationTimestamp"]), reverse=True):
        for container in container_statuses(pod):
            ended = ending(container)
            if ended and ended["exitCode"]:
                said = str(ended.get("message", "")).strip().splitlines()
                code = int(ended["exitCode"])
                return said[-1] if said else f"exit code {code} ({ended.get('reason', '')})", code
    return "", None


def _hindrance(pods: Sequence[Json]) -> str:
    """Why no pod runs yet: it cannot be scheduled, or its image cannot be had."""
    for pod in pods:
        for condition in pod.get("status", {}).get("conditions", []):
            if condition["type"] == "PodScheduled" and condition["status"] == "False":
                return str(condition.get("message", ""))
        for container in container_statuses(pod):
            if reason := last_word(container):
                return f"{container['name']} {reason}"
    return ""


def _begun(pod: Json) -> bool:
    return any(
        container["name"] == CONTAINER and "waiting" not in container["state"]
        for container in container_statuses(pod)
    )


def _job_of(pod: Json) -> str | None:
    name: str | None = pod["metadata"].get("labels", {}).get("job-name")
    return name
