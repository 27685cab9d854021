"""Training in the cluster: a Kubernetes Job from the release's template."""

import asyncio
import re
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from image_transformer.errors import ServiceError
from image_transformer.training.routes import Training

_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
T = TypeVar("T")


class ClusterTrainer:
    """Starts Jobs and looks at them."""

    def __init__(self, namespace: str, model: str) -> None:
        self._namespace, self._model = namespace, model

    async def start(self, wishes: Mapping[str, int]) -> str:
        """Starts a training; see `Trainer`."""
        return await _in_thread(lambda: self._start(wishes))

    async def look(self, name: str) -> Training | None:
        """Returns how a training stands; see `Trainer`."""
        return await _in_thread(lambda: self._look(name)) if _NAME.fullmatch(name) else None

    async def close(self) -> None:
        """A Job goes on without whoever started it."""

    def _start(self, wishes: Mapping[str, int]) -> str:
        from jobs.cluster import launch  # here: the kubernetes client takes a second and 40 MB
        from jobs.cluster.client import Kubernetes

        kubernetes = Kubernetes(self._namespace, model=self._model)
        if any(job.state in {"waiting", "running"} for job in launch.list_jobs(kubernetes)):
            raise ServiceError("training_under_way", "A training runs already; wait for it to end.")
        return launch.start(kubernetes, env={name.upper(): str(value) for name, value in wishes.items()})

    def _look(self, name: str) -> Training | None:
        from jobs.cluster import launch
        from jobs.cluster.client import Kubernetes

        kubernetes = Kubernetes(self._namespace, model=self._model)
        job = next((job for job in launch.list_jobs(kubernetes) if job.name == name), None)
        if job is None:
            return None
        if job.outcome is None and job.state == "succeeded":
            return Training("failed", "the Job ended without an outcome; its log has more")
        outcome = job.outcome
        if outcome is None:
            return Training(job.state, job.reason)
        return Training(job.state, job.reason, outcome.metrics, outcome.model_path)


async def _in_thread(work: Callable[[], T]) -> T:
    from jobs.errors import JobError

    try:
        return await asyncio.to_thread(work)
    except JobError as error:
        raise ServiceError("training_failed", str(error)) from None
