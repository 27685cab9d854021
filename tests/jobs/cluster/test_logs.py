"""A Job's log: of its newest pod, or of all that stand side by side."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from jobs.cluster import logs
from jobs.cluster.client import ApiError
from jobs.errors import MistakeError


class FakeKubernetes:
    """A Job whose pods and what they say are set by the test."""

    namespace = "ns"

    def __init__(self) -> None:
        self.conditions: list[dict[str, str]] = []
        self.pods: list[dict[str, Any]] = []
        self.said: dict[str, list[bytes]] = {}

    def get(self, kind: str, name: str) -> Any:
        metadata = {"name": name, "creationTimestamp": "2026-11-22T18:00:00Z"}
        return {"metadata": metadata, "status": {"conditions": self.conditions}}

    def list(self, kind: str, selector: str) -> list[Any]:
        assert (kind, selector) == ("pods", "job-name=j")
        return self.pods

    def logs(self, pod: str, container: str, *, follow: bool) -> Any:
        if pod not in self.said:
            raise ApiError(404, {"message": f'pods "{pod}" not found'}, "Not Found")
        return SimpleNamespace(stream=lambda: self._stream(pod))

    def _stream(self, pod: str) -> Any:
        yield from self.said[pod]

    def add(
        self,
        name: str,
        said: Sequence[bytes] | None,
        index: int | None = None,
        ended: str = "",
        at: int = 0,
        word: str = "",
    ) -> None:
        annotations = {} if index is None else {"batch.kubernetes.io/job-completion-index": str(index)}
        state = (
            {"terminated": {"exitCode": 0, "finishedAt": ended, "message": word}}
            if ended
            else {"running": {}}
        )
        self.pods.append(
            {
                "metadata": {
                    "name": name,
                    "uid": name,
                    "creationTimestamp": f"2026-11-22T18:00:{at:02}Z",
                    "annotations": annotations,
                },
                "status": {
                    "phase": "Succeeded" if ended else "Running",
                    "containerStatuses": [{"name": "cnn-image", "state": state}],
                },
            }
        )
        if said is not None:
            self.said[name] = list(said)

    def end(self) -> None:
        self.conditions = [{"type": "Complete", "status": "True"}]


@pytest.fixture
def kubernetes() -> FakeKubernetes:
    return FakeKubernetes()


def read(kubernetes: Any, *, follow: bool = False) -> bytes:
    return b"".join(logs.logs(kubernetes, "j", follow=follow))


def test_of_tries_one_after_another_the_newest_is_shown(kubernetes: FakeKubernetes) -> None:
    kubernetes.add("old", [b"It failed.\n"], at=1)
    kubernetes.add("new", [b"It ", b"works.\n"], at=2)
    assert read(kubernetes) == b"It works.\n"


def test_of_pods_side_by_side_each_line_stands_behind_its_index(kubernetes: FakeKubernetes) -> None:
    kubernetes.add("j-1-a", [b"one\ntw", b"o\nthree"], index=1, at=1)
    kubernetes.add("j-0-b", [b"again\n"], index=0, at=3)
    kubernetes.add("j-0-a", [b"lost\n"], index=0, at=2)
    kubernetes.add("j-2-a", None, index=2, at=4)  # it is gone by now
    assert read(kubernetes) == b"[0] lost\n[0] again\n[1] one\n[1] two\n[1] three\n"


def test_followed_pods_are_read_side_by_side_until_the_job_ends(
    kubernetes: FakeKubernetes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "_POLL_SECONDS", 0.01)
    kubernetes.add("j-0-a", [b"zero\n"], index=0)
    kubernetes.add("j-1-a", [b"one\n"], index=1)
    lines = logs.logs(kubernetes, "j", follow=True)  # type: ignore[arg-type]
    assert {next(lines), next(lines)} == {b"[0] zero\n", b"[1] one\n"}
    kubernetes.add("j-1-b", [b"one again\n"], index=1)  # the first was lost
    assert next(lines) == b"[1] one again\n"
    kubernetes.end()
    assert list(lines) == []


def test_the_last_word_is_that_of_the_pod_that_ended_last(kubernetes: FakeKubernetes) -> None:
    kubernetes.add("j-0-a", [b"Scoring.\nAll is there.\n"], index=0, ended="2026-11-22T18:09:00Z", at=1)
    kubernetes.add("j-1-a", [b"Mine is done.\n"], index=1, ended="2026-11-22T18:05:00Z", at=2)
    assert logs.last_line(kubernetes, "j") == "All is there."  # type: ignore[arg-type]
    # The word that a pod left goes before the end of a log, where stdout and stderr come in any order.
    kubernetes.add(
        "j-2-a", [b"cat 2.0%\n"], index=2, ended="2026-11-22T18:08:00Z", at=3, word="9 are answered.\n"
    )
    assert logs.last_line(kubernetes, "j") == "9 are answered."  # type: ignore[arg-type]


def test_a_job_without_a_pod_has_none(kubernetes: FakeKubernetes) -> None:
    kubernetes.end()
    with pytest.raises(MistakeError, match=r"The Job j has no log: it is succeeded \(no pod\)."):
        read(kubernetes)
    assert logs.last_line(kubernetes, "j") == ""  # type: ignore[arg-type]
