"""Follow an InferenceService's rollout: done when the new version alone runs, failed when its pods say so."""

import time
from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from jobs.cluster.client import ApiError, Json, Kubernetes
from jobs.errors import FaultError, RefusedError

SOURCE = "internal.serving.kserve.io/storage-initializer-sourceuri"
"""KServe's own annotation on predictor pods: where their model comes from."""

SETTLE_SECONDS = 10.0
"""So long all must have been there where KServe does not say that it has seen the specification: it writes
its status only when something else in it changes, so 0.20 does not for a change of replicas."""

_POLL_SECONDS = 1.0
_TOO_MANY_REQUESTS = 429
_HOPELESS = {
    "ErrImagePull",
    "ErrImageNeverPull",
    "ImagePullBackOff",
    "InvalidImageName",
    "CreateContainerConfigError",
}
_TRIES = 3
"""Ends of one container that are taken as its last word."""
_LONGEST_BACK_OFF: Final = timedelta(minutes=5)
"""Kubernetes' between two starts of a container."""


class Rollout:
    """One rollout.

    Args:
        kubernetes: The InferenceService's place.
        uri: The storageUri that is rolled out.
        replaced: Names of pods that go by it; that they cannot start says nothing of those that come.
    """

    def __init__(self, kubernetes: Kubernetes, uri: str, replaced: Collection[str] = ()) -> None:
        self._kubernetes = kubernetes
        self._name = kubernetes.names.model
        self._uri = uri
        self._replaced = replaced

    def wait(self, seconds: float) -> None:
        """Wait until the new version alone serves.

        Raises:
            RefusedError: Its pods cannot start; the sentence says which and why.
            FaultError: It was not ready in time.
        """
        ends = time.monotonic() + seconds
        settled: float | None = None
        while True:
            read, reason, awaited = False, None, None
            try:
                # Asked first: what KServe does in between must not pass for what was there before.
                service = self._kubernetes.get("inferenceservices", self._name)
                read = (
                    service.get("status", {}).get("observedGeneration") == service["metadata"]["generation"]
                )
                awaited = self._awaited(service)
                reason = self._hopeless() if awaited else None
                if awaited is None and read:
                    return
            except ApiError as error:
                if error.code != _TOO_MANY_REQUESTS and error.code < 500:
                    raise error.explained("watch the rollout") from error
                awaited = f"Kubernetes answered {error.code}"
            except FaultError as error:  # the rollout goes on though one question was not answered
                awaited = str(error)
            settled = (settled or time.monotonic()) if awaited is None else None
            if settled and time.monotonic() - settled >= SETTLE_SECONDS:
                return
            if reason:
                raise RefusedError(f"The rollout of {self._uri} failed: {reason}")
            if time.monotonic() > ends:
                raise FaultError(
                    f"The rollout of {self._uri} was not ready within {seconds:g} s: "
                    f"{awaited or 'KServe has not read it yet'}; "
                    f"see `kubectl -n {self._kubernetes.namespace} describe isvc {self._name}`."
                )
            time.sleep(_POLL_SECONDS)

    def _awaited(self, service: Json) -> str | None:
        """What is still to come, in words; None when all is there."""
        for part in ("predictor", "transformer"):
            if part in service["spec"] and (reason := self._unfinished(part)):
                return reason
        # A pod that is ending still answers for a while, from the version before.
        old = [pod["metadata"]["name"] for pod in self._pods("predictor") if source(pod) != self._uri]
        if old:
            return f"{', '.join(old)} still ends"
        ready = {
            condition["type"]: condition["status"]
            for condition in service.get("status", {}).get("conditions", [])
        }
        return None if ready.get("Ready") == "True" else "the InferenceService is not Ready"

    def _unfinished(self, part: str) -> str | None:
        deployment = self._kubernetes.find("deployments", f"{self._name}-{part}")
        if deployment is None:
            return f"KServe has not made the {part}"
        if part == "predictor" and source(deployment["spec"]["template"]) != self._uri:
            return "KServe has not changed the predictor"
        reason = unfinished(deployment)
        return f"the {part} has {reason}" if reason else None

    def _pods(self, part: str) -> list[Json]:
        return self._kubernetes.list(
            "pods", f"serving.kserve.io/inferenceservice={self._name},component={part}"
        )

    def pods(self, part: str) -> list[Json]:
        """The pods of `predictor` or `transformer` that are to stay, and have what is rolled out."""
        return [
            pod
            for pod in self._pods(part)
            if pod["metadata"]["name"] not in self._replaced
            and (part == "transformer" or source(pod) == self._uri)
        ]

    def hopeless(self, part: str, tries: int = _TRIES) -> str | None:
        """Why the new pods of `predictor` or `transformer` will not start; None while they may."""
        for pod in self.pods(part):
            for container in container_statuses(pod):
                if reason := last_word(container, tries):
                    return f"{container['name']} in {pod['metadata']['name']} {reason}"
        return None

    def _hopeless(self) -> str | None:
        return self.hopeless("predictor") or self.hopeless("transformer")


def source(pod: Json) -> str | None:
    """Where a predictor pod's model comes from."""
    found: str | None = pod["metadata"].get("annotations", {}).get(SOURCE)
    return found


def unfinished(deployment: Json) -> str | None:
    """What a Deployment lacks, in words; None when all its pods are new and available."""
    wanted, status = deployment["spec"]["replicas"], deployment.get("status", {})
    if status.get("observedGeneration", 0) < deployment["metadata"]["generation"]:
        return "not been read by Kubernetes yet"
    new, ready, all_pods = (
        status.get(name, 0) for name in ("updatedReplicas", "availableReplicas", "replicas")
    )
    if new == ready == all_pods == wanted:
        return None
    return f"{new} new pods and {ready} ready of {wanted}, {all_pods} in all"


def container_statuses(pod: Json) -> Iterator[Json]:
    """The states of a pod's containers, those that prepare first."""
    for which in ("initContainerStatuses", "containerStatuses"):
        yield from pod.get("status", {}).get(which, [])


def last_word(container: Json, tries: int = _TRIES) -> str | None:
    """Why a container will not come up, in words; None while it may, having ended less than `tries` times."""
    waiting = container["state"].get("waiting", {})
    if waiting.get("reason") in _HOPELESS:
        return f"cannot start: {waiting['reason']} ({waiting.get('message', 'no reason given')})"
    ended = ending(container)
    if container["restartCount"] < tries or container["ready"] or _runs_on(container):
        return None
    if ended and ended["exitCode"]:
        said = str(ended.get("message", "")).strip().splitlines()
        times = "time" if container["restartCount"] == 1 else "times"
        words = f"ended {container['restartCount']} {times} with exit code {ended['exitCode']}"
        return f"{words}: {said[-1]}" if said else words
    return None


def _runs_on(container: Json) -> bool:
    """Whether it runs for longer than Kubernetes waits between two tries at most: it does not end again."""
    since = container["state"].get("running", {}).get("startedAt")
    return since is not None and datetime.now(UTC) - datetime.fromisoformat(since) > _LONGEST_BACK_OFF


def ending(container: Json) -> Json | None:
    """How a container ended last; None if it has not."""
    ended: Json | None = container["state"].get("terminated") or container.get("lastState", {}).get(
        "terminated"
    )
    return ended
