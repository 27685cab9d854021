"""The pre-flight in the cluster: a short Job whose Triton, the one that would serve, loads a version.

The Job's template lies in the chart's ConfigMap. Its pod fetches the version, starts Triton with the
resources and configuration it would serve with, and asks it for known images (`jobs.cluster.preflight`).
"""

import time

from jobs.cluster.client import ApiError, Json, Kubernetes, own_pod
from jobs.cluster.rollout import container_statuses, ending, last_word
from jobs.console import say
from jobs.errors import Exit, FaultError, MistakeError, RefusedError

VERSION_VARIABLE = "CNN_IMAGE_PREFLIGHT_VERSION"
DEADLINE_SECONDS = 600.0
_POLL_SECONDS = 1.0


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
        template: The Job; the version is added to its name and its containers' environment.
        version: To be tried.

    Raises:
        RefusedError: Triton cannot load it, or answers wrongly.
        MistakeError: There is no such version, it is broken, or the store refuses the pod.
        FaultError: The pod could not run, or not in time.
    """
    template["metadata"]["generateName"] = f"{template['metadata'].pop('name')}-{version}-"
    pod = template["spec"]["template"]["spec"]
    for container in [*pod["initContainers"], *pod["containers"]]:
        container.setdefault("env", []).append({"name": VERSION_VARIABLE, "value": str(version)})
    try:
        name = str(kubernetes.create("jobs", template)["metadata"]["name"])
    except ApiError as error:
        raise error.explained("start the pre-flight") from error
    say(f"Pre-flight: Job {kubernetes.namespace}/{name} …")
    try:
        _wait(kubernetes, name, version)
    except ApiError as error:
        raise error.explained("follow the pre-flight") from error
    finally:
        kubernetes.delete("jobs", name)


def _wait(kubernetes: Kubernetes, name: str, version: int) -> None:
    ends = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < ends:
        status = kubernetes.get("jobs", name).get("status", {})
        if status.get("succeeded"):
            return
        for pod in kubernetes.list("pods", f"job-name={name}"):
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
