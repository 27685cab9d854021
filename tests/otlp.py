"""A collector of OpenTelemetry's spans: takes OTLP over HTTP, protobuf or JSON, and keeps what came."""

import gzip
import re
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


@dataclass
class Collector:
    """What came so far.

    Attributes:
        address: For OTEL_EXPORTER_OTLP_ENDPOINT.
        resources: Attributes of who sent.
        spans: In the order in which they came.
    """

    address: str = ""
    resources: list[dict[str, Any]] = field(default_factory=list)
    spans: list[Any] = field(default_factory=list)

    def named(self, *names: str) -> list[Any]:
        return [span for span in self.spans if span.name in names]


def attributes(of: Any) -> dict[str, Any]:
    """A span's, or a resource's."""
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in of.attributes}


def _request(body: bytes, kind: str) -> ExportTraceServiceRequest:
    if kind.startswith(
        "application/json"
    ):  # as Triton sends; ids are hexadecimal there, and protobuf's in base64
        ids = rb'("(?:traceId|spanId|parentSpanId)":\s*")([0-9a-fA-F]*)'
        body = re.sub(ids, lambda found: found[1] + b64encode(bytes.fromhex(found[2].decode())), body)
        return json_format.Parse(body, ExportTraceServiceRequest(), ignore_unknown_fields=True)
    return ExportTraceServiceRequest.FromString(body)


@contextmanager
def collecting() -> Iterator[Collector]:
    """Takes spans on a free port."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            assert self.path == "/v1/traces"
            for resource in _request(body, self.headers["content-type"]).resource_spans:
                collector.resources.append(attributes(resource.resource))
                for scope in resource.scope_spans:
                    collector.spans += scope.spans
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(200)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    collector.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
