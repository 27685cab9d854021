"""OpenTelemetry's spans of a request: decode, queue, triton; sent by OTLP over HTTP.

Who sends where, how often and how many is told by OpenTelemetry's own variables
(https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/).
"""

import os
import threading
import time
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Final

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from image_transformer.observe.tracing import Trace, Traced, Tracing

_FLUSH_SECONDS: Final = 2.0
_GRPC: Final = "inference.GRPCInferenceService/ModelInfer"
_NANO: Final = 1_000_000_000
_propagator: Final = TraceContextTextMapPropagator()


class SpanTrace(Trace):
    """A request with a span of its own, and a span for each of its parts.

    Its images are decoded one by one, and there may be 256: one span is from the first's beginning to the
    last's end, and says how much of that time it was.
    """

    __slots__ = (
        "_busy",
        "_context",
        "_decoded",
        "_first",
        "_last",
        "_offset",
        "_over_http",
        "_tracer",
        "span",
    )

    def __init__(self, tracer: Tracer, span: Span, *, over_http: bool) -> None:
        context = set_span_in_context(span, Context())
        super().__init__(f"{span.get_span_context().trace_id:032x}", _head(context))
        self.span = span
        self._over_http = over_http
        self._tracer = tracer
        self._context = context
        self._offset = time.time_ns() - time.perf_counter_ns()
        self._decoded = 0
        self._busy = self._first = self._last = 0.0

    def decoded(self, started: float, ended: float) -> None:
        """See `Trace.decoded`."""
        self._first = self._first or started
        self._last = ended
        self._busy += ended - started
        self._decoded += 1

    def calling(self, pieces: Sequence[Traced]) -> "SpanCall":
        """See `Trace.calling`."""
        return SpanCall(self._tracer, pieces)

    def part(self, name: str, start: int, links: Sequence[Link] = (), **attributes: int) -> Span:
        """Begins a span inside the request's."""
        return self._tracer.start_span(
            name,
            self._context,
            SpanKind.CLIENT if name == "triton" else SpanKind.INTERNAL,
            attributes,
            links,
            start,
        )

    def ended(self, status: int, code: str | None) -> None:
        """See `Trace.ended`."""
        if self._decoded:
            span = self.part("decode", self._since_1970(self._first), images=self._decoded)
            span.set_attribute("busy_seconds", round(self._busy, 6))
            span.end(self._since_1970(self._last))
        if self._over_http:
            self.span.set_attribute("http.response.status_code", status)
        if code is not None:
            self.span.set_attribute("error.type", code)
        if status >= 500:
            self.span.set_status(Status(StatusCode.ERROR))
        self.span.end()

    def _since_1970(self, seconds: float) -> int:
        return int(seconds * _NANO) + self._offset


class SpanCall:
    """A call to Triton, whose span is of the request's trace where its images are of one request.

    Where they are of several, which have a trace each, the call is a trace of its own, linked with all of
    theirs, and Triton is told of that; each request has a span `triton` with a link back.

    Attributes:
        head: See `Calling`.
    """

    __slots__ = ("_spans", "head")

    def __init__(self, tracer: Tracer, pieces: Sequence[Traced]) -> None:
        now = time.time_ns()
        images: dict[SpanTrace, int] = {}
        for piece in pieces:
            if isinstance(piece.trace, SpanTrace):
                piece.trace.part("queue", piece.queued, images=piece.count).end(now)
                images[piece.trace] = images.get(piece.trace, 0) + piece.count
        links: list[Link] = []
        self._spans: list[Span] = []
        total = sum(piece.count for piece in pieces)
        if len(images) > 1:
            context = Context()
            batch = tracer.start_span(
                "triton batch",
                context,
                SpanKind.CLIENT,
                {"images": total, "requests": len(images)},
                [Link(trace.span.get_span_context()) for trace in images],
                now,
            )
            links = [Link(batch.get_span_context())]
            self._spans.append(batch)
        for trace, count in images.items():
            self._spans.append(trace.part("triton", now, links, images=count, batch_images=total))
        self.head = _head(set_span_in_context(self._spans[0], Context()))

    def ended(self, *, failed: bool) -> None:
        """See `Calling`."""
        for span in self._spans:
            if failed:
                span.set_status(Status(StatusCode.ERROR))
            span.end()


class Spans(Tracing):
    """Begins a request's span, and sends those that have ended from a thread of its own."""

    def __init__(self, model: str) -> None:
        version = metadata.version("cnn-image")
        attributes = {SERVICE_VERSION: version}
        told = os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
        if not os.environ.get("OTEL_SERVICE_NAME") and "service.name=" not in told:
            attributes[SERVICE_NAME] = model
        self._exporter = OTLPSpanExporter()
        self._processor = BatchSpanProcessor(self._exporter)
        provider = TracerProvider(resource=Resource.create(attributes), shutdown_on_exit=False)
        provider.add_span_processor(self._processor)
        self._tracer = provider.get_tracer("cnn-image", version)

    def begin(self, route: str, headers: Mapping[bytes, bytes]) -> SpanTrace:
        """See `Tracing.begin`; a request that names no trace begins one."""
        names = (b"traceparent", b"tracestate")
        carrier = {name.decode(): headers[name].decode("latin-1") for name in names if name in headers}
        over_http = route.startswith("/")
        span = self._tracer.start_span(
            f"POST {route}" if over_http else _GRPC,
            _propagator.extract(carrier, Context()),
            SpanKind.SERVER,
            {"http.request.method": "POST", "http.route": route} if over_http else {"rpc.system": "grpc"},
        )
        return SpanTrace(self._tracer, span, over_http=over_http)

    def close(self) -> None:
        """Sends the last spans, for as long as that may take; a collector that is away keeps nobody."""
        flushing = threading.Thread(target=self._processor.force_flush, daemon=True)
        flushing.start()
        flushing.join(_FLUSH_SECONDS)
        self._exporter.shutdown()  # type: ignore[no-untyped-call]


def _head(context: Context) -> bytes:
    carrier: dict[str, str] = {}
    _propagator.inject(carrier, context)
    return "".join(f"{name}: {value}\r\n" for name, value in carrier.items()).encode()
