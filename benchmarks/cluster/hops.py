"""Where a request's time goes between the client and the network, by our own metrics and Triton's."""

from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from benchmarks.cluster.objects import kubectl, pods, transformer_labels, triton_labels
from model.contract import MODEL_NAME

_OURS = (
    "request_seconds_sum",
    "request_seconds_count",
    "triton_seconds_sum",
    "triton_seconds_count",
    "decode_seconds_sum",
)
_TRITON = (
    "nv_inference_request_duration_us",
    "nv_inference_request_success",
    "nv_inference_compute_infer_duration_us",
)


@dataclass(frozen=True)
class Hops:
    """What one request of one image over one connection takes, in ms, one part after the other.

    Attributes:
        outside: Between the client and the transformer's first line: node port, kernel, uvicorn.
        decoding: The image to pixels.
        transformer: The rest of the transformer.
        between: From the transformer to Triton's first line and back.
        triton: Triton without its backend.
        network: Its backend, which runs the network.
    """

    outside: float
    decoding: float
    transformer: float
    between: float
    triton: float
    network: float


def counted(namespace: str, service: str) -> dict[str, float]:
    """Returns the sums over all pods of both kinds of counters."""
    totals = dict.fromkeys((*_OURS, *_TRITON), 0.0)
    for labels, port in ((transformer_labels(), 8080), (triton_labels(service), 8002)):
        selector = ",".join(f"{key}={text}" for key, text in labels.items())
        for pod in pods(namespace, selector):
            path = f"/api/v1/namespaces/{namespace}/pods/{pod['metadata']['name']}:{port}/proxy/metrics"
            add(totals, kubectl("get", "--raw", path))
    return totals


def add(totals: dict[str, float], metrics: str) -> None:
    """Adds what Prometheus' text says of our model to those totals that it has."""
    for family in text_string_to_metric_families(metrics):
        for sample in family.samples:
            # The parser gives every counter the ending, Triton's too.
            name = sample.name.removeprefix("cnn_image_").removesuffix("_total")
            if name in totals and sample.labels.get("model", MODEL_NAME) == MODEL_NAME:
                totals[name] += sample.value


def between(before: dict[str, float], after: dict[str, float], client_ms: float) -> Hops:
    """Splits the mean latency of a client that sent one image after the other.

    Args:
        before: Counters before the measurement.
        after: And after it.
        client_ms: The client's mean latency.
    """
    counts = {name: after[name] - before[name] for name in after}
    requests = max(1.0, counts["request_seconds_count"])
    whole = counts["request_seconds_sum"] / requests * 1e3
    decoding = counts["decode_seconds_sum"] / requests * 1e3
    call = counts["triton_seconds_sum"] / max(1.0, counts["triton_seconds_count"]) * 1e3
    answered = max(1.0, counts["nv_inference_request_success"])
    triton = counts["nv_inference_request_duration_us"] / answered / 1e3
    network = counts["nv_inference_compute_infer_duration_us"] / answered / 1e3
    return Hops(
        outside=client_ms - whole,
        decoding=decoding,
        transformer=whole - decoding - call,
        between=call - triton,
        triton=triton - network,
        network=network,
    )
