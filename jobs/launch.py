"""Start training Jobs from the installed template, and follow them.

The template is the CronJob `cnn-image-retrain`, which the chart always renders, suspended or not. Used by
`cnn-image jobs` and, in the cluster, by POST /train; imports nothing heavy but the kubernetes client.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from jobs.cluster import ApiError, Json, Kubernetes
from jobs.errors import FaultError, MistakeError
from jobs.outcome import Outcome
from jobs.rollout import container_statuses, ending, last_word

TEMPLATE = "cnn-image-retrain"
SELECTOR = "app.kubernetes.io/name=cnn-image,app.kubernetes.io/component=training"
"""The labels of training Jobs."""

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
        started: When it was made.
        outcome: What it left; only of one that succeeded.
    """

    name: str
    state: State
    reason: str
    started: datetime
    outcome: Outcome | None


def start(kubernetes: Kubernetes, *, args: Sequence[str] = (), env: Mapping[str, str] | None = None) -> str:
    """Start a Job from the template.

    Args:
        kubernetes: The cluster and namespace of the release.
        args: For `cnn-image`, in place of the template's.
        env: Variables in place of the template's, such as EPOCHS.

    Returns:
        The Job's name.

    Raises:
        MistakeError: There is no template, or a right is missing.
        FaultError: Kubernetes does not answer.
    """
    try:
        cronjob = kubernetes.get("cronjobs", TEMPLATE)
        created = kubernetes.create("jobs", job_from(cronjob, args, env or {}))
    except ApiError as error:
        if error.code == 404:
            raise MistakeError(
                f"There is no CronJob {TEMPLATE} in namespace {kubernetes.namespace}: "
                "install the chart there first, or name another namespace."
            ) from error
        raise error.explained("start a training Job") from error
    return str(created["metadata"]["name"])


def job_from(cronjob: Json, args: Sequence[str], env: Mapping[str, str]) -> Json:
    """Return the Job to create; owned by the CronJob, so that uninstalling removes it."""
    template = cronjob["spec"]["jobTemplate"]
    container = template["spec"]["template"]["spec"]["containers"][0]
    if args:
        container["args"] = list(args)
    kept = [variable for variable in container.get("env", []) if variable["name"] not in env]
    container["env"] = [*kept, *({"name": name, "value": value} for name, value in env.items())]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "generateName": f"{TEMPLATE}-",
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
        jobs = kubernetes.list("jobs", SELECTOR)
        pods = kubernetes.list("pods", SELECTOR)
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


def state_of(job: Json, pods: Sequence[Json]) -> JobState:
    """Sum up a Job and its pods."""
    conditions = {
        condition["type"]: condition
        for condition in job.get("status", {}).get("conditions", [])
        if condition["status"] == "True"
    }
    state: State = "waiting"
    reason = ""
    if "Complete" in conditions:
        state = "succeeded"
    elif "Failed" in conditions:
        state, reason = "failed", _failure(pods) or str(conditions["Failed"].get("message", ""))
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
    )


def _outcome(pods: Sequence[Json]) -> Outcome | None:
    for pod in pods:
        for container in container_statuses(pod):
            ended = ending(container)
            if container["name"] == CONTAINER and ended and ended["exitCode"] == 0:
                return Outcome.parse(str(ended.get("message", "")))
    return None


def _failure(pods: Sequence[Json]) -> str:
    """The last line that a failed pod said."""
    for pod in sorted(pods, key=lambda pod: str(pod["metadata"]["creationTimestamp"]), reverse=True):
        for container in container_statuses(pod):
            ended = ending(container)
            if ended and ended["exitCode"]:
                said = str(ended.get("message", "")).strip().splitlines()
                return said[-1] if said else f"exit code {ended['exitCode']} ({ended.get('reason', '')})"
    return ""


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
