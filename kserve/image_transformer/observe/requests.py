"""What is noted about each request: numbers for Prometheus, a line in the log where it failed."""

import logging
import time

from image_transformer.errors import ServiceError
from image_transformer.observe.metrics import Metrics

log = logging.getLogger(__name__)


class Observation:
    """One request while it is answered; a context, and no generator, which takes longer than all it does."""

    __slots__ = ("_identity", "_observer", "_route", "_started", "error", "status")

    def __init__(self, observer: "Observer", route: str, identity: str) -> None:
        self._observer = observer
        self._route = route
        self._identity = identity
        self.status = 499  # what the log says of a client that hung up
        self.error: ServiceError | None = None

    def __enter__(self) -> "Observation":
        self._started = time.perf_counter()
        self._observer.begun()
        return self

    def __exit__(self, *_: object) -> None:
        self._observer.ended(self, self._route, self._identity, time.perf_counter() - self._started)
        self.error = None  # its traceback has the frames of the request, and through them this

    def failed(self, error: ServiceError) -> None:
        """Notes what the client was told."""
        self.status = error.failure.http
        self.error = error


class Observer:
    """Counts requests and logs them."""

    def __init__(self, metrics: Metrics, *, log_all: bool) -> None:
        self._metrics = metrics
        self._log_all = log_all
        self._turned_away = 0
        self._told = 0.0

    def turned_away(self) -> None:
        """A request was refused because of too many others: counted, and logged once a second."""
        self._metrics.errors["overloaded"] += 1
        self._turned_away += 1
        now = time.monotonic()
        if now - self._told >= 1:
            log.warning("too many requests are under way", extra={"turned_away": self._turned_away})
            self._told, self._turned_away = now, 0

    def request(self, route: str, identity: str) -> Observation:
        """Wraps the answering of one request."""
        return Observation(self, route, identity)

    def begun(self) -> None:
        """A request begins."""
        self._metrics.under_way += 1

    def ended(self, observation: Observation, route: str, identity: str, seconds: float) -> None:
        """A request has its answer."""
        self._metrics.under_way -= 1
        self._metrics.answered(route, observation.status, seconds)
        error = observation.error
        if error is not None and error.code == "overloaded" and not self._log_all:
            self.turned_away()
            return
        if error is not None:
            self._metrics.errors[error.code] += 1
        if error is not None or self._log_all or observation.status >= 500:
            fields: dict[str, object] = {
                "request_id": identity,
                "route": route,
                "status": observation.status,
                "milliseconds": round(seconds * 1000, 2),
            }
            if error is not None:
                fields["code"] = error.code
            message = error.sentence if error is not None else "answered"
            log.log(logging.ERROR if observation.status == 500 else logging.INFO, message, extra=fields)
