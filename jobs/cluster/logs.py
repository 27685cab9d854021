"""The logs of a Job's pods: of the newest one, or of all that an Indexed Job has side by side."""

import contextlib
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Final

import urllib3

from jobs.cluster.client import ApiError, Json, Kubernetes
from jobs.cluster.launch import CONTAINER, look
from jobs.cluster.serving.rollout import container_statuses
from jobs.errors import JobError, MistakeError

_POLL_SECONDS = 1.0
_INDEX: Final = "batch.kubernetes.io/job-completion-index"


def logs(kubernetes: Kubernetes, name: str, *, follow: bool, seconds: float = 600) -> Iterator[bytes]:
    """Yield a Job's log as it comes: its newest pod's, or each line of all its pods behind their indexes.

    Args:
        kubernetes: The cluster and the Job's namespace.
        name: The Job.
        follow: Wait for a pod that has not started yet, and go on until they end.
        seconds: How long to wait for the first pod.
    """
    ends = time.monotonic() + seconds
    while True:
        state = look(kubernetes, name)
        begun = _begun_pods(kubernetes, name)
        if begun and _index(begun[0]) is not None:
            yield from _followed(kubernetes, name) if follow else _in_turn(kubernetes, begun)
            return
        if begun:
            newest = max(begun, key=_created)
            with _explained(name):
                yield from kubernetes.logs(newest["metadata"]["name"], CONTAINER, follow=follow).stream()
            return
        if not follow or state.state in ("succeeded", "failed") or time.monotonic() > ends:
            raise MistakeError(
                f"The Job {name} has no log: it is {state.state} ({state.reason or 'no pod'})."
            )
        time.sleep(_POLL_SECONDS)


def last_line(kubernetes: Kubernetes, name: str) -> str:
    """Return what a Job said last, such as what a rollback did; empty where its log is gone.

    That is the word that a pod left, or the last line of its log; of several pods the one's that ended last.
    """
    try:
        pods = _begun_pods(kubernetes, name)
        if words := [pod for pod in pods if _word(pod)]:
            return _word(max(words, key=_ended))
        if not pods:
            return ""
        last = max(pods, key=_ended)
        said = b"".join(kubernetes.logs(last["metadata"]["name"], CONTAINER, follow=False).stream())
    except (ApiError, JobError):
        return ""
    return said.decode(errors="replace").strip().rpartition("\n")[2]


def _in_turn(kubernetes: Kubernetes, pods: Sequence[Json]) -> Iterator[bytes]:
    """What all pods have said, one behind the other."""
    for pod in sorted(pods, key=lambda pod: (_index(pod), _created(pod))):
        yield from _lines(kubernetes, pod, follow=False)


def _followed(kubernetes: Kubernetes, name: str) -> Iterator[bytes]:
    """What all pods say, those that come later included, until the Job has ended."""
    said: queue.Queue[bytes] = queue.Queue()
    readers: dict[str, threading.Thread] = {}

    def read(pod: Json) -> None:
        for line in _lines(kubernetes, pod, follow=True):
            said.put(line)

    ended = False
    while not ended or any(reader.is_alive() for reader in readers.values()):
        ended = look(kubernetes, name).state in ("succeeded", "failed")
        for pod in _begun_pods(kubernetes, name):
            if (uid := str(pod["metadata"]["uid"])) not in readers:
                readers[uid] = threading.Thread(target=read, args=(pod,), daemon=True)
                readers[uid].start()
        again = time.monotonic() + _POLL_SECONDS
        with contextlib.suppress(queue.Empty):
            while (left := again - time.monotonic()) > 0:
                yield said.get(timeout=left)
    while not said.empty():
        yield said.get()


def _lines(kubernetes: Kubernetes, pod: Json, *, follow: bool) -> Iterator[bytes]:
    """What a pod of an Indexed Job says, each line behind its index; nothing of one that is gone."""
    rest, head = b"", f"[{_index(pod)}] ".encode()
    try:
        for part in kubernetes.logs(pod["metadata"]["name"], CONTAINER, follow=follow).stream():
            *lines, rest = (rest + part).split(b"\n")
            for line in lines:
                yield head + line + b"\n"
    except (ApiError, JobError, urllib3.exceptions.HTTPError):
        return
    if rest:
        yield head + rest + b"\n"


@contextlib.contextmanager
def _explained(name: str) -> Iterator[None]:
    """A refusal inside is said in a sentence."""
    try:
        yield
    except ApiError as error:
        raise error.explained(f"read the log of {name}") from error


def _begun_pods(kubernetes: Kubernetes, name: str) -> list[Json]:
    with _explained(name):
        return [pod for pod in kubernetes.list("pods", f"job-name={name}") if _begun(pod)]


def _begun(pod: Json) -> bool:
    return any(
        container["name"] == CONTAINER and "waiting" not in container["state"]
        for container in container_statuses(pod)
    )


def _index(pod: Json) -> int | None:
    said = pod["metadata"].get("annotations", {}).get(_INDEX)
    return None if said is None else int(said)


def _created(pod: Json) -> str:
    return str(pod["metadata"]["creationTimestamp"])


def _word(pod: Json) -> str:
    """What it left as it ended well; empty where it left nothing."""
    ended = _state(pod).get("terminated", {})
    return str(ended.get("message", "")).strip() if ended.get("exitCode") == 0 else ""


def _ended(pod: Json) -> tuple[str, str]:
    """When it ended, and when it was made: the newest where none says."""
    return str(_state(pod).get("terminated", {}).get("finishedAt", "")), _created(pod)


def _state(pod: Json) -> Json:
    """Of the container that `cnn-image` runs in."""
    states = (each["state"] for each in container_statuses(pod) if each["name"] == CONTAINER)
    found: Json = next(states, {})
    return found
