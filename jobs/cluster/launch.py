"""Start Jobs from the installed templates, and follow them.

The templates are CronJobs that the chart always renders, suspended or not: `MODEL-retrain` for what needs
the training data or a GPU, `MODEL-score` for pods side by side, `MODEL-command` for all else, so that a
rollback waits for neither. Used by `cnn-image jobs` and, in the cluster, by POST /train; imports nothing
heavy but the kubernetes client.
"""

import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from jobs.cluster.client import ApiError, Json, Kubernetes
from jobs.cluster.names import Names
from jobs.cluster.outcome import Outcome
from jobs.cluster.serving.rollout import container_statuses, ending, last_word
from jobs.errors import FaultError, MistakeError

TRAINING_COMMANDS = frozenset(
    {"data", "train", "export", "publish", "quantize", "judge", "retrain", "doctor"}
)
"""What runs with the training data, the workspace and the resources of training; doctor looks at them."""

SCORING = "score"

TRAINING_COMPONENTS = ("training", "command")
COMPONENTS = (*TRAINING_COMPONENTS, "scoring", "deploy")
"""What the Jobs of the templates, and of Helm's hook, are labelled with, as `app.kubernetes.io/component`."""

CONTAINER = "cnn-image"
_POLL_SECONDS = 1.0
_TOLD_TO_END = {128 + signal.SIGTERM, 128 + signal.SIGKILL}

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
    pods: int = 1,
) -> str:
    """Start a Job from the template that suits the command.

    Args:
        kubernetes: The release's place.
        args: For `cnn-image`, beginning with the command; a plain retrain when empty.
        env: Variables in place of the template's, such as EPOCHS.
        pods: Of a scoring, so many side by side, each with an index of its own.

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
        if args[0] == SCORING:
            job["spec"] |= {"completions": pods, "parallelism": pods}
        created = kubernetes.create("jobs", job)
    except ApiError as error:
        if error.code == 404:
            raise MistakeError(
                f"There is no CronJob {template} in namespace {kubernetes.namespace}: install the chart "
                "there first, upgrade one from before this command line, or name another namespace (-n) or "
                "model (`cnn-image --model`)."
            ) from error
        raise error.explained("start a Job") from error
    return str(created["metadata"]["name"])


def template_of(args: Sequence[str], names: Names) -> str:
    """Return the name of the template that suits a command of `cnn-image`."""
    if args[0] == SCORING:
        return names.scoring
    return names.training if args[0] in TRAINING_COMMANDS else names.command


def selector(names: Names, components: Sequence[str]) -> str:
    """Return the labels of the Jobs that are made of a model's templates."""
    return f"app.kubernetes.io/name={names.model},app.kubernetes.io/component in ({','.join(components)})"


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


def list_jobs(kubernetes: Kubernetes, components: Sequence[str] = TRAINING_COMPONENTS) -> list[JobState]:
    """Return the Jobs that are there, the newest first.

    Args:
        kubernetes: The release's place.
        components: Of which templates.

    Raises:
        MistakeError: A right is missing.
    """
    try:
        jobs = kubernetes.list("jobs", selector(kubernetes.names, components))
        pods = kubernetes.list("pods", selector(kubernetes.names, components))
    except ApiError as error:
        raise error.explained("list the Jobs") from error
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


def words_of(kubernetes: Kubernetes, name: str) -> list[str]:
    """Return what a Job's container gives to `cnn-image`; nothing where there is no such Job."""
    try:
        job = kubernetes.get("jobs", name)
    except ApiError:
        return []
    return list(job["spec"]["template"]["spec"]["containers"][0].get("args") or ())


def wait(
    kubernetes: Kubernetes, name: str, seconds: float, meanwhile: Callable[[JobState], None] = lambda _: None
) -> JobState:
    """Wait until a Job has ended.

    Args:
        kubernetes: The cluster and the Job's namespace.
        name: The Job.
        seconds: How long at most.
        meanwhile: Is called between two looks, with what the first of them found.

    Raises:
        FaultError: It did not in time.
    """
    ends = time.monotonic() + seconds
    while (state := look(kubernetes, name)).state not in ("succeeded", "failed"):
        if time.monotonic() > ends:
            raise FaultError(
                f"The Job {name} has not ended within {seconds:g} s; it is {state.state}"
                + (f" ({state.reason.removesuffix('.')})." if state.reason else ".")
            )
        meanwhile(state)
        time.sleep(_POLL_SECONDS)
    return state


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
        reason = _hindrance(pods) or ("" if "FailureTarget" in conditions else _tried(pods))
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
    """The last line that a failed pod said, and its exit code.

    The newest pod's, unless it was only told to end, as a mistake of one pod has it done to those beside it.
    """
    told: tuple[str, int | None] = ("", None)
    for pod in sorted(pods, key=lambda pod: str(pod["metadata"]["creationTimestamp"]), reverse=True):
        for container in container_statuses(pod):
            ended = ending(container)
            if ended and ended["exitCode"]:
                said = str(ended.get("message", "")).strip().splitlines()
                code = int(ended["exitCode"])
                reason = said[-1] if said else f"exit code {code} ({ended.get('reason', '')})"
                if code not in _TOLD_TO_END or ended.get("reason") == "OOMKilled":
                    return reason, code
                told = told if told[0] else (reason, code)
    return told


def _tried(pods: Sequence[Json]) -> str:
    """Why a pod failed where another is still to come, as when the store is away or memory was short."""
    reason, code = _failure(pods)
    told_to_end = code in _TOLD_TO_END and "OOMKilled" not in reason
    return "" if code is None or told_to_end else f"tried again: {reason}"


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


def _job_of(pod: Json) -> str | None:
    name: str | None = pod["metadata"].get("labels", {}).get("job-name")
    return name
