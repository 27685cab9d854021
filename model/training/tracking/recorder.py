"""Each run in MLflow: parameters, metrics by epoch, the data's digest, the commit, pictures, the report.

MLflow is for people; training does not depend on it. A thread of its own delivers what is to be recorded:
when MLflow is away, training goes on after one warning, the records wait, and are delivered once it is
back. At the end the thread gets a bounded time for the rest.
"""

import importlib
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from model.training.observer import Observer, Plan, TrainedModel
from model.training.runs import code_commit
from model.training.tracking.server import EXPERIMENT, connect, database_uri, experiment_id, log_artifacts
from model.training.tracking.trouble import ArtifactsError, explain, shown

log = logging.getLogger(__name__)

RUN_ID_FILE: Final = "mlflow-run-id"
RETRY_SECONDS: Final = 5.0
CLOSE_SECONDS: Final = 20.0


class Tracking(Observer):
    """Records a run in MLflow.

    Args:
        run_dir: The run's folder; MLflow's id of the run is kept there, so that a continued run stays one
            run.
        uri: MLflow's address; None takes MLFLOW_TRACKING_URI, then a SQLite file in `var`.
        var: Where the local store lies: `mlflow.db` and `mlruns/`.
        tags: Recorded with the run.
        experiment: What the run is one of.
    """

    def __init__(
        self,
        run_dir: Path,
        uri: str | None = None,
        *,
        var: Path = Path("var"),
        tags: dict[str, str] | None = None,
        experiment: str = EXPERIMENT,
    ) -> None:
        self._run_dir = run_dir
        own = database_uri(var.absolute() / "mlflow.db")
        self._uri = uri or os.environ.get("MLFLOW_TRACKING_URI") or own
        self._var = var
        self._tags = tags or {}
        self._experiment = experiment
        self._client: Any = None
        self._waiting: deque[Callable[[], None]] = deque()
        self._changed = threading.Condition()
        self._closing = self._warned = False
        self._refused = 0
        self._thread: threading.Thread | None = None
        id_file = run_dir / RUN_ID_FILE
        self.run_id: str | None = id_file.read_text().strip() if id_file.is_file() else None

    # What training tells.

    def started(self, plan: Plan) -> None:
        """Open the run."""
        parameters = {
            **asdict(plan.recipe),
            "seed": plan.seed,
            "device": plan.device,
            "data_source": plan.dataset.source,
            "data_kind": plan.dataset.kind,
            "data_digest": plan.dataset.digest,
            "training_images": len(plan.dataset.train),
        }
        if plan.pretrained:
            parameters["pretrained_origin"] = plan.pretrained.origin
            parameters["pretrained_dataset"] = plan.pretrained.dataset or "unknown"
            parameters["pretrained_licence"] = plan.pretrained.licence or "unknown"
        self._tags.setdefault("mlflow.source.git.commit", code_commit() or "unknown")
        self._enqueue(lambda: self._open(parameters, plan.run_dir.name))

    def epoch_ended(self, epoch: int, metrics: dict[str, float]) -> None:
        """Record its metrics."""
        now = time.time_ns() // 1_000_000
        self._enqueue(lambda: self._log_metrics(metrics, epoch, now))

    def finished(self, trained: TrainedModel) -> None:
        """Record what the run came to; the run stays open for artifacts until `close`."""
        metrics = {f"final_{name}": value for name, value in trained.metrics.items()}
        metrics["temperature"] = trained.temperature
        now = time.time_ns() // 1_000_000
        epoch = len(trained.history["loss"])
        self._enqueue(lambda: self._log_metrics(metrics, epoch, now))

    def stopped(self, reason: BaseException) -> None:
        """Mark the run as killed or failed; a continued run opens it again."""
        self.close("KILLED" if isinstance(reason, KeyboardInterrupt | SystemExit) else "FAILED")

    # What the program tells.

    def record_files(self, folder: Path, name: str | None = None) -> None:
        """Record a file, or a folder's files, as artifacts under `name`."""
        self._enqueue(lambda: log_artifacts(self._client, str(self.run_id), folder, name))

    def close(self, status: str = "FINISHED") -> None:
        """Deliver what waits, at most `CLOSE_SECONDS` long, and end the run with `status`."""
        if self._thread is None:
            return
        self._enqueue(lambda: self._client.set_terminated(self.run_id, status))
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(CLOSE_SECONDS)
        lost = len(self._waiting) + self._refused
        if lost:
            log.warning("MLflow at %s did not take %d records of this run.", shown(self._uri), lost)
        self._thread = None

    # The thread that delivers.

    def _enqueue(self, record: Callable[[], None]) -> None:
        with self._changed:
            self._waiting.append(record)
            self._changed.notify_all()
        if self._thread is None:
            # Imported before there is a second thread: two that import at once can leave a module half made,
            # and mlflow then goes on without its client.
            importlib.import_module("mlflow")
            self._closing = False
            # A daemon: a server that never answers must not keep the process.
            self._thread = threading.Thread(target=self._deliver, name="mlflow", daemon=True)
            self._thread.start()

    def _deliver(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._waiting) or self._closing)
                if not self._waiting:
                    return
                record = self._waiting[0]
            try:
                self._connect()
                record()
            except Exception as error:  # whatever MLflow raises, training goes on
                lasting = self._warn(error)
                with self._changed:
                    if lasting and isinstance(error, ArtifactsError):
                        # A file that has no place must not keep the others: the run's end comes last.
                        self._refused += 1
                        self._waiting.popleft()
                        continue
                    if self._closing:
                        return
                    self._changed.wait_for(lambda: self._closing, RETRY_SECONDS)
            else:
                with self._changed:
                    self._waiting.popleft()

    def _warn(self, error: Exception) -> bool:
        """Warn once; returns whether asking again would end the same."""
        trouble = explain(error)
        if not self._warned:
            self._warned = True
            log.warning("%s. Training goes on without it.", trouble.sentence(self._uri))
        return trouble.lasting

    def _connect(self) -> None:
        if self._client is None:
            self._client = connect(self._uri)  # its patience must fit into CLOSE_SECONDS

    def _open(self, parameters: dict[str, Any], name: str) -> None:
        from mlflow.entities import Param

        if self.run_id is None:
            experiment = experiment_id(self._client, self._uri, self._var, self._experiment)
            run = self._client.create_run(experiment, run_name=name, tags=self._tags)
            self.run_id = run.info.run_id
            (self._run_dir / RUN_ID_FILE).write_text(self.run_id)
        else:
            self._client.update_run(self.run_id, status="RUNNING")
        self._client.log_batch(
            self.run_id, params=[Param(key, str(value)) for key, value in parameters.items()]
        )

    def _log_metrics(self, metrics: dict[str, float], epoch: int, milliseconds: int) -> None:
        from mlflow.entities import Metric

        self._client.log_batch(
            self.run_id, metrics=[Metric(name, value, milliseconds, epoch) for name, value in metrics.items()]
        )
