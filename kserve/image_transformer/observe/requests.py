"""What is noted about each request: numbers for Prometheus, a line in the log where it failed."""

import logging
import time
from collections.abc import Mapping
from contextvars import Token

from image_transformer.errors import ServiceError
from image_transformer.observe.metrics import Metrics
from image_transformer.observe.tracing import Trace, Tracing, current

log = logging.getLogger(__name__)


class Observation:
    """One request while it is answered; a context, and no generator, which takes longer than all it does."""

    __slots__ = (
        *("_headers", "_identity", "_observer", "_route", "_started", "_token"),
        *("error", "status", "trace"),
    )

    def __init__(
        self, observer: "Observer", route: str, identity: str, headers: Mapping[bytes, bytes] | None
    ) -> None:
        self._observer = observer
        self._route = route
        self._identity = identity
        self._headers = headers
        self._token: Token[Trace | None] | None = None
        self.trace: Trace | None = None
        self.status = 499  # what the log says of a client that hung up
        self.error: ServiceError | None = None

    def __enter__(self) -> "Observation":
        self._started = time.perf_counter()
        self._observer.metrics.under_way += 1
        if self._headers is not None:
            self.trace = self._observer.tracing.begin(self._route, self._headers)
            if self.trace is not None:
                self._token = current.set(self.trace)
        return self

    def __exit__(self, *_: object) -> None:
        seconds = time.perf_counter() - self._started
        metrics = self._observer.metrics
        metrics.under_way -= 1
        metrics.answered(self._route, self.status, seconds)
        if self.error is not None or self.status >= 500 or self._observer.log_all:
            self._observer.tell(self, self._route, self._identity, seconds)
        if self.trace is not None and self._token is not None:
            current.reset(self._token)
            self.trace.ended(self.status, self.error.code if self.error is not None else None)
        self.error = None  # its traceback has the frames of the request, and through them this

    def failed(self, error: ServiceError) -> None:
        """Notes what the client was told."""
        self.status = error.failure.http
        self.error = error


class Observer:
    """Counts requests and logs them.

    Attributes:
        tracing: Where their traces begin.
        metrics: Where they are counted.
        log_all: Whether each of them has a line in the log.
    """

    def __init__(self, metrics: Metrics, *, log_all: bool, tracing: Tracing | None = None) -> None:
        self.tracing = tracing or Tracing()
        self.metrics = metrics
        self.log_all = log_all
        self._turned_away = 0
        self._told = 0.0

    def turned_away(self) -> None:
        """A request was refused because of too many others: counted, and logged once a second."""
        self.metrics.errors["overloaded"] += 1
        self._turned_away += 1
        now = time.monotonic()
        if now - self._told >= 1:
            log.warning("too many requests are under way", extra={"turned_away": self._turned_away})
            self._told, self._turned_away = now, 0

    def request(self, route: str, identity: str, headers: Mapping[bytes, bytes] | None = None) -> Observation:
        """Wraps the answering of one request.

        Args:
            route: Its name in the metrics.
            identity: Its id.
            headers: Of one that is traced, names in lower case; None where it is not, as GETs.
        """
        return Observation(self, route, identity, headers)

    def tell(self, observation: Observation, route: str, identity: str, seconds: float) -> None:
        """Logs a request that has its answer, and counts its error."""
        error = observation.error
        if error is not None and error.code == "overloaded" and not self.log_all:
            self.turned_away()
            return
        fields: dict[str, object] = {
            "request_id": identity,
            "route": route,
            "status": observation.status,
            "milliseconds": round(seconds * 1000, 2),
        }
        if observation.trace is not None:
            fields["trace_id"] = observation.trace.id
        if error is not None:
            self.metrics.errors[error.code] += 1
            fields["code"] = error.code
        message = error.sentence if error is not None else "answered"
        log.log(logging.ERROR if observation.status == 500 else logging.INFO, message, extra=fields)
