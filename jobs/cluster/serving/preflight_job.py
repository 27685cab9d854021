"""The pre-flight in the cluster: a short Job whose Triton, the one that would serve, loads a version.

The Job's template lies in the chart's ConfigMap. Its pod fetches the version, starts Triton with the
resources and configuration it would serve with, and asks it for known images (`jobs.cluster.preflight`).
"""

import time
from datetime import UTC, datetime

from jobs.cluster.client import ApiError, Json, Kubernetes, own_pod
from jobs.cluster.serving.rollout import container_statuses, ending, last_word
from jobs.console import say
from jobs.errors import Exit, FaultError, MistakeError, RefusedError

VERSION_VARIABLE = "CNN_IMAGE_PREFLIGHT_VERSION"
DEADLINE_SECONDS = 600.0
LEFT_SECONDS = 30.0
"""After its end the Job of someone who was killed meanwhile is taken away by the next."""

_POLL_SECONDS = 1.0
_NOT_FOUND, _CONFLICT = 404, 409


def dry_run(kubernetes: Kubernetes, template: Json) -> None:
    """Have the Job checked as the cluster would check it, and say where its image is not this process's.

    Args:
        kubernetes: The cluster and the Job's namespace.
        template: The Job.

    Raises:
        MistakeError: The cluster would refuse it.
        FaultError: Kubernetes does not answer.
    """
    template["metadata"]["generateName"] = f"{template['metadata'].pop('name')}-"
    try:
        checked = kubernetes.create("jobs", template, dry_run=True)
    except ApiError as error:
        raise error.explained("start a pre-flight") from error
    there, here = _images(checked), _own_images(kubernetes)
    if here and not here & there:
        say(
            f"Note: this Job runs {', '.join(sorted(here))}, and the pre-flight and the service will run "
            f"{', '.join(sorted(there))}. Where an image was changed after the chart was rendered, as "
            "Kustomize's `images:` does, the template in the ConfigMap keeps the old one: name images by the "
            "chart's values."
        )


def _images(job: Json) -> set[str]:
    pod = job["spec"]["template"]["spec"]
    return {str(part["image"]) for part in (*pod.get("initContainers", []), *pod["containers"])}


def _own_images(kubernetes: Kubernetes) -> set[str]:
    """The images of the Job that this process runs in; none outside of one, or where nothing says.

    Those of the Job, not of its pod: a cluster's webhooks may give every pod another registry.
    """
    pod = own_pod()
    if pod is None:
        return set()
    try:
        labels = kubernetes.get("pods", pod)["metadata"].get("labels", {})
        return _images(kubernetes.get("jobs", labels["job-name"])) if "job-name" in labels else set()
    except ApiError:
        return set()


def run(kubernetes: Kubernetes, template: Json, version: int) -> None:
    """Run the pre-flight of a version, and remove its Job.

    Args:
        kubernetes: The cluster and the Job's namespace.
        template: The Job; the version is added to its containers' environment.
        version: To be tried.

    Raises:
        RefusedError: Triton cannot load it, or answers wrongly.
        MistakeError: There is no such version, it is broken, or the store refuses the pod.
        FaultError: The pod could not run, or not in time.
    """
    pod = template["spec"]["template"]["spec"]
    for container in [*pod["initContainers"], *pod["containers"]]:
        container.setdefault("env", []).append({"name": VERSION_VARIABLE, "value": str(version)})
    try:
        job = _create(kubernetes, template)
    except ApiError as error:
        raise error.explained("start the pre-flight") from error
    say(f"Pre-flight: Job {kubernetes.namespace}/{job['metadata']['name']} …")
    try:
        _wait(kubernetes, job, version)
    except ApiError as error:
        raise error.explained("follow the pre-flight") from error
    finally:
        _remove(kubernetes, job)


def _create(kubernetes: Kubernetes, template: Json) -> Json:
    """Make the Job, once another one has ended: it has one name, to which a Role can limit its removal."""
    name = template["metadata"]["name"]
    ends = time.monotonic() + DEADLINE_SECONDS + LEFT_SECONDS
    told = False
    while True:
        try:
            return kubernetes.create("jobs", template)
        except ApiError as error:
            if error.code != _CONFLICT:
                raise
        other = kubernetes.find("jobs", name)
        if other is not None and _left(other):
            _remove(kubernetes, other)
        elif time.monotonic() > ends:
            raise FaultError(
                f"Another pre-flight, the Job {name} in namespace {kubernetes.namespace}, does not end; "
                "see its pod, or delete it."
            )
        elif other is not None and not told:
            say(f"Another pre-flight runs, the Job {kubernetes.namespace}/{name}; waiting for its end …")
            told = True
        time.sleep(_POLL_SECONDS)


def _left(job: Json) -> bool:
    """Whether a Job has ended and whoever made it has not removed it, though there was time to."""
    for condition in job.get("status", {}).get("conditions", []):
        if condition["type"] in ("Complete", "Failed") and condition["status"] == "True":
            ended = datetime.fromisoformat(condition["lastTransitionTime"])
            return (datetime.now(UTC) - ended).total_seconds() > LEFT_SECONDS
    return False


def _remove(kubernetes: Kubernetes, job: Json) -> None:
    metadata = job["metadata"]
    try:
        kubernetes.delete("jobs", metadata["name"], uid=metadata["uid"])
    except ApiError as error:
        if error.code not in (_NOT_FOUND, _CONFLICT):  # it is gone, and another may have its name
            raise error.explained(f"remove the Job {metadata['name']}") from error


def _wait(kubernetes: Kubernetes, job: Json, version: int) -> None:
    name, uid = job["metadata"]["name"], job["metadata"]["uid"]
    ends = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < ends:
        now = kubernetes.get("jobs", name)
        if now["metadata"]["uid"] != uid:
            raise FaultError(f"The pre-flight of version {version} was removed while it ran; try again.")
        status = now.get("status", {})
        if status.get("succeeded"):
            return
        for pod in kubernetes.list("pods", f"batch.kubernetes.io/controller-uid={uid}"):
            _judge(pod, version)
        if status.get("failed"):
            raise FaultError(
                f"The pre-flight of version {version} failed; "
                f"see `kubectl -n {kubernetes.namespace} get events`."
            )
        time.sleep(_POLL_SECONDS)
    raise FaultError(
        f"The pre-flight of version {version} did not end within {DEADLINE_SECONDS:g} s; "
        "is there room for its pod?"
    )


def _judge(pod: Json, version: int) -> None:
    """Raise when a pod has said that it will not pass."""
    for container in container_statuses(pod):
        ended, name = ending(container), container["name"]
        code = ended["exitCode"] if ended else 0
        said = str(ended.get("message", "")).strip() if ended else ""
        if name == "triton":
            # It runs until the pod ends, so an end before that is a model that brings it down.
            if code and container["restartCount"]:
                last = said.splitlines()[-1] if said else "it ended without a word"
                raise RefusedError(f"Triton ends with version {version} (exit code {code}): {last}")
        elif code == Exit.REFUSED:
            raise RefusedError(f"The pre-flight refused version {version}: {said}")
        elif code == Exit.MISTAKE:
            raise MistakeError(f"The pre-flight's container {name} ended: {said}")
        elif code:
            raise FaultError(f"The pre-flight's container {name} failed: {said or 'it said nothing'}")
        if reason := last_word(container):
            raise FaultError(f"The pre-flight's container {name} {reason}")
